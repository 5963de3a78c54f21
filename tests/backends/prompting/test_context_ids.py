"""Conversations that go on from the tokens of an earlier answer."""

import pytest

from backends.errors import PromptError, UnsupportedByModelError
from backends.fake.tokenizer import FakeTokenizer
from backends.output.answer import RunningAnswer
from backends.prompting.intake import Intake
from backends.prompting.renderer import ChatRenderer
from backends.sequence import Sequence
from backends.wire.messages import Finished, Generate
from backends.wire.prompts import ChatPrompt, PromptMessage, TextPrompt
from backends.wire.request import SamplingParams, SequenceSpec
from tests.backends.prompting.test_intake import IM_END, MODEL
from tests.backends.prompting.test_renderer import render

USER: list[PromptMessage] = [{"role": "user", "content": "next"}]
GREETING = "{% if messages[0].role != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
PLAIN = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"


def ids_after(context_ids: list[int]) -> list[int]:
    return Intake(FakeTokenizer(), MODEL).prepare(ChatPrompt(USER, context_ids=context_ids)).token_ids


def test_the_turn_begins_with_what_closes_the_answer_before() -> None:
    text = ChatRenderer(FakeTokenizer()).render(ChatPrompt(USER, context_ids=[1])).text
    assert text == "<|im_end|>\n<|im_start|>user\nnext<|im_end|>\n<|im_start|>assistant\n"


def test_the_templates_own_beginning_does_not_come_again() -> None:
    assert "kind" in render(GREETING + PLAIN, messages=USER)
    assert "kind" not in render(GREETING + PLAIN, messages=USER, context_ids=[1])


def test_an_answer_that_has_ended_is_not_closed_twice() -> None:
    ended, cut = ids_after([1, 2, IM_END]), ids_after([1, 2])
    assert ended == cut
    assert ended[:4] == [1, 2, IM_END, ord("\n")]


def test_ids_that_are_no_tokens_are_refused_by_name() -> None:
    with pytest.raises(PromptError, match="context: token id 100000") as caught:
        ids_after([100_000])
    assert caught.value.param == "context"


def test_a_template_that_hides_what_was_said_is_refused() -> None:
    with pytest.raises(UnsupportedByModelError, match="context"):
        render("{{ messages[-1].content }}", messages=USER, context_ids=[1])


@pytest.mark.parametrize("is_wanted", [False, True])
def test_the_end_tells_the_tokens_where_they_are_wanted(*, is_wanted: bool) -> None:
    tokenizer = FakeTokenizer()
    message = Generate(1, TextPrompt("ab"), SequenceSpec(SamplingParams(), wants_token_ids=is_wanted))
    sequence = Sequence(1, [97, 98], 2, 5, SamplingParams())
    generation = RunningAnswer(message, sequence, tokenizer, None, 0.0)
    sequence.token_ids.append(IM_END)
    (finished,) = (event for event in generation.on_token(IM_END, None, 1.0) if isinstance(event, Finished))
    assert finished.end.token_ids == ([97, 98, IM_END] if is_wanted else None)
