"""Shapes of streams, calls that are cut and sent back, stop texts, characters over several tokens (c10, c11, c19)."""

import base64
import json
from typing import Any, Final

from tests.cases.case import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    FAKE,
    HI,
    MESSAGES,
    OLLAMA_CHAT,
    OLLAMA_EMBED,
    REAL,
    RESPONSES,
    Body,
    Case,
    Reply,
    Server,
    ask,
)

_CITY: Final[Body] = {
    "type": "object",
    "properties": {"city": {"type": "string", "minLength": 60}},
    "required": ["city"],
    "additionalProperties": False,
}
_PICK: Final[Body] = {
    "type": "object",
    "properties": {"n": {"enum": [1, 2]}},
    "required": ["n"],
    "additionalProperties": False,
}


def _functions(name: str, parameters: Body) -> list[Body]:
    return [{"type": "function", "function": {"name": name, "description": "d", "parameters": parameters}}]


_TOOLS: Final = _functions("get_weather", _CITY)
_FAMILY: Final = "👩‍👩‍👧‍👦 日本語"


def _cut_call_comes_back_in_chat(server: Server) -> None:
    body = {"tools": _TOOLS, "tool_choice": "required", "max_tokens": 50}
    reply = server.ask(CHAT, body)
    assert reply.at("choices.0.finish_reason") == "length", reply.text
    message = reply.at("choices.0.message")
    (call,) = message["tool_calls"]
    result = {"role": "tool", "tool_call_id": call["id"], "content": "invalid arguments"}
    again = server.ask(CHAT, {"messages": [HI, message, result], "tools": _TOOLS})
    assert again.status == 200, again.text


def _cut_call_comes_back_in_responses(server: Server) -> None:
    tools = [{"type": "function", **_TOOLS[0]["function"]}]
    reply = server.ask(RESPONSES, {"tools": tools, "tool_choice": "required", "max_output_tokens": 50})
    assert reply.at("status") == "incomplete", reply.text
    output = reply.at("output")
    (call,) = [item for item in output if item["type"] == "function_call"]
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "bad"}
    again = server.ask(RESPONSES, {"input": [HI, *output, result], "tools": tools})
    assert again.status == 200, again.text


