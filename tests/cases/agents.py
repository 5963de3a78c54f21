"""What coding agents send beside functions and messages, and what they expect (M1).

Reports: lmstudio-ai/lmstudio-bug-tracker#1810, ggml-org/llama.cpp#20156, sgl-project/sglang#35216,
justrach/codegraff2#92 (Codex); lmstudio-ai/lmstudio-bug-tracker#1399, anthropics/claude-code#63469 (Claude Code).
"""

from typing import Any, Final

from tests.cases.case import HI, MESSAGES, RESPONSES, Body, Case, Reply, ask

_SHELL: Final[Body] = {
    "type": "function",
    "name": "shell",
    "description": "Runs a command.",
    "parameters": {
        "type": "object",
        "properties": {"command": {"type": "array", "items": {"type": "string"}}},
        "required": ["command"],
        "additionalProperties": False,
    },
    "strict": False,
}
_USER: Final[Body] = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
_SAID: Final[Body] = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]}
_CALL: Final[Body] = {"type": "function_call", "call_id": "c1", "name": "shell", "arguments": "{}"}
_OUTPUT: Final[Body] = {"type": "function_call_output", "call_id": "c1", "output": "ok"}

_TOOLS: Final[dict[str, Body]] = {
    "custom with a grammar": {
        "type": "custom",
        "name": "apply_patch",
        "description": "Edits files.",
        "format": {"type": "grammar", "syntax": "lark", "definition": 'start: "x"'},
    },
    "custom": {"type": "custom", "name": "note", "description": "Free text."},
    "namespace": {"type": "namespace", "name": "mcp__fs", "description": "d", "tools": [{**_SHELL, "name": "read"}]},
    "function with defer_loading": {**_SHELL, "name": "later", "defer_loading": True},
    "function with output_schema": {**_SHELL, "name": "shaped", "output_schema": {"type": "object"}},
    "function with a name of 64": {**_SHELL, "name": "mcp__" + "x" * 59},
    "function with a name of 128": {**_SHELL, "name": "mcp__" + "x" * 123},
}
_HOSTED: Final[dict[str, Body]] = {
    "web_search": {"type": "web_search"},
    "web_search without web": {"type": "web_search", "external_web_access": False},
    "local_shell": {"type": "local_shell"},
    "image_generation": {"type": "image_generation", "output_format": "png"},
    "tool_search": {"type": "tool_search", "execution": "client"},
}
_ITEMS: Final[dict[str, list[Body]]] = {
    "custom_tool_call": [
        {"type": "custom_tool_call", "call_id": "c1", "name": "apply_patch", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "ok"},
    ],
    "local_shell_call": [
        {
            "type": "local_shell_call",
            "id": "l",
            "call_id": "c1",
            "status": "completed",
            "action": {"type": "exec", "command": ["ls"]},
        },
        {"type": "local_shell_call_output", "call_id": "c1", "output": "ok"},
    ],
    "web_search_call": [{"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "x"}}],
    "agent_message": [{"type": "agent_message", "content": [{"type": "input_text", "text": "hi"}]}],
    "foreign sealed reasoning": [
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": None, "encrypted_content": "gAAAA"},
        _SAID,
    ],
    "function_call with a namespace": [{**_CALL, "namespace": "mcp__fs"}, _OUTPUT],
    "function_call that was cut": [{**_CALL, "arguments": '{"command":'}, {**_OUTPUT, "output": "bad arguments"}],
}
_HELD_ITEMS: Final[dict[str, list[Body]]] = {
    "reasoning with a summary": [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}], "encrypted_content": None}
    ],
    "an output in parts": [_CALL, {**_OUTPUT, "output": [{"type": "input_text", "text": "ok"}]}],
    "a plain message of the assistant": [{"role": "assistant", "content": "hi"}],
    "nulls in an old answer": [
        {
            **_SAID,
            "id": "msg_1",
            "status": "completed",
            "content": [{"type": "output_text", "text": "a", "annotations": None, "logprobs": []}],
        }
    ],
}
_CODEX_HEAD: Final[Body] = {
    "tools": [_SHELL],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "reasoning": None,
    "stream": False,
    "include": [],
    "prompt_cache_key": "0199",
    "instructions": "You are an agent.",
}


