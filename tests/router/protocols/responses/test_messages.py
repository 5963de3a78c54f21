from typing import Any

import pytest

from backends.wire.prompts import PromptMessage
from router.errors import InvalidRequestError
from router.protocols.fields.carried import CarriedContext
from router.protocols.responses.items import Item, read_items
from router.protocols.responses.request import conversation_messages


def messages_of(*sent: Any, instructions: str | None = None) -> list[PromptMessage]:
    items = [item for item in read_items(list(sent)).values() if isinstance(item, dict)]
    return conversation_messages(items, instructions)


def call(call_id: str, **fields: Any) -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": "f", "arguments": '{"x":1}', **fields}


def shown(call_id: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": "f", "arguments": {"x": 1}}}


def test_a_text_is_a_users_message() -> None:
    (item,) = read_items("hi").values()
    assert isinstance(item, dict)
    assert item["id"].startswith("msg_")
    assert item["content"] == [{"type": "input_text", "text": "hi"}]
    assert conversation_messages([item], None) == [{"role": "user", "content": "hi"}]


def test_parts_of_all_text_types_are_joined() -> None:
    parts = [
        {"type": "input_text", "text": "a"},
        {"type": "output_text", "text": "b", "annotations": [], "logprobs": []},
        {"type": "refusal", "refusal": "c"},
    ]
    assert messages_of({"role": "assistant", "content": parts}) == [{"role": "assistant", "content": "a\nb\nc"}]


def test_instructions_and_a_developer_message_are_system_messages() -> None:
    messages = messages_of(
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": "hi"},
        {"role": "system", "content": "Now be brief."},
        instructions="Be brief.",
    )
    assert messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "hi"},
        {"role": "system", "content": "Now be brief."},
    ]


def test_what_an_assistant_thought_said_and_called_is_one_message() -> None:
    messages = messages_of(
        {"role": "user", "content": "hi"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"role": "assistant", "content": "Look"},
        call("a"),
        call("b"),
        {"type": "function_call_output", "call_id": "a", "output": "1"},
        {"type": "function_call_output", "call_id": "b", "output": [{"type": "input_text", "text": "2"}]},
        {"role": "assistant", "content": "Done"},
    )
    assert messages == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "Look", "reasoning_content": "hm", "tool_calls": [shown("a"), shown("b")]},
        {"role": "tool", "content": "1", "tool_call_id": "a"},
        {"role": "tool", "content": "2", "tool_call_id": "b"},
        {"role": "assistant", "content": "Done"},
    ]


def test_thoughts_before_a_call_belong_to_it_and_thoughts_alone_have_an_empty_text() -> None:
    thought = {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "hm"}]}
    messages = messages_of({"role": "user", "content": "hi"}, thought, call("a"))
    assert messages[1:] == [
        {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [shown("a")]}
    ]
    assert messages_of(thought) == [{"role": "assistant", "content": "", "reasoning_content": "hm"}]
    assert messages_of({"role": "user", "content": "hi"}, {"type": "reasoning", "summary": []}) == [
        {"role": "user", "content": "hi"}
    ]


def test_a_call_that_was_cut_is_shown_as_far_as_it_is_complete_and_an_output_of_no_call_refused() -> None:
    cut: Item = {**call("a"), "id": "fc_1", "arguments": '{"a": 1, "x', "status": "incomplete"}
    (shown,) = conversation_messages([cut], None)
    assert shown["tool_calls"][0]["function"]["arguments"] == {"a": 1}
    custom = {"call_id": "c", "name": "patch", "input": "*** Beg", "status": "incomplete"}
    assert messages_of(
        {"type": "custom_tool_call", **custom}, {"type": "custom_tool_call_output", "call_id": "c", "output": "aborted"}
    ) == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "patch", "arguments": {"input": "*** Beg"}}}
            ],
        },
        {"role": "tool", "content": "aborted", "tool_call_id": "c"},
    ]
    with pytest.raises(InvalidRequestError, match="No tool call found"):
        messages_of({"type": "function_call_output", "call_id": "a", "output": "1"})


def test_a_null_in_what_was_said_is_an_empty_text_and_in_a_question_refused() -> None:
    said = {"role": "assistant", "content": None, "id": ""}
    outputs = [{"type": "function_call_output", "call_id": "a", "output": None}]
    messages = messages_of({"role": "user", "content": "hi"}, said, call("a", id=""), *outputs)
    assert [message["content"] for message in messages] == ["hi", "", ""]
    assert messages[1]["tool_calls"] == [shown("a")]
    with pytest.raises(InvalidRequestError, match=r"input\[0\]\.content: a text is needed"):
        messages_of({"role": "user", "content": None})


def test_a_compaction_stands_for_all_before_it_and_calls_in_it_have_their_results_behind_it() -> None:
    sent: list[PromptMessage] = [{"role": "user", "content": "one"}]
    told: list[PromptMessage] = [
        {"role": "user", "content": "a summary"},
        {"role": "assistant", "content": None, "tool_calls": [shown("c1")]},
    ]
    item = {"type": "compaction", "id": "cmp_1", "encrypted_content": CarriedContext.of(told, sent).encoded()}
    result = {"type": "function_call_output", "call_id": "c1", "output": "ok"}
    seen = [
        {"role": "system", "content": "s"},
        *told,
        {"role": "tool", "content": "ok", "tool_call_id": "c1"},
    ]
    assert messages_of(item, result, instructions="s") == seen
    assert messages_of({"role": "user", "content": "one"}, item, result, instructions="s") == seen


def test_a_compaction_that_only_tells_of_itself_changes_nothing() -> None:
    item = {"type": "compaction", "encrypted_content": CarriedContext(messages=[], covered=[]).encoded()}
    user = {"role": "user", "content": "one"}
    assert messages_of(user, item, user) == messages_of(user, user)
