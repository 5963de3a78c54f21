"""What Anthropic's messages become for a model's template."""

from typing import Any

import msgspec
import pytest

from backends.wire.prompts import PromptMessage
from router.errors import InvalidRequestError, UnsupportedFieldError
from router.protocols.anthropic.messages import PromptMessages, read_messages
from router.protocols.anthropic.schemas import Message, TextBlock
from router.protocols.fields.carried import CarriedContext

USER = {"role": "user", "content": "hi"}
CALL = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"town": "Bern"}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "sunny"}
SHOWN_CALL = {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": {"town": "Bern"}}}


def read(*messages: Any, system: Any = None) -> PromptMessages:
    shown_system = msgspec.convert(system, str | list[TextBlock] | None)
    return read_messages(msgspec.convert(list(messages), list[Message]), shown_system)


def refusal(*messages: Any) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        read(*messages)
    assert caught.value.param is not None
    assert str(caught.value).startswith(caught.value.param)
    return caught.value


def test_texts_and_blocks_say_the_same() -> None:
    blocks = {"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]}
    assert read(USER, system="Be brief.") == read(blocks, system=[{"type": "text", "text": "Be brief."}])
    assert read(USER, system="Be brief.").messages == [{"role": "system", "content": "Be brief."}, USER]
    assert read(USER, system="").messages == read(USER, system=[]).messages == [USER]


@pytest.mark.parametrize("as_text", [True, False])
def test_a_billing_label_is_no_part_of_the_prompt(*, as_text: bool) -> None:
    label = "x-anthropic-billing-header: cc_version=2.1.177.01c; cc_entrypoint=cli; cch=36ee5;"
    texts = [label, "You mend bugs."]
    system = "\n".join(texts) if as_text else [{"type": "text", "text": text} for text in texts]
    assert read(USER, system=system).messages[0]["content"] == "You mend bugs."


def test_turns_of_one_role_in_a_row_are_one() -> None:
    answer = {"role": "assistant", "content": "a"}
    read_one = read(USER, {"role": "user", "content": "there"}, answer, answer, USER)
    assert [turn["content"] for turn in read_one.messages] == ["hi\nthere", "aa", "hi"]


def test_calls_and_results_become_what_templates_know() -> None:
    calls = {"role": "assistant", "content": [{"type": "text", "text": "Let me look."}, CALL, CALL | {"id": "t2"}]}
    failed = {"type": "tool_result", "tool_use_id": "t2", "content": [{"type": "text", "text": "gone"}]}
    results = {"role": "user", "content": [RESULT, failed | {"is_error": True}, {"type": "text", "text": "Go on."}]}
    assert read(USER, calls, results).messages == [
        USER,
        {"role": "assistant", "content": "Let me look.", "tool_calls": [SHOWN_CALL, SHOWN_CALL | {"id": "t2"}]},
        {"role": "tool", "content": "sunny", "tool_call_id": "t1", "name": "weather"},
        {"role": "tool", "content": "Error: gone", "tool_call_id": "t2", "name": "weather"},
        {"role": "user", "content": "Go on."},
    ]


def test_a_call_without_text_has_no_content_and_a_result_may_be_empty() -> None:
    empty = {"type": "tool_result", "tool_use_id": "t1"}
    turns = read(USER, {"role": "assistant", "content": [CALL]}, {"role": "user", "content": [empty]}).messages
    assert turns[1]["content"] is None
    assert turns[2]["content"] == ""


def test_thinking_comes_back_as_reasoning_and_redacted_thinking_does_not() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "anything"}
    redacted = {"type": "redacted_thinking", "data": "opaque"}
    turn = {"role": "assistant", "content": [thought, redacted, {"type": "text", "text": "a"}]}
    assert read(USER, turn, USER).messages[1] == {"role": "assistant", "content": "a", "reasoning_content": "hm"}
    hidden = {"role": "assistant", "content": [thought | {"thinking": ""}, {"type": "text", "text": "a"}]}
    assert read(USER, hidden, USER).messages[1] == {"role": "assistant", "content": "a"}


def test_the_beginning_does_not_hang_on_what_follows() -> None:
    turns = [
        USER,
        {"role": "assistant", "content": [CALL]},
        {"role": "user", "content": [RESULT]},
        {"role": "assistant", "content": "It is sunny."},
        USER,
    ]
    whole = read(*turns).messages
    for num_turns in (1, 3, 5):
        assert whole[:num_turns] == read(*turns[:num_turns]).messages


def test_the_assistants_last_message_is_continued() -> None:
    begun = read(USER, {"role": "assistant", "content": "Sure: "})
    assert (begun.messages, begun.continuation) == ([USER], "Sure: ")
    assert read(USER).continuation is None


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([USER, {"role": "assistant", "content": [CALL]}], "messages[1]"),
        ([USER, {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}]}], "messages[1]"),
        ([{"role": "user", "content": [RESULT]}], "messages[0].content[0].tool_use_id"),
        ([{"role": "user", "content": [CALL]}], "messages[0].content[0]"),
        ([{"role": "user", "content": []}], "messages[0].content"),
        ([USER, {"role": "assistant", "content": [RESULT]}], "messages[1].content[0]"),
        ([USER, {"role": "system", "content": [RESULT]}], "messages[1].content[0]"),
        ([{"role": "assistant", "content": "a"}], "messages"),
    ],
)
def test_what_stands_where_it_cannot_is_refused_by_its_place(messages: list[Any], param: str) -> None:
    assert refusal(*messages).param == param


