"""Talks on both engines, with tiny models of random weights: what they summarise means nothing, and does no harm."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths
from tests.support.coding_agent import CodingAgent
from tests.support.gateway_process import GatewayProcess

pytestmark = pytest.mark.slow

StartGateway = Callable[..., GatewayProcess]
CONTEXT_LENGTH: Final = 4096
CONFIG: Final = {"generation": {"context_length": CONTEXT_LENGTH}, "context": {"mode": "wind"}}
MAX_TOKENS: Final = 8


@pytest.fixture
def home(home: Path, tooled: tuple[Path, Path]) -> Path:
    with Registry(Paths.under(home).registry_db) as registry:
        for path in tooled:
            register_path(registry, path, name="tooled")
    return home


class Talk:
    """A client that sends its whole history each time."""

    def __init__(self, gateway: GatewayProcess, engine: str) -> None:
        self._gateway = gateway
        self._model = f"tooled@{engine}"
        self.messages: list[dict[str, Any]] = [{"role": "system", "content": "You are terse."}]

    def say(self, text: str) -> dict[str, Any]:
        answer = self.send([*self.messages, {"role": "user", "content": text}])
        said = answer["choices"][0]["message"]["content"] or "Nothing."
        self.messages += [{"role": "user", "content": text}, {"role": "assistant", "content": said}]
        return answer

    def send(self, messages: list[dict[str, Any]], **body: Any) -> dict[str, Any]:
        asked = {"model": self._model, "messages": messages, "max_tokens": MAX_TOKENS, "temperature": 0, **body}
        answer = self._gateway.post("/v1/chat/completions", asked)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        context = found["timings"]["context"]
        assert context["used"] <= context["limit"]
        return found


@pytest.mark.parametrize("engine", ["llamacpp", "mlx"])
def test_a_talk_past_five_contexts_goes_on_and_finds_its_cache(start_gateway: StartGateway, engine: str) -> None:
    gateway = start_gateway(CONFIG)
    talk = Talk(gateway, engine)
    contexts = []
    for number in range(30):
        context = talk.say(f"Chapter {number}. " + f"Then it was told how {number} became {number + 1}. " * 22)
        contexts.append(context["timings"]["context"].get("id"))
    assert sum(len(message["content"]) for message in talk.messages) > 5 * CONTEXT_LENGTH
    assert len({*contexts} - {None}) >= 3
    first, second = (talk.send([*talk.messages, {"role": "user", "content": "And?"}]) for _ in range(2))
    assert second["choices"][0]["message"]["content"] == first["choices"][0]["message"]["content"]
    assert second["timings"]["context"]["id"] == first["timings"]["context"]["id"]
    usage = second["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == usage["prompt_tokens"] - 1


@pytest.mark.parametrize("engine", ["llamacpp", "mlx"])
def test_an_agents_rounds_with_tools_go_on(start_gateway: StartGateway, engine: str) -> None:
    gateway = start_gateway({"context": {"mode": "wind"}})  # its instructions alone would fill the smaller context
    talk, agent = Talk(gateway, engine), CodingAgent(3)
    wounds = []
    for num_rounds in (1, 12, 16):
        body = agent.chat(num_rounds)
        wounds.append(talk.send(body.pop("messages"), **body)["timings"]["context"].get("wound"))
    assert wounds[-1] is not None


@pytest.mark.parametrize("engine", ["llamacpp", "mlx"])
def test_an_answer_that_is_held_to_a_schema_keeps_to_it(start_gateway: StartGateway, engine: str) -> None:
    gateway = start_gateway(CONFIG)
    talk = Talk(gateway, engine)
    messages = [*talk.messages]
    for number in range(8):
        messages += [{"role": "user", "content": f"Chapter {number}. " * 60}, {"role": "assistant", "content": "Yes."}]
    schema = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": False}
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    question = {"role": "user", "content": "How many?"}
    answer = talk.send([*messages, question], response_format=wanted, max_tokens=300)
    assert answer["timings"]["context"]["wound"]
    assert json.loads(answer["choices"][0]["message"]["content"]) in [{"n": 1}, {"n": 2}]
