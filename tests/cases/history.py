"""Earlier messages as clients send them back: what was said is no reason for a 400 if the model can be shown it."""

from typing import Any, Final

from tests.cases.case import CHAT, HI, MESSAGES, OLLAMA_CHAT, RESPONSES, Body, Case, ask

_TOOLS: Final = [{"type": "function", "function": {"name": "get", "parameters": {"type": "object", "properties": {}}}}]
_CALL: Final[Body] = {"id": "c1", "type": "function", "function": {"name": "get", "arguments": "{}"}}
_RESULT: Final[Body] = {"role": "tool", "tool_call_id": "c1", "content": "42"}
_OLD_CALL: Final[Body] = {
    "role": "assistant",
    "content": None,
    "function_call": {"name": "get", "arguments": "{}"},
}
_OLD_RESULT: Final[Body] = {"role": "function", "name": "get", "content": "42"}
_ARGUMENTS: Final = {
    "nothing": "",
    "cut": '{"a": 1',
    "cut in a text": '{\n "city": "London, UK',
    "the text null": "null",
    "a list": "[]",
    "null": None,
    "an object": {"a": 1},
}
_PIXEL: Final = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def _chat(row: str, name: str, *messages: Body, **rest: Any) -> Case:
    return ask(row, name, CHAT, {"messages": list(messages), "tools": _TOOLS}, **rest)


def _answer(**fields: Any) -> Body:
    return {"role": "assistant", **fields}


def _called(**function: Any) -> Body:
    """Return an answer with a call whose function has other fields."""
    return _answer(tool_calls=[{**_CALL, "function": {**_CALL["function"], **function}}])


CASES: Final[list[Case]] = [
    # langchain4j/langchain4j#1958, lmstudio-ai/lmstudio-bug-tracker#261
    _chat("held", "content null beside calls", HI, _answer(content=None, tool_calls=[_CALL]), _RESULT),
    _chat("held", "no content beside calls", HI, _answer(tool_calls=[_CALL]), _RESULT),
    _chat("held", "content '' beside calls", HI, _answer(content="", tool_calls=[_CALL]), _RESULT),
    _chat("held", "content [] beside calls", HI, _answer(content=[], tool_calls=[_CALL]), _RESULT),
    _chat("held", "tool_calls []", HI, _answer(content="hi", tool_calls=[]), HI),
    _chat("held", "nulls beside content", HI, _answer(content="hi", tool_calls=None, refusal=None, audio=None), HI),
    _chat("held", "content ''", HI, _answer(content=""), HI),
    _chat("F11", "content null without calls", HI, _answer(content=None), HI),
    _chat("F11", "content null beside reasoning", HI, _answer(content=None, reasoning_content="hm"), HI),
    _chat("F11", "content null in a result", HI, _answer(tool_calls=[_CALL]), {**_RESULT, "content": None}),
    # local-inference-lab/vllm#684, windmill-labs/windmill#9902
    *(
        _chat("F6", f"arguments that are {kind}", HI, _called(arguments=arguments), _RESULT)
        for kind, arguments in _ARGUMENTS.items()
    ),
    # QuantumNous/new-api#5982, strands-agents/harness-sdk#4201, microsoft/vscode-copilot-chat#554
    _chat("M7", "cache_control in a message", {**HI, "cache_control": {"type": "ephemeral"}}),
    _chat(
        "M7",
        "cache_control in a part",
        {"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]},
    ),
    ask("M7", "cache_control in a tool", CHAT, {"tools": [{**_TOOLS[0], "cache_control": {"type": "ephemeral"}}]}),
    _chat("M7", "reasoning in an old answer", HI, _answer(content="a", reasoning="hm"), HI),
    _chat("M7", "reasoning_details in an old answer", HI, _answer(content="a", reasoning_details=[]), HI),
    _chat("M9", "name of a result", HI, _answer(tool_calls=[_CALL]), {**_RESULT, "name": "get"}),
    ask(
        "M9",
        "name of a result",
        OLLAMA_CHAT,
        {
            "messages": [
                HI,
                _answer(content="", tool_calls=[{"function": {"name": "get", "arguments": {}}}]),
                {"role": "tool", "name": "get", "content": "42"},
            ]
        },
    ),
    ask(
        "M9",
        "arguments as text",
        OLLAMA_CHAT,
        {
            "messages": [
                HI,
                _answer(content="", tool_calls=[{"function": {"name": "get", "arguments": '{"a": 1}'}}]),
                {"role": "tool", "content": "42"},
            ]
        },
    ),
    _chat("held", "a name of a user", {**HI, "name": "Jo"}),
    _chat("held", "a developer", {"role": "developer", "content": "Be brief."}, HI),
    _chat("section 2", "a refusal", HI, _answer(content=None, refusal="no"), HI),
    _chat("section 2", "an old result alone", HI, _OLD_RESULT),
    _chat("section 2", "an old call and its result", HI, _OLD_CALL, _OLD_RESULT),
    _chat(
        "M2",
        "an image of an old turn",
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": _PIXEL}}],
        },
        _answer(content="A pixel."),
        HI,
    ),
    _chat("held", "a role that nobody knows", {"role": "wizard", "content": "hi"}, status=400),
    _chat(
        "held",
        "parts in a result",
        HI,
        _answer(tool_calls=[_CALL]),
        {**_RESULT, "content": [{"type": "text", "text": "4"}]},
    ),
    # lmstudio-ai/localization#425, anthropics/claude-code#34542
    _chat(
        "M2",
        "an image in a result",
        HI,
        _answer(tool_calls=[_CALL]),
        {**_RESULT, "content": [{"type": "image_url", "image_url": {"url": _PIXEL}}]},
    ),
    ask(
        "M2",
        "an image in a result",
        RESPONSES,
        {
            "input": [
                HI,
                {"type": "function_call", "call_id": "c1", "name": "get", "arguments": "{}"},
                {
                    "type": "function_call_output",
                    "call_id": "c1",
                    "output": [{"type": "input_image", "image_url": _PIXEL}],
                },
            ]
        },
    ),
    *(
        ask(
            "M2",
            f"{name} in a result",
            MESSAGES,
            {
                "messages": [
                    HI,
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "get", "input": {}}]},
                    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [block]}]},
                ]
            },
        )
        for name, block in {
            "an image": {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": _PIXEL.partition(",")[2]},
            },
            "a tool_reference": {"type": "tool_reference", "tool_name": "get"},
            "a document of plain text": {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "42"},
            },
        }.items()
    ),
    ask(
        "M2",
        "a document of plain text",
        MESSAGES,
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "42"}},
                        {"type": "text", "text": "What is it?"},
                    ],
                }
            ]
        },
    ),
    ask(
        "M2",
        "server_tool_use of an earlier turn",
        MESSAGES,
        {
            "messages": [
                HI,
                {
                    "role": "assistant",
                    "content": [
                        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "x"}},
                        {"type": "text", "text": "Found."},
                    ],
                },
                HI,
            ]
        },
    ),
]
