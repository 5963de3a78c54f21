"""Conversations that are too long: which turns are left out, and what stays."""

import msgspec
import pytest

from backends.errors import ContextLengthError
from backends.fake.tokenizer import FakeTokenizer
from backends.prompting.intake import ANSWER_SHARE, Intake, shorter_conversations
from backends.wire.messages import Generate
from backends.wire.prompts import ChatPrompt, PromptMessage
from backends.wire.request import SamplingParams, SequenceSpec
from tests.backends.prompting.test_intake import MODEL

SYSTEM: PromptMessage = {"role": "system", "content": "S"}


def user(text: str) -> PromptMessage:
    return {"role": "user", "content": text}


def assistant(text: str) -> PromptMessage:
    return {"role": "assistant", "content": text}


def prepared(messages: list[PromptMessage], context_length: int, *, truncates: bool = True) -> str:
    intake = Intake(FakeTokenizer(), msgspec.structs.replace(MODEL, context_length=context_length))
    prompt = intake.prepare(ChatPrompt(messages, truncates=truncates))
    intake.sequence_for(Generate(1, ChatPrompt(messages), SequenceSpec(SamplingParams())), prompt)
    assert prompt.rendered is not None
    return prompt.rendered.text


def test_turns_go_from_the_oldest_on_with_all_that_belongs_to_them() -> None:
    tool: PromptMessage = {"role": "tool", "content": "r"}
    messages = [SYSTEM, user("1"), assistant("a"), tool, assistant("b"), user("2"), assistant("c"), user("3")]
    assert shorter_conversations(messages) == [[SYSTEM, *messages[5:]], [SYSTEM, *messages[7:]]]


def test_one_turn_has_nothing_to_leave_out() -> None:
    assert shorter_conversations([SYSTEM, user("1"), assistant("a")]) == []


def test_a_conversation_that_fits_stays_whole() -> None:
    messages = [SYSTEM, user("one"), assistant("two"), user("three")]
    whole = prepared(messages, 1000, truncates=False)
    assert prepared(messages, 1000) == whole


def test_a_longer_one_loses_as_few_turns_as_leave_room_for_an_answer() -> None:
    messages = [SYSTEM, *(message for number in range(20) for message in (user(f"q{number:02}"), assistant("yes")))]
    messages.append(user("last"))
    for context_length in range(120, 400, 7):
        text = prepared(messages, context_length)
        kept = [number for number in range(20) if f"q{number:02}" in text]
        assert kept == list(range(20 - len(kept), 20))
        assert "S" in text
        assert "last" in text
        num_tokens = len(FakeTokenizer().encode(text, add_bos=False))
        one_turn = len(FakeTokenizer().encode(prepared(messages[:2] + messages[:3], 1000), add_bos=False))
        limit = context_length - context_length // ANSWER_SHARE
        assert num_tokens <= limit < num_tokens + one_turn


def test_a_last_turn_that_is_too_long_alone_is_refused() -> None:
    with pytest.raises(ContextLengthError):
        prepared([user("one"), assistant("two"), user("x" * 200)], 100)
    with pytest.raises(ContextLengthError):
        prepared([user("x" * 200)], 100)


def test_nothing_is_left_out_unasked() -> None:
    with pytest.raises(ContextLengthError):
        prepared([user("x" * 90), assistant("two"), user("x")], 100, truncates=False)
