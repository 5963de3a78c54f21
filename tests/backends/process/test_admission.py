"""What a request waits for before it may start, and what its answer is held to then."""

import time
from collections.abc import Mapping

import numpy as np
import pytest

from backends.output.answer import RunningAnswer
from backends.process.admission import Admission
from backends.wire.load import LoadedModel
from backends.wire.messages import Failed, Generate
from backends.wire.prompts import ChatPrompt
from backends.wire.request import Constraint, ConstraintKind, OutputSpec, SamplingParams, SequenceSpec
from tests.backends.constraints.conftest import ByteTokenizer

THINK_ID, END_THINK_ID = 259, 260
TEMPLATE = (
    "{% for m in messages %}{{ m.content }}{% endfor %}"
    "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
)


class ThinkingTokenizer(ByteTokenizer):
    """A vocabulary whose model opens its thinking itself."""

    vocab_size = 261
    chat_template = TEMPLATE  # type: ignore[assignment]  # the base has none

    @property
    def control_ids(self) -> Mapping[str, int]:
        return {**super().control_ids, "<think>": THINK_ID, "</think>": END_THINK_ID}

    def _encode(self, text: str, *, parse_control: bool) -> list[int]:
        del parse_control  # texts have no control tokens
        return [THINK_ID] if text == "<think>" else super()._encode(text, parse_control=False)


class PlainTokenizer(ThinkingTokenizer):
    """The same template over a vocabulary in which the tags are mere text."""

    @property
    def control_ids(self) -> Mapping[str, int]:
        return ByteTokenizer().control_ids

    def _encode(self, text: str, *, parse_control: bool) -> list[int]:
        del parse_control
        return ByteTokenizer._encode(self, text, parse_control=False)


def first_tokens(tokenizer: ByteTokenizer, *, enable_thinking: bool | None = None) -> set[int]:
    """Return the tokens with which the answer to a request for digits may begin."""
    model = LoadedModel(
        context_length=200,
        max_sequences=1,
        kv_cells=200,
        vocab_size=tokenizer.vocab_size,
        devices=("none",),
    )
    admission = Admission(tokenizer, model)
    prompt = ChatPrompt([{"role": "user", "content": "hi"}], enable_thinking=enable_thinking)
    constraint = Constraint(ConstraintKind.REGEX, "[0-9]+", "regex")
    message = Generate(1, prompt, SequenceSpec(SamplingParams(), constraint=constraint, output=OutputSpec()))
    result = admission.submit(message, time.monotonic())
    while result is None:
        result = next(iter(admission.poll(time.monotonic())), None)
    assert isinstance(result, RunningAnswer), result
    assert result.editor is not None
    logits = np.zeros(tokenizer.vocab_size, np.float32)
    result.editor.edit(logits)
    return set(np.flatnonzero(np.isfinite(logits)).tolist())


DIGITS = set(b"0123456789")


def test_a_model_that_opens_its_thinking_itself_may_think_before_a_constrained_answer() -> None:
    assert first_tokens(ThinkingTokenizer()) == DIGITS | {THINK_ID}


def test_it_may_not_where_thinking_was_switched_off() -> None:
    assert first_tokens(ThinkingTokenizer(), enable_thinking=False) == DIGITS


def test_it_may_not_where_the_tag_is_mere_text() -> None:
    assert first_tokens(PlainTokenizer()) == DIGITS


@pytest.mark.parametrize("text", ["(", "a{99999}"])
def test_what_cannot_be_compiled_is_refused(text: str) -> None:
    admission = Admission(
        ThinkingTokenizer(),
        LoadedModel(
            context_length=200,
            max_sequences=1,
            kv_cells=200,
            vocab_size=261,
            devices=(),
        ),
    )
    constraint = Constraint(ConstraintKind.REGEX, text, "regex")
    prompt = ChatPrompt([{"role": "user", "content": "hi"}])
    result = admission.submit(
        Generate(1, prompt, SequenceSpec(SamplingParams(), constraint=constraint)), time.monotonic()
    )
    while result is None:
        result = next(iter(admission.poll(time.monotonic())), None)
    assert isinstance(result, Failed)
    assert result.param == "regex"
    assert not admission.has_pending
