"""Unmodified clients of four protocols go on past five times their context, with calls and results in pairs.

A day of a coding agent, in the shape that each client speaks, is sent as agents do: the whole history every time. The
engine is the fake one, whose tokens are bytes; its summaries are what it is told to say.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import anthropic
import ollama
import openai
import pytest

from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths
from tests.support import npm, tiny_model
from tests.support.coding_agent import CodingAgent, broken_pairs
from tests.support.gateway_process import GatewayProcess
from tests.support.python_clients import SCRIPTS, PythonClients

pytestmark = pytest.mark.slow

CONTEXT_LENGTH: Final = 8192
NUM_ROUNDS: Final = 150
STEP: Final = 5
"""Rounds between two requests."""
MAX_TOKENS: Final = 16
MODEL: Final = "agent"
OPTIONS: Final[dict[str, Any]] = {
    "context_length": CONTEXT_LENGTH,
    "answers": [["Summarize", "Facts\n- The build is red."], ["", "Done."]],
}
WIND: Final = {"X-Mlxr-Context": "wind"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("winding")
    paths = Paths.under(folder / "home")
    paths.ensure_folders()
    with Registry(paths.registry_db) as registry:
        register_path(registry, tiny_model.write_gguf(folder / "agent.gguf", context_length=CONTEXT_LENGTH), name=MODEL)
    process = GatewayProcess(folder / "home", fake_options=OPTIONS)
    yield process
    process.stop()


@pytest.fixture
def openai_client(gateway: GatewayProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def anthropic_client(gateway: GatewayProcess) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=gateway.url, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def ollama_client(gateway: GatewayProcess) -> Iterator[ollama.Client]:
    client = ollama.Client(host=gateway.url)
    yield client
    client._client.close()  # it has no other way


@pytest.fixture
def winding_client(gateway: GatewayProcess) -> Iterator[ollama.Client]:
    client = ollama.Client(host=gateway.url, headers=WIND)
    yield client
    client._client.close()


class Session:
    """One client's way through the day.

    Args:
        send: Sends a request behind so many rounds; returns the answer's text, and what it says of its context.
    """

    def __init__(self, gateway: GatewayProcess, size: Callable[[int], int]) -> None:
        self.gateway = gateway
        self.size = size
        self.contexts: list[str] = []

    def run(self, send: Callable[[int], tuple[str, dict[str, Any]]]) -> None:
        """Send a request now and then on the way, and hold what each answer says."""
        assert self.size(NUM_ROUNDS) > 5 * CONTEXT_LENGTH
        for num_rounds in range(1, NUM_ROUNDS + 1, STEP):
            text, context = send(num_rounds)
            assert text == "Done."
            assert context["limit"] == CONTEXT_LENGTH
            assert context["used"] <= CONTEXT_LENGTH
            if context.get("wound"):
                self.contexts.append(context["id"])
        assert len(set(self.contexts)) >= 8
        for context_id in dict.fromkeys(self.contexts):
            shown = self.gateway.get(f"/v1/mlxr/contexts/{context_id}")
            assert shown["narrative"] == "Facts\n- The build is red."
            assert not broken_pairs(shown["messages"]), context_id


def num_chars(body: dict[str, Any]) -> int:
    return len(json.dumps(body))


def is_streamed(num_rounds: int) -> bool:
    """Every other answer of a session is."""
    return num_rounds // STEP % 2 == 1


def test_openai_chat(gateway: GatewayProcess, openai_client: openai.OpenAI) -> None:
    agent = CodingAgent(10)

    def send(num_rounds: int) -> tuple[str, dict[str, Any]]:
        body: Any = {**agent.chat(num_rounds), "model": MODEL, "max_tokens": MAX_TOKENS, "extra_headers": WIND}
        if not is_streamed(num_rounds):
            answer = openai_client.chat.completions.create(**body)
            assert answer.model_extra is not None
            return answer.choices[0].message.content or "", answer.model_extra["timings"]["context"]
        with openai_client.chat.completions.stream(**body) as stream:
            events = list(stream)
        last = [event.chunk for event in events if event.type == "chunk"][-1]
        assert last.model_extra is not None
        return stream.get_final_completion().choices[0].message.content or "", last.model_extra["timings"]["context"]

    Session(gateway, lambda num_rounds: num_chars(agent.chat(num_rounds))).run(send)


def test_openai_responses(gateway: GatewayProcess, openai_client: openai.OpenAI) -> None:
    agent = CodingAgent(20)

    def send(num_rounds: int) -> tuple[str, dict[str, Any]]:
        body: Any = {**agent.responses(num_rounds), "model": MODEL, "max_output_tokens": MAX_TOKENS}
        extra: Any = {"extra_body": {"truncation": "wind"}}
        if not is_streamed(num_rounds):
            answer = openai_client.responses.create(**body, **extra)
        else:
            with openai_client.responses.stream(**body, **extra) as stream:
                for _ in stream:
                    pass
                answer = stream.get_final_response()
        assert answer.model_extra is not None
        return answer.output_text, answer.model_extra["timings"]["context"]

    Session(gateway, lambda num_rounds: num_chars(agent.responses(num_rounds))).run(send)


def test_anthropic_messages(gateway: GatewayProcess, anthropic_client: anthropic.Anthropic) -> None:
    agent = CodingAgent(30)

    def send(num_rounds: int) -> tuple[str, dict[str, Any]]:
        body: Any = {**agent.anthropic(num_rounds), "model": MODEL, "max_tokens": MAX_TOKENS, "extra_headers": WIND}
        if not is_streamed(num_rounds):
            answer = anthropic_client.messages.create(**body)
            assert answer.model_extra is not None
            (block,) = answer.content
            assert block.type == "text"
            return block.text, answer.model_extra["mlxr"]["context"]
        with anthropic_client.messages.stream(**body) as stream:
            text = "".join(stream.text_stream)
        raw = anthropic_client.messages.create(**body, stream=True)
        (delta,) = (event for event in raw if event.type == "message_delta")
        assert delta.model_extra is not None
        return text, delta.model_extra["mlxr"]["context"]

    Session(gateway, lambda num_rounds: num_chars(agent.anthropic(num_rounds))).run(send)


def test_ollama_chat(gateway: GatewayProcess, winding_client: ollama.Client) -> None:
    agent, client = CodingAgent(40), winding_client

    def send(num_rounds: int) -> tuple[str, dict[str, Any]]:
        body = ollama_body(agent.chat(num_rounds))
        is_stream = is_streamed(num_rounds)
        answer: Any = client.chat(MODEL, **body, stream=is_stream, options={"num_predict": MAX_TOKENS})
        parts = list(answer) if is_stream else [answer]
        # The client drops what it does not know, so that it is looked at beside it.
        raw = gateway.post(
            "/api/chat",
            {**body, "model": MODEL, "stream": False, "options": {"num_predict": MAX_TOKENS}},
            **WIND,
        )
        assert raw.status_code == 200, raw.text
        return "".join(part.message.content for part in parts), raw.json()["mlxr"]["context"]

    Session(gateway, lambda num_rounds: num_chars(agent.chat(num_rounds))).run(send)


def ollama_body(chat: dict[str, Any]) -> dict[str, Any]:
    """Return a chat as Ollama's clients send it: arguments as objects, results by the tool's name."""
    names: dict[str, str] = {}
    messages: list[dict[str, Any]] = []
    for message in chat["messages"]:
        said = {"role": message["role"], "content": message["content"]}
        if "tool_calls" in message:
            calls = [call["function"] for call in message["tool_calls"]]
            names |= {call["id"]: call["function"]["name"] for call in message["tool_calls"]}
            said["tool_calls"] = [
                {"function": {"name": call["name"], "arguments": json.loads(call["arguments"])}} for call in calls
            ]
        if message["role"] == "tool":
            said["tool_name"] = names[message["tool_call_id"]]
        messages.append(said)
    return {"messages": messages, "tools": chat["tools"]}


@pytest.fixture(scope="module")
def bodies_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rounds = range(30, NUM_ROUNDS + 1, 30)
    chat = [CodingAgent(60).chat(num_rounds) for num_rounds in rounds]
    bodies = {
        "chat": chat,
        "responses": [CodingAgent(61).responses(num_rounds) for num_rounds in rounds],
        "ollama": [ollama_body(each) for each in chat],
        "anthropic": [CodingAgent(62).anthropic(num_rounds) for num_rounds in rounds],
    }
    file = tmp_path_factory.mktemp("bodies") / "bodies.json"
    file.write_text(json.dumps(bodies))
    return file


TEXTS: Final = ["Done."] * 10


def test_clients_of_other_versions(gateway: GatewayProcess, python_clients: PythonClients, bodies_file: Path) -> None:
    results = python_clients.results_of("winding_client.py", gateway.url, MODEL, str(bodies_file))
    assert results == dict.fromkeys(("chat", "responses", "ollama", "litellm"), TEXTS)


def test_clients_on_node(gateway: GatewayProcess, node_folder: Path, bodies_file: Path) -> None:
    results = npm.results_of(node_folder, SCRIPTS / "winding_client.mjs", gateway.url, MODEL, str(bodies_file))
    assert results == dict.fromkeys(("chat", "responses", "ollama", "anthropic"), TEXTS) | {"sdk": ["Done."]}


def test_with_the_setting_off_each_client_gets_the_numbers(
    openai_client: openai.OpenAI, anthropic_client: anthropic.Anthropic, ollama_client: ollama.Client
) -> None:
    agent = CodingAgent(50)
    chat: Any = {**agent.chat(NUM_ROUNDS), "model": MODEL, "max_tokens": MAX_TOKENS}
    response: Any = {**agent.responses(NUM_ROUNDS), "model": MODEL, "max_output_tokens": MAX_TOKENS}
    asks: list[Callable[..., Any]] = [
        lambda **more: openai_client.chat.completions.create(**chat, **more),
        lambda **more: openai_client.responses.create(**response, **more),
    ]
    for ask in asks:
        for more in ({}, {"stream": True}):
            with pytest.raises(openai.BadRequestError, match=f"context holds {CONTEXT_LENGTH}") as refused:
                list(ask(**more))
            assert refused.value.code == "context_length_exceeded"
    messages: Any = {**agent.anthropic(NUM_ROUNDS), "model": MODEL, "max_tokens": MAX_TOKENS}
    with pytest.raises(anthropic.BadRequestError, match=rf"prompt is too long: \d+ tokens > {CONTEXT_LENGTH} maximum"):
        anthropic_client.messages.create(**messages)
    with pytest.raises(ollama.ResponseError, match=f"context holds {CONTEXT_LENGTH}") as full:
        ollama_client.chat(MODEL, **ollama_body(agent.chat(NUM_ROUNDS)))
    assert full.value.status_code == 400
