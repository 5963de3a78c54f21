"""Edits of a conversation that clear: what goes, what stays, and that calls and results stay pairs."""

from typing import Any

import msgspec
import pytest

from backends.wire.prompts import PromptMessage
from router.protocols.anthropic.edits import (
    CLEARED,
    ClearThinking,
    ClearToolUses,
    ContextManagement,
    cleared_thinking,
    cleared_tool_uses,
    num_tool_uses,
)


def called(number: int, name: str = "read") -> PromptMessage:
    call = {"id": f"c{number}", "type": "function", "function": {"name": name, "arguments": {"n": number}}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def result(number: int) -> PromptMessage:
    return {"role": "tool", "content": f"result {number}", "tool_call_id": f"c{number}"}


def session(num_rounds: int, *, names: tuple[str, ...] = ("read",)) -> list[PromptMessage]:
    rounds = [(called(number, names[number % len(names)]), result(number)) for number in range(num_rounds)]
    return [{"role": "user", "content": "go"}, *(message for pair in rounds for message in pair)]


def edit_of(**fields: Any) -> ClearToolUses:
    return msgspec.convert({"type": "clear_tool_uses_20250919", **fields}, ClearToolUses)


def results(messages: list[PromptMessage]) -> list[Any]:
    return [message["content"] for message in messages if message["role"] == "tool"]


def test_the_oldest_results_go_and_the_newest_three_stay() -> None:
    messages, num_cleared = cleared_tool_uses(session(6), edit_of())
    assert num_cleared == 3
    assert results(messages) == [CLEARED] * 3 + ["result 3", "result 4", "result 5"]
    assert num_tool_uses(messages) == 6


@pytest.mark.parametrize("num_kept", [5, 6, 7, 100])
def test_fewer_results_than_are_to_stay_all_stay(num_kept: int) -> None:
    read: list[PromptMessage] = [*session(5), {"role": "assistant", "content": "Done."}]
    for sent in (read, session(5)):
        edit = edit_of(keep={"type": "tool_uses", "value": num_kept})
        assert cleared_tool_uses(sent, edit) == (sent, 0)


def test_a_result_that_was_not_read_yet_stays_whatever_is_to_be_kept() -> None:
    messages, num_cleared = cleared_tool_uses(session(4), edit_of(keep={"type": "tool_uses", "value": 0}))
    assert num_cleared == 3
    assert results(messages) == [CLEARED] * 3 + ["result 3"]


def test_tools_that_are_excluded_keep_their_results() -> None:
    sent = session(6, names=("read", "note"))
    keep_none = {"type": "tool_uses", "value": 0}
    messages, num_cleared = cleared_tool_uses(sent, edit_of(keep=keep_none, exclude_tools=["note"]))
    assert num_cleared == 3
    assert results(messages) == [CLEARED, "result 1", CLEARED, "result 3", CLEARED, "result 5"]


@pytest.mark.parametrize(
    ("inputs", "shown"), [(True, [{}, {}]), (["note"], [{"n": 0}, {}]), (None, [{"n": 0}, {"n": 1}])]
)
def test_what_was_called_with_goes_where_that_is_asked_for(inputs: Any, shown: list[Any]) -> None:
    sent = session(4, names=("read", "note"))
    edit = edit_of(keep={"type": "tool_uses", "value": 2}, clear_tool_inputs=inputs)
    messages, _ = cleared_tool_uses(sent, edit)
    arguments = [message["tool_calls"][0]["function"]["arguments"] for message in messages if "tool_calls" in message]
    assert arguments == [*shown, {"n": 2}, {"n": 3}]
    assert [message.get("tool_call_id") for message in messages] == [message.get("tool_call_id") for message in sent]


def test_of_thinking_the_newest_turns_stay() -> None:
    said: list[PromptMessage] = [
        {"role": "assistant", "content": str(number), "reasoning_content": f"hm {number}"} for number in range(3)
    ]
    messages, num_cleared = cleared_thinking(said, ClearThinking())
    assert num_cleared == 2
    assert ["reasoning_content" in message for message in messages] == [False, False, True]
    assert said[0]["reasoning_content"] == "hm 0", "what was sent is left as it was"
    for keep in ("all", {"type": "all"}, {"type": "thinking_turns", "value": 3}):
        edit = msgspec.convert({"type": "clear_thinking_20251015", "keep": keep}, ClearThinking)
        assert cleared_thinking(said, edit) == (said, 0)


def test_an_edit_that_is_not_known_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="clear_everything"):
        msgspec.convert({"edits": [{"type": "clear_everything"}]}, ContextManagement)
