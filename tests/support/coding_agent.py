"""What coding agents send over a long day, made from a seed: the same work in the shapes of three of them.

opencode over Chat Completions, Codex over Responses, Claude Code over Messages, as `tests/router/protocols/recorded`
has their first and third requests. All of it is made, the answers too, so that a history of any length is there at once
and every server gets the same one; request n begins with all of request n - 1, as agents send it. Sizes vary, calls go
out side by side, results come as texts and as lists, some fail; thoughts, reminders and messages of the system stand
between them.
"""

import functools
import json
import random
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from tests.support.agent_session import prose, tool_definition

_FILES: Final = ("src/app.py", "src/store/rows.py", "tests/test_app.py", "docs/notes.md", "pyproject.toml", "Makefile")
_WISHES: Final = (
    "Make the tests of the store green.",
    "Now rename the class and its uses.",
    "Write down in the notes what you changed.",
    "The build is slow; find out why.",
)
_TOOLS: Final = ("read", "edit", "bash", "grep")
_CLAUDE: Final = {"read": "Read", "edit": "Edit", "bash": "Bash", "grep": "Grep"}
_WISH_EVERY: Final = 12
"""Rounds after which the user says something new, about."""

Body = dict[str, Any]


class Call(NamedTuple):
    """One call and its result."""

    call_id: str
    tool: str
    arguments: dict[str, Any]
    result: str
    is_error: bool


class Round(NamedTuple):
    """One request's worth of work.

    Attributes:
        wish: What the user said before it; None = nothing, it goes on.
        said: Beside the calls, or "".
        report: What was said at its end; None = the next round follows from the results.
    """

    wish: str | None
    thought: str
    said: str
    calls: tuple[Call, ...]
    report: str | None


class CodingAgent:
    """A session.

    Args:
        result_chars: Of a call's result, at most.
        system_chars: Of the instructions.
    """

    def __init__(self, seed: int, *, result_chars: int = 400, system_chars: int = 600) -> None:
        self._seed = seed
        self._result_chars = result_chars
        rng = random.Random(f"instructions {seed}")
        self.instructions = "You are a coding agent. " + prose(rng, system_chars)
        self._tools = [tool_definition(rng, name)["function"] for name in _TOOLS]

    @functools.cache  # noqa: B019 - as short as the test that made it
    def round(self, number: int) -> Round:
        """Return one round; the user begins with the first, and something new some rounds after the last report."""
        rng = random.Random(f"round {self._seed} {number}")
        is_begin = number == 0 or self.round(number - 1).report is not None
        return Round(
            wish=rng.choice(_WISHES) + " " + prose(rng, 60) if is_begin else None,
            thought=prose(rng, 80) if rng.random() < 0.5 else "",
            said=prose(rng, 40) if rng.random() < 0.3 else "",
            calls=tuple(self._call(rng) for _ in range(rng.choice((1, 1, 1, 2, 3)))),
            report="Done: " + prose(rng, 120) if rng.random() < 1 / _WISH_EVERY else None,
        )

    def _call(self, rng: random.Random) -> Call:
        tool, path = rng.choice(_TOOLS), rng.choice(_FILES)
        arguments: dict[str, dict[str, Any]] = {
            "read": {"path": path, "offset": rng.randrange(400)},
            "edit": {"path": path, "old": prose(rng, 40), "new": prose(rng, 60), "all": False},
            "bash": {"command": f"grep -n {rng.randrange(999)} {path} | head", "timeout": 2.5},
            "grep": {"pattern": rng.choice(_FILES).replace("/", "."), "paths": [path, "src"]},
        }
        result = f"{path}:\n" + prose(rng, rng.randrange(20, self._result_chars))
        return Call(f"{rng.getrandbits(96):024x}", tool, arguments[tool], result, rng.random() < 0.1)

    def chat(self, num_rounds: int) -> Body:
        """Return opencode's request behind so many rounds: `messages` and `tools`."""
        messages: list[Body] = [{"role": "system", "content": self.instructions}]
        for each in self._rounds(num_rounds):
            if each.wish is not None:
                messages.append({"role": "user", "content": each.wish})
            messages.append(_chat_turn(each))
            messages += [
                {"role": "tool", "tool_call_id": f"call_{call.call_id}", "content": call.result} for call in each.calls
            ]
            if each.report is not None:
                messages.append({"role": "assistant", "content": each.report})
        messages += [{"role": "user", "content": wish} for wish in self._next_wish(num_rounds)]
        tools = [{"type": "function", "function": tool} for tool in self._tools]
        return {"messages": messages, "tools": tools, "tool_choice": "auto"}

    def responses(self, num_rounds: int) -> Body:
        """Return Codex's request behind so many rounds: `input`, `tools` and what it always sends."""
        items: list[Body] = [_codex_message("developer", self.instructions[:200])]
        items.append(_codex_message("user", "<environment_context>\n<cwd>/home/me/app</cwd>\n</environment_context>"))
        for each in self._rounds(num_rounds):
            items += [_codex_message("user", wish) for wish in (each.wish,) if wish is not None]
            items += _codex_round(each)
        items += [_codex_message("user", wish) for wish in self._next_wish(num_rounds)]
        functions = [{"type": "function", "strict": False, **tool} for tool in self._tools if tool["name"] != "edit"]
        patch = {"type": "custom", "name": "apply_patch", "description": "Edits files."}
        return {
            "instructions": self.instructions,
            "input": items,
            "tools": [*functions, patch],
            "tool_choice": "auto",
            "parallel_tool_calls": True,
            "store": False,
            "include": ["reasoning.encrypted_content"],
            "prompt_cache_key": f"00000000-0000-0000-0000-{self._seed:012}",
        }

    def anthropic(self, num_rounds: int) -> Body:
        """Return Claude Code's request behind so many rounds: `system`, `messages`, `tools`."""
        reminder = {"type": "text", "text": "<system-reminder>\nThe date is today.\n</system-reminder>"}
        messages: list[Body] = []
        for number, each in enumerate(self._rounds(num_rounds)):
            if each.wish is not None:
                first = [reminder] if number == 0 else []
                messages.append({"role": "user", "content": [*first, {"type": "text", "text": each.wish}]})
            if number == 0:
                messages.append({"role": "system", "content": self.instructions[:300]})
            messages += _claude_round(each, number)
        messages += [{"role": "user", "content": wish} for wish in self._next_wish(num_rounds)]
        last = messages[-1]["content"]
        if isinstance(last, list):
            messages[-1] = {**messages[-1], "content": [*last[:-1], {**last[-1], "cache_control": _EPHEMERAL}]}
        system = [
            {"type": "text", "text": f"x-anthropic-billing-header: cc_version=2.1; cch={num_rounds:05};"},
            {"type": "text", "text": self.instructions, "cache_control": _EPHEMERAL},
        ]
        tools = [
            {"name": _CLAUDE[each["name"]], "description": each["description"], "input_schema": each["parameters"]}
            for each in self._tools
        ]
        return {"system": system, "messages": messages, "tools": tools}

    def _rounds(self, num_rounds: int) -> list[Round]:
        return [self.round(number) for number in range(num_rounds)]

    def _next_wish(self, num_rounds: int) -> list[str]:
        """Return what the user says where the last round ended with a report, or none came before."""
        wish = self.round(num_rounds).wish
        return [] if wish is None else [wish]


