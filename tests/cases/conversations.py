"""System messages, turns and tools on templates that refuse some of them (F1), in every protocol.

Reports: ggml-org/llama.cpp#20733, ollama/ollama#18241, lmstudio-ai/lmstudio-bug-tracker#2298 (one system message, as
the first); sgl-project/sglang#892, huggingface/chat-ui#1386, EricLBuehler/mistral.rs#506 (none at all).
"""

from typing import Any, Final

from tests.cases.case import (
    CHAT,
    MESSAGES,
    OLLAMA_CHAT,
    PLAIN,
    RESPONSES,
    TEMPLATE,
    Body,
    Case,
    Expected,
    Reply,
    Server,
    num_fake_tokens,
)

_TOOL: Final[Body] = {
    "name": "now",
    "description": "Tell the time.",
    "parameters": {"type": "object", "properties": {}},
}


def _say(role: str, content: str) -> Body:
    return {"role": role, "content": content}


_CONVERSATIONS: Final[dict[str, list[Body]]] = {
    "system, system, user": [_say("system", "Aa."), _say("system", "Bb."), _say("user", "Cc.")],
    "developer, system, user": [_say("developer", "Aa."), _say("system", "Bb."), _say("user", "Cc.")],
    "system, user, assistant, system, user": [
        _say("system", "Aa."),
        _say("user", "Bb."),
        _say("assistant", "Cc."),
        _say("system", "Dd."),
        _say("user", "Ee."),
    ],
    "user, system": [_say("user", "Aa."), _say("system", "Bb.")],
    "system, user": [_say("system", "Aa."), _say("user", "Bb.")],
    "user, user": [_say("user", "Aa."), _say("user", "Bb.")],
    "assistant, user": [_say("assistant", "Aa."), _say("user", "Bb.")],
    "user, assistant, assistant, user": [
        _say("user", "Aa."),
        _say("assistant", "Bb."),
        _say("assistant", "Cc."),
        _say("user", "Dd."),
    ],
    "system, user, user": [_say("system", "Aa."), _say("user", "Bb."), _say("user", "Cc.")],
    "system, assistant, user": [_say("system", "Aa."), _say("assistant", "Bb."), _say("user", "Cc.")],
}


def _anthropic(messages: list[Body]) -> Body:
    """Return a conversation as Anthropic has it: what the system says first stands beside the messages."""
    first = next(index for index, message in enumerate(messages) if message["role"] != "system")
    system = [{"type": "text", "text": message["content"]} for message in messages[:first]]
    return {"messages": messages[first:], **({"system": system} if system else {})}


def _bodies(messages: list[Body]) -> dict[str, Body]:
    """Return a conversation in every protocol that can have it: path -> body."""
    bodies: dict[str, Body] = {path: {"messages": messages} for path in (CHAT, TEMPLATE, OLLAMA_CHAT)}
    bodies[RESPONSES] = {"input": messages}
    if all(message["role"] != "developer" for message in messages):
        bodies[MESSAGES] = _anthropic(messages)
    return bodies


def _texts(messages: list[Body]) -> list[str]:
    return [message["content"] for message in messages]


def _case(name: str, messages: list[Body], model: str, path: str, body: Body) -> Case:
    def run(server: Server) -> None:
        reply = server.ask(path, body, model=model)
        assert reply.status == 200, reply.text
        prompt = reply.json["prompt"] if path == TEMPLATE else _shown(server, messages, model)
        for text in _texts(messages):
            assert prompt.count(text) == 1, prompt
        if path == MESSAGES:  # where turns of one role in a row are one
            assert reply.num_prompt_tokens >= sum(map(len, _texts(messages)))
        elif path != TEMPLATE:
            assert reply.num_prompt_tokens == num_fake_tokens(prompt)

    return Case(row="F1", name=f"{name} on {model} on {path}", run=run, model=model)


def _shown(server: Server, messages: list[Body], model: str) -> str:
    """Return what the template makes of a conversation, whatever protocol it comes by."""
    reply = server.ask(TEMPLATE, {"messages": messages}, model=model)
    assert reply.status == 200, reply.text
    return str(reply.json["prompt"])


def _tools(path: str) -> Body:
    if path == MESSAGES:
        return {"tools": [{"name": _TOOL["name"], "description": "d", "input_schema": _TOOL["parameters"]}]}
    if path == RESPONSES:
        return {"tools": [{"type": "function", **_TOOL}]}
    return {"tools": [{"type": "function", "function": _TOOL}]}


def _tool_case(path: str, body: Body, what: str) -> Case:
    def run(server: Server) -> None:
        reply = server.ask(path, {**body, **_tools(path)}, model="alternating")
        assert reply.status == 200, reply.text
        if path == TEMPLATE:
            assert '"now"' in reply.json["prompt"]
        else:
            assert reply.num_prompt_tokens > 300  # the tools are explained

    return Case(row="F1", name=f"tools, {what} on alternating on {path}", run=run, model="alternating")


def _instructions(path: str, fields: Body) -> Case:
    """Return the case of a system prompt in a field of its own."""

    def run(server: Server) -> None:
        plain = server.ask(path, {}, model="alternating")
        reply = server.ask(path, fields, model="alternating")
        Expected(check=lambda reply: _longer(reply, plain)).hold_to(reply)

    return Case(row="F1", name=f"a field of its own on alternating on {path}", run=run, model="alternating")


def _longer(reply: Reply, plain: Reply) -> None:
    assert reply.num_prompt_tokens >= plain.num_prompt_tokens + len("Be brief.")


def _all() -> list[Case]:
    cases: list[Any] = []
    for name, messages in _CONVERSATIONS.items():
        for path, body in _bodies(messages).items():
            cases += [_case(name, messages, model, path, body) for model in ("tooled", "strict", "alternating")]
    for path, body in _bodies(_CONVERSATIONS["system, user"]).items():
        cases += [_tool_case(path, body, "system"), _tool_case(path, _bodies(PLAIN[CHAT]["messages"])[path], "none")]
    cases += [
        _instructions(RESPONSES, {"instructions": "Be brief."}),
        _instructions(MESSAGES, {"system": "Be brief."}),
        _instructions("/api/generate", {"system": "Be brief."}),
    ]
    return cases


CASES: Final = _all()