def _cut_call_comes_back_in_messages(server: Server) -> None:
    tools = [{"name": "get_weather", "input_schema": _CITY}]
    reply = server.ask(MESSAGES, {"tools": tools, "tool_choice": {"type": "any"}, "max_tokens": 50})
    assert reply.at("stop_reason") == "max_tokens", reply.text
    content = reply.at("content")
    calls = [block for block in content if block["type"] == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": call["id"], "content": "bad"} for call in calls]
    said = {"role": "assistant", "content": content}
    again = server.ask(
        MESSAGES, {"messages": [HI, said, {"role": "user", "content": results or "bad"}], "tools": tools}
    )
    assert again.status == 200, again.text


def _cut_call_comes_back_to_ollama(server: Server) -> None:
    body = {"tools": _TOOLS, "tool_choice": "required", "options": {"num_predict": 50, "temperature": 0}}
    reply = server.ask(OLLAMA_CHAT, body)
    assert reply.at("done_reason") == "length", reply.text
    again = server.ask(OLLAMA_CHAT, {"messages": [HI, reply.at("message"), HI], "tools": _TOOLS})
    assert again.status == 200, again.text


def _no_cut_marker_is_told(server: Server) -> None:
    """A call that the end cuts right in its opening mark is left out of a stream's text, or told whole."""
    for num_tokens in (4, 12, 60):
        body = {
            "messages": [{"role": "user", "content": "Call pick twice: with 1 and with 2."}],
            "tools": _functions("pick", _PICK),
            "tool_choice": "required",
            "stream": True,
            "options": {"num_predict": num_tokens, "temperature": 0},
        }
        reply = server.ask(OLLAMA_CHAT, body)
        assert reply.status == 200, reply.text
        calls = [event for event in reply.events if event["message"].get("tool_calls")]
        content = "".join(event["message"]["content"] for event in reply.events)
        if calls:
            assert "<tool_call" not in content, content


def _calls_are_streamed_in_order(server: Server) -> None:
    body = {
        "tools": _functions("pick", _PICK),
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "max_tokens": 200,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    reply = server.ask(CHAT, body)
    deltas = [choice["delta"] for event in reply.events for choice in event["choices"]]
    fragments = [fragment for delta in deltas for fragment in delta.get("tool_calls") or []]
    assert deltas[0]["role"] == "assistant"
    assert [fragment["index"] for fragment in fragments] == [0] * len(fragments)
    assert sum("id" in fragment for fragment in fragments) == 1
    assert sum("name" in fragment["function"] for fragment in fragments) == 1
    assert json.loads("".join(fragment["function"].get("arguments", "") for fragment in fragments))["n"] in {1, 2}
    assert reply.events[-1]["choices"] == []
    assert reply.events[-1]["usage"]["completion_tokens"] > 0
    assert all(event.get("usage") is None for event in reply.events[:-1])
    assert reply.text.rstrip().endswith("data: [DONE]")


def _one_reason_per_choice(reply: Reply) -> None:
    reasons = [(choice["index"], choice["finish_reason"]) for event in reply.events for choice in event["choices"]]
    ended = sorted(index for index, reason in reasons if reason is not None)
    assert ended == [0, 1]
    for index in (0, 1):
        own = [reason for at, reason in reasons if at == index]
        assert own[-1] == "length"
        assert own[:-1] == [None] * (len(own) - 1)


def _stops_are_cut_over_borders(server: Server) -> None:
    fields = {"prompt": "Count: one, two,", "max_tokens": 12}
    whole = server.ask(COMPLETIONS, fields).at("choices.0.text")
    stop = whole[3:9]
    cut = server.ask(COMPLETIONS, {**fields, "stop": [stop]})
    assert cut.at("choices.0.text") == whole[: whole.index(stop)]
    assert cut.at("choices.0.finish_reason") == "stop"
    streamed = server.ask(COMPLETIONS, {**fields, "stop": [stop], "stream": True})
    assert "".join(choice["text"] for event in streamed.events for choice in event["choices"]) == cut.at(
        "choices.0.text"
    )


def _characters_stay_whole(reply: Reply) -> None:
    text = "".join(choice["text"] for event in reply.events for choice in event["choices"])
    assert text == _FAMILY
    assert "\ufffd" not in reply.text


def _vectors(number: int) -> Any:
    def check(reply: Reply) -> None:
        vectors = reply.json["embeddings"] if "embeddings" in reply.json else reply.json["data"]
        assert len(vectors) == number

    return check


def _is_base64(reply: Reply) -> None:
    assert len(base64.b64decode(reply.at("data.0.embedding"))) % 4 == 0


CASES: Final[list[Case]] = [
    # local-inference-lab/vllm#684, justrach/codegraff#752: the model's own answer is never refused
    Case(row="F6", name="a cut call sent back to chat", run=_cut_call_comes_back_in_chat, engines=REAL),
    Case(row="F6", name="a cut call sent back to responses", run=_cut_call_comes_back_in_responses, engines=REAL),
    Case(row="F6", name="a cut call sent back to messages", run=_cut_call_comes_back_in_messages, engines=REAL),
    Case(row="F6", name="a cut call sent back to Ollama's chat", run=_cut_call_comes_back_to_ollama, engines=REAL),
    Case(row="F11", name="no part of a call's mark is told as text", run=_no_cut_marker_is_told, engines=REAL),
    # ollama/ollama#7881, #15457, BerriAI/litellm#33678
    Case(row="held", name="a streamed call", run=_calls_are_streamed_in_order, engines=REAL),
    # ollama/ollama#4357, waybarrios/vllm-mlx#628, sgl-project/sglang#3912
    ask(
        "held",
        "a reason per choice",
        CHAT,
        {"n": 2, "stream": True},
        check=_one_reason_per_choice,
        engines=(*FAKE, *REAL),
    ),
    # paiml/aprender#2019
    Case(row="held", name="a stop text over tokens' borders", run=_stops_are_cut_over_borders, engines=(*FAKE, *REAL)),
    # Blaizzy/mlx-vlm#1076, ggml-org/llama.cpp#4036
    ask(
        "held",
        "characters of several tokens",
        COMPLETIONS,
        {"grammar": f'root ::= "{_FAMILY}"', "max_tokens": 80, "stream": True},
        check=_characters_stay_whole,
        engines=REAL,
    ),
    # mudler/LocalAI#9135
    ask("held", "base64", EMBEDDINGS, {"encoding_format": "base64"}, check=_is_base64, engines=REAL),
    ask("held", "token ids", EMBEDDINGS, {"input": [1, 2]}, check=_vectors(1), engines=REAL),
    ask("held", "nulls", EMBEDDINGS, {"dimensions": None, "encoding_format": None, "user": "x"}, check=_vectors(1)),
    ask("held", "several texts", OLLAMA_EMBED, {"input": ["a", "b"]}, check=_vectors(2), engines=REAL),
    ask(
        "F11",
        "an empty text among others",
        OLLAMA_EMBED,
        {"input": ["a", "", "b"]},
        check=_vectors(3),
        engines=(*FAKE, *REAL),
    ),
    ask("F11", "an empty text alone", OLLAMA_EMBED, {"input": [""]}, check=_vectors(1), engines=(*FAKE, *REAL)),
]
