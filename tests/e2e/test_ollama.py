"""Ollama's API on both real engines: the same texts as by OpenAI's, contexts, tools, loads, what is refused."""

import json
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import BUNDLED
from tests.support.gateway_process import GatewayProcess
from tests.support.waiting import wait_until

ENGINES = pytest.mark.parametrize("engine", ["llamacpp", "mlx"])
HI = [{"role": "user", "content": "Name a colour."}]
GREEDY = {"temperature": 0, "num_predict": 8}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"town": {"type": "string", "maxLength": 6}},
            "required": ["town"],
            "additionalProperties": False,
        },
    },
}


def ask(gateway: GatewayProcess, path: str, **body: Any) -> Any:
    answer = gateway.post(path, {**body, "stream": False})
    assert answer.status_code == 200, answer.text
    return answer.json()


def stream(gateway: GatewayProcess, path: str, **body: Any) -> list[dict[str, Any]]:
    with gateway.client() as client, client.stream("POST", path, json=body) as answer:
        assert answer.status_code == 200, answer.read()
        return [json.loads(line) for line in answer.iter_lines()]


def text_of(lines: list[dict[str, Any]]) -> str:
    return "".join(line["message"]["content"] if "message" in line else line["response"] for line in lines)


@ENGINES
def test_streams_and_whole_answers_say_what_openais_say(tooled_gateway: GatewayProcess, engine: str) -> None:
    model = f"tooled@{engine}"
    openai = tooled_gateway.post(
        "/v1/chat/completions", {"model": model, "messages": HI, "temperature": 0, "max_tokens": 8}
    )
    expected = openai.json()["choices"][0]["message"]["content"]
    assert expected
    chats: dict[str, Any] = {"model": model, "messages": HI, "options": GREEDY}
    assert ask(tooled_gateway, "/api/chat", **chats)["message"]["content"] == expected
    assert text_of(stream(tooled_gateway, "/api/chat", **chats)) == expected
    texts: dict[str, Any] = {"model": model, "prompt": HI[0]["content"], "options": GREEDY}
    assert ask(tooled_gateway, "/api/generate", **texts)["response"] == expected
    assert text_of(stream(tooled_gateway, "/api/generate", **texts)) == expected


@ENGINES
def test_a_context_goes_on_as_the_whole_conversation_does(tooled_gateway: GatewayProcess, engine: str) -> None:
    model = f"tooled@{engine}"
    common: dict[str, Any] = {"model": model, "options": GREEDY}
    first = ask(tooled_gateway, "/api/generate", **common, prompt="One.")
    second = ask(tooled_gateway, "/api/generate", **common, prompt="Two.", context=first["context"])
    num_prompt = second["prompt_eval_count"]
    assert second["context"][: len(first["context"])] == first["context"]
    assert len(second["context"]) == num_prompt + second["eval_count"]
    # All but the answer's last token, which nobody has computed, was there already.
    assert second["prompt_cached_count"] >= len(first["context"]) - 1
    third = ask(tooled_gateway, "/api/generate", **common, prompt="Two.", context=first["context"])
    assert third["response"] == second["response"]
    assert third["prompt_computed_count"] == 1


def test_a_real_models_context_is_its_conversation_to_the_token(real_gateway: GatewayProcess) -> None:
    common: dict[str, Any] = {"model": f"{BUNDLED}@llamacpp", "options": {**GREEDY, "num_predict": 30}}
    first = ask(real_gateway, "/api/generate", **common, prompt="Say hi.")
    second = ask(real_gateway, "/api/generate", **common, prompt="Again.", context=first["context"])
    turns = [
        {"role": "user", "content": "Say hi."},
        {"role": "assistant", "content": first["response"]},
        {"role": "user", "content": "Again."},
    ]
    chat = ask(real_gateway, "/api/chat", **common, messages=turns)
    assert first["response"]
    assert chat["message"]["content"] == second["response"]
    # The chat had nothing left to compute: its tokens are those of the context and the turn after it.
    assert chat["prompt_computed_count"] == 1
    assert chat["prompt_eval_count"] == second["prompt_eval_count"]


@ENGINES
def test_tools_are_called_whole_streamed_or_not(tooled_gateway: GatewayProcess, engine: str) -> None:
    body: dict[str, Any] = {
        "model": f"tooled@{engine}",
        "messages": HI,
        "tools": [WEATHER],
        "tool_choice": {"type": "function", "name": "weather"},
        "options": {"temperature": 1, "seed": 4, "num_predict": 400},
    }
    whole = ask(tooled_gateway, "/api/chat", **body)
    lines = stream(tooled_gateway, "/api/chat", **body)
    streamed = [call for line in lines for call in line["message"].get("tool_calls", ())]
    for call, other in zip(whole["message"]["tool_calls"], streamed, strict=True):
        assert call["function"] == other["function"]
        assert call["function"]["name"] == "weather"
        assert set(call["function"]["arguments"]) == {"town"}
    assert not any(line["done"] for line in lines if "tool_calls" in line["message"])
    result = {"role": "tool", "tool_name": "weather", "content": "12 degrees"}
    again = [*HI, whole["message"], result]
    assert ask(tooled_gateway, "/api/chat", model=body["model"], messages=again, tools=[WEATHER], options=GREEDY)[
        "done"
    ]