def test_system_messages_stay_where_they_are() -> None:
    assert read(USER, {"role": "system", "content": "Be brief."}).messages[1]["role"] == "system"


def test_a_call_that_was_cut_and_a_null_are_shown_as_far_as_they_go() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": None}
    turns = read(USER, {"role": "assistant", "content": None}, USER).messages
    assert turns == [USER, {"role": "assistant", "content": ""}, USER]
    for sent, arguments in (('{"town": "Bern", "da', {"town": "Bern"}), (None, {}), ("", {})):
        answer = {"role": "assistant", "content": [thought, {**CALL, "input": sent}]}
        shown = read(USER, answer, {"role": "user", "content": [RESULT]}).messages[1]
        assert shown["reasoning_content"] == "hm"
        assert shown["tool_calls"][0]["function"]["arguments"] == arguments
    assert refusal({"role": "user", "content": None}).param == "messages[0].content"


def compaction(**fields: Any) -> dict[str, Any]:
    return {"type": "compaction", **fields}


SAID = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]
CARRIED = CarriedContext.of(
    [{"role": "user", "content": "the summary"}, {"role": "user", "content": "three"}],
    [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}, {"role": "user", "content": "three"}],
).encoded()


def test_a_compaction_of_ours_stands_for_all_before_it() -> None:
    answer = [compaction(content="a summary", encrypted_content=CARRIED), {"type": "text", "text": "four"}]
    asked = {"role": "user", "content": "three"}
    shown = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "the summary"},
        {"role": "user", "content": "three"},
        {"role": "assistant", "content": "four"},
        {"role": "user", "content": "five"},
    ]
    for before in ([*SAID, asked], []):
        sent = [*before, {"role": "assistant", "content": answer}, {"role": "user", "content": "five"}]
        assert read(*sent, system="s").messages == shown


def test_what_edits_had_cleared_of_what_a_compaction_stands_for_does_not_come_back() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": {}}}
    cleared: list[PromptMessage] = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "[cleared]", "tool_call_id": "c", "name": "f"},
    ]
    summary: list[PromptMessage] = [{"role": "user", "content": "the summary"}]
    block = compaction(encrypted_content=CarriedContext.of(summary, cleared).encoded())
    sent = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {"path": "/src"}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "all of it"}]},
    ]
    answer = [block, {"type": "text", "text": "two"}]
    assert read(*sent, {"role": "assistant", "content": answer}, {"role": "user", "content": "three"}).messages == [
        *summary,
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "three"},
    ]


def test_a_compaction_that_only_tells_of_itself_stands_for_nothing() -> None:
    block = compaction(encrypted_content=CarriedContext(messages=[], covered=[]).encoded())
    after = {"role": "user", "content": "five"}
    for before in ([], SAID):
        told = [*before, {"role": "assistant", "content": [block]}, after]
        assert read(*told).messages == read(*before, after).messages


def test_of_another_servers_compaction_the_summary_counts() -> None:
    block = compaction(content="They met.", encrypted_content="theirs", signature="x", tool_changes=[])
    after = {"role": "user", "content": "five"}
    told, acknowledged, asked = read(*SAID, {"role": "assistant", "content": [block]}, after).messages
    assert "They met." in str(told["content"])
    assert (told["role"], acknowledged["role"], asked) == ("user", "assistant", after)
    told, goes_on, asked = read(
        {"role": "assistant", "content": [block, {"type": "text", "text": "Hm."}]}, after
    ).messages
    assert goes_on == {"role": "assistant", "content": "Hm."}
    with pytest.raises(UnsupportedFieldError) as refused:
        read({"role": "assistant", "content": [compaction(encrypted_content="theirs")]}, after)
    assert refused.value.param == "messages[0].content[0].encrypted_content"
    failed = {"role": "assistant", "content": [compaction(content=None)]}
    assert read(*SAID, failed, after).messages == read(*SAID, after).messages