_EPHEMERAL: Final = {"type": "ephemeral"}


def _chat_turn(each: Round) -> Body:
    calls = [
        {
            "id": f"call_{call.call_id}",
            "type": "function",
            "function": {"name": call.tool, "arguments": json.dumps(call.arguments)},
        }
        for call in each.calls
    ]
    thought = {"reasoning_content": each.thought} if each.thought else {}
    return {"role": "assistant", "content": each.said, **thought, "tool_calls": calls}


def _codex_message(role: str, text: str) -> Body:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


def _codex_round(each: Round) -> list[Body]:
    items: list[Body] = []
    if each.thought:
        items.append({"type": "reasoning", "summary": [], "encrypted_content": None, "content": None})
    if each.said:
        items.append(_codex_message("assistant", each.said))
    items += [_codex_call(call) for call in each.calls]
    items += [_codex_output(call) for call in each.calls]
    return items + ([_codex_message("assistant", each.report)] if each.report is not None else [])


def _codex_call(call: Call) -> Body:
    begin = {"status": "completed", "call_id": f"call_{call.call_id}"}
    if call.tool == "edit":
        patch = f"*** Begin Patch\n*** Update File: {call.arguments['path']}\n+{call.arguments['new']}\n*** End Patch"
        return {"type": "custom_tool_call", **begin, "name": "apply_patch", "input": patch}
    return {"type": "function_call", **begin, "name": call.tool, "arguments": json.dumps(call.arguments)}


def _codex_output(call: Call) -> Body:
    kind = "custom_tool_call_output" if call.tool == "edit" else "function_call_output"
    is_list = call.tool == "grep"
    return {
        "type": kind,
        "call_id": f"call_{call.call_id}",
        "output": [{"type": "input_text", "text": call.result}] if is_list else call.result,
    }


def _claude_round(each: Round, number: int) -> list[Body]:
    said: list[Body] = []
    if each.thought:
        said.append({"type": "thinking", "thinking": each.thought, "signature": "c2lnbmVk"})
    if each.said:
        said.append({"type": "text", "text": each.said})
    said += [
        {"type": "tool_use", "id": f"toolu_{call.call_id}", "name": _CLAUDE[call.tool], "input": call.arguments}
        for call in each.calls
    ]
    results: list[Body] = [
        {
            "type": "tool_result",
            "tool_use_id": f"toolu_{call.call_id}",
            "content": [{"type": "text", "text": call.result}] if call.tool == "grep" else call.result,
            **({"is_error": True} if call.is_error else {}),
        }
        for call in each.calls
    ]
    if number % 7 == 3:  # now and then, beside the results
        results.append({"type": "text", "text": "<system-reminder>\nThe list of todos is empty.\n</system-reminder>"})
    messages: list[Body] = [{"role": "assistant", "content": said}, {"role": "user", "content": results}]
    report = [{"role": "assistant", "content": [{"type": "text", "text": each.report}]}] if each.report else []
    return messages + report


def broken_pairs(messages: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return ids of calls without a result in time, and of results without a call."""
    broken: list[str] = []
    waiting: set[str] = set()
    for message in messages:
        if message["role"] == "assistant":
            broken += sorted(waiting)
            waiting = {call["id"] for call in message.get("tool_calls") or []}
        elif message["role"] == "tool":
            broken += [] if message["tool_call_id"] in waiting else [message["tool_call_id"]]
            waiting.discard(message["tool_call_id"])
    return broken + sorted(waiting)