@ENGINES
def test_formats_hold(tooled_gateway: GatewayProcess, engine: str) -> None:
    schema = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"], "additionalProperties": False}
    common: dict[str, Any] = {"model": f"tooled@{engine}", "options": {"temperature": 1, "seed": 1, "num_predict": 200}}
    chat = ask(tooled_gateway, "/api/chat", **common, messages=HI, format=schema)
    text = ask(tooled_gateway, "/api/generate", **common, prompt="x", format=schema)
    for answer in (chat["message"]["content"], text["response"]):
        assert json.loads(answer)["a"] in {1, 2}


@ENGINES
def test_a_wish_for_thinking_reaches_the_template(tooled_gateway: GatewayProcess, engine: str) -> None:
    def num_prompt_tokens(path: str, think: Any) -> int:
        body = {"model": f"tooled@{engine}", "messages": HI} if path == "/api/chat" else {"model": f"tooled@{engine}"}
        more = {} if path == "/api/chat" else {"prompt": HI[0]["content"]}
        answer = ask(tooled_gateway, path, **body, **more, options=GREEDY, think=think)
        return int(answer["prompt_eval_count"])

    for path in ("/api/chat", "/api/generate"):
        usual = num_prompt_tokens(path, think=None)
        assert num_prompt_tokens(path, think=True) == num_prompt_tokens(path, think="high") == usual
        assert num_prompt_tokens(path, think=False) > usual


@ENGINES
def test_a_model_is_loaded_kept_and_unloaded(tooled_gateway: GatewayProcess, engine: str) -> None:
    model = f"tooled@{engine}"
    assert ask(tooled_gateway, "/api/generate", model=model, keep_alive="10m")["done_reason"] == "load"
    (loaded,) = tooled_gateway.get("/api/ps")["models"]
    assert (loaded["name"], loaded["engine"], loaded["size_vram"]) == ("tooled:latest", engine, 0)
    assert loaded["context_length"] == 8192
    options = {**GREEDY, "num_ctx": 512, "num_predict": 1}
    assert ask(tooled_gateway, "/api/chat", model=model, messages=HI, options=options, keep_alive=0)["done"]
    wait_until(lambda: not tooled_gateway.get("/api/ps")["models"], "the model is unloaded")
    assert ask(tooled_gateway, "/api/chat", model=model, keep_alive=0)["done_reason"] == "unload"


@ENGINES
def test_a_context_that_is_held_is_no_reason_to_load_again(tooled_gateway: GatewayProcess, engine: str) -> None:
    body: dict[str, Any] = {"model": f"tooled@{engine}", "prompt": "x"}
    for options in ({}, {"num_ctx": 128}, {"num_ctx": 4096}, {"num_ctx": 1 << 20}):
        ask(tooled_gateway, "/api/generate", **body, options={**GREEDY, **options})
        assert [each["context_length"] for each in tooled_gateway.get("/api/ps")["models"]] == [8192]


@ENGINES
def test_what_a_context_does_not_hold_is_refused_or_cut(tooled_gateway: GatewayProcess, engine: str) -> None:
    def post(path: str, **body: Any) -> httpx.Response:
        body = {"model": f"tooled@{engine}", "options": GREEDY, "stream": False, **body}
        return tooled_gateway.post(path, body, **{"X-Mlxr-Load": "context_length=128"})

    refused = post("/api/generate", prompt="x" * 200)
    assert refused.status_code == 400
    assert "the context holds 128" in refused.json()["error"]
    turns = [{"role": role, "content": "x" * 90} for role in ("user", "assistant")]
    cut, alone = (post("/api/chat", messages=messages, truncate=True) for messages in ([*turns, *HI], HI))
    assert cut.json()["message"] == alone.json()["message"]


@ENGINES
def test_what_an_engine_cannot_do_is_refused_by_name(tooled_gateway: GatewayProcess, engine: str) -> None:
    for name, value in {"mirostat": 2, "tfs_z": 0.5, "f16_kv": False}.items():
        body = {"model": f"tooled@{engine}", "messages": HI, "options": {name: value}}
        answer = tooled_gateway.post("/api/chat", body)
        assert answer.status_code == 400
        assert f"options.{name}" in answer.json()["error"]


@ENGINES
def test_vectors_are_openais(tooled_gateway: GatewayProcess, engine: str) -> None:
    model = f"tooled@{engine}"
    ours = ask_embed(tooled_gateway, model=model, input=["a", "b"])
    theirs = tooled_gateway.post("/v1/embeddings", {"model": model, "input": ["a", "b"]}).json()["data"]
    assert ours["embeddings"] == [each["embedding"] for each in theirs]
    long = ask_embed(tooled_gateway, model=f"tiny@{engine}", input="a " * 20_000)
    assert long["prompt_eval_count"] == 512, "cut to the context, Ollama's default"


def ask_embed(gateway: GatewayProcess, **body: Any) -> Any:
    answer: httpx.Response = gateway.post("/api/embed", body)
    assert answer.status_code == 200, answer.text
    return answer.json()