def _responses(row: str, name: str, **rest: Any) -> Case:
    expected = {key: rest.pop(key) for key in ("check", "has", "ignored", "says") if key in rest}
    return ask(row, name, RESPONSES, rest, **expected)


def _is_a_resource(reply: Reply) -> None:
    """Hold a response to what Open Responses' ResponseResource requires (peers 2)."""
    response = reply.json
    assert isinstance(response["presence_penalty"], int | float)
    assert isinstance(response["frequency_penalty"], int | float)
    assert isinstance(response["service_tier"], str)
    assert response["text"].get("verbosity", "medium") is not None
    for tool in response["tools"]:
        assert {"strict", "description", "parameters"} <= tool.keys()


def _first_and_last_are_resources(reply: Reply) -> None:
    responses = [event["response"] for event in reply.events if "response" in event]
    assert len(responses) >= 3
    for response in responses:
        assert isinstance(response["presence_penalty"], int | float)
        assert isinstance(response["service_tier"], str)


_BARE: Final[Body] = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}

CASES: Final[list[Case]] = [
    *(_responses("M1", f"tool {name}", tools=[_SHELL, tool]) for name, tool in _TOOLS.items()),
    *(
        _responses("M1", f"hosted tool {name}", tools=[_SHELL, tool], ignored=(tool["type"],))
        for name, tool in _HOSTED.items()
    ),
    *(_responses("M1", f"item {name}", input=[_USER, *items, _USER]) for name, items in _ITEMS.items()),
    *(_responses("held", f"item {name}", input=[_USER, *items, _USER]) for name, items in _HELD_ITEMS.items()),
    _responses("held", "the head of Codex's requests", **_CODEX_HEAD),
    _responses(
        "M12",
        "reasoning and its seal",
        reasoning={"effort": "medium", "summary": "auto"},
        include=["reasoning.encrypted_content"],
    ),
    _responses("held", "text.verbosity", text={"verbosity": "medium"}),
    _responses("held", "service_tier", service_tier="auto"),
    _responses("M1", "client_metadata", client_metadata={"x-codex-installation-id": "1"}),
    _responses("M1", "metadata of a message", input=[{**_USER, "metadata": {}}]),
    _responses("peers 2", "the resource", tools=[_BARE], check=_is_a_resource),
    _responses("peers 2", "the resource in a stream", tools=[_BARE], stream=True, check=_first_and_last_are_resources),
    _responses("peers 10", "chat_template_kwargs", chat_template_kwargs={"enable_thinking": False}),
    _responses("peers 10", "timings_per_token", timings_per_token=True, stream=True),
    _responses("peers 10", "return_progress", return_progress=True, stream=True),
    ask("held", "system among the messages", MESSAGES, {"messages": [HI, {"role": "system", "content": "A"}, HI]}),
    ask(
        "held",
        "a billing block",
        MESSAGES,
        {
            "system": [
                {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1; cch=00000;"},
                {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
            ]
        },
    ),
    ask(
        "held",
        "adaptive thinking and effort",
        MESSAGES,
        {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
    ),
    ask("held", "a beta in the query", MESSAGES + "?beta=true", {"messages": [HI], "max_tokens": 1}),
    ask(
        "held",
        "a tool's name of 100 letters",
        MESSAGES,
        {"tools": [{"name": "m" * 100, "input_schema": {"type": "object", "properties": {}}}]},
    ),
    ask(
        "held",
        "is_error",
        MESSAGES,
        {
            "messages": [
                HI,
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "get", "input": {}}]},
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "no", "is_error": True}],
                },
            ]
        },
    ),
    ask(
        "held",
        "thinking sent back",
        MESSAGES,
        {
            "messages": [
                HI,
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "hm", "signature": "s"},
                        {"type": "text", "text": "hi"},
                    ],
                },
                HI,
            ]
        },
    ),
]
