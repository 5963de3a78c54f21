"""Prompts to tokens: what fits, what is refused, and which control tokens count."""

import pytest

from backends.errors import ContextLengthError, PromptError, UnsupportedByModelError
from backends.fake.tokenizer import FakeTokenizer
from backends.prompting.intake import Intake, PreparedPrompt
from backends.tokenizer import InfillTokens
from backends.wire.load import LoadedModel
from backends.wire.messages import Generate
from backends.wire.prompts import ChatPrompt, InfillFile, InfillPrompt, Prompt, TextPrompt, TokenPrompt
from backends.wire.request import SamplingParams, SequenceSpec

CONTEXT_LENGTH = 100
MODEL = LoadedModel(
    context_length=CONTEXT_LENGTH,
    max_sequences=1,
    kv_cells=CONTEXT_LENGTH,
    vocab_size=FakeTokenizer.vocab_size,
    devices=("fake",),
)
IM_START, IM_END = 256, 257


class CountingTokenizer(FakeTokenizer):
    """Notes what it was asked to tokenize; can infill."""

    infill = InfillTokens(1, 2, 3)

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, text: str, *, add_bos: bool, parse_control: bool = True) -> list[int]:
        self.asked.append(text)
        return super().encode(text, add_bos=add_bos, parse_control=parse_control)


def token_ids(prompt: Prompt) -> list[int]:
    return Intake(CountingTokenizer(), MODEL).prepare(prompt).token_ids


def test_control_tokens_in_a_plain_prompt_count() -> None:
    assert token_ids(TextPrompt("a<|im_end|>")) == [ord("a"), IM_END]


def test_control_tokens_in_a_message_are_text() -> None:
    ids = token_ids(ChatPrompt([{"role": "user", "content": "<|im_end|>"}]))
    assert ids.count(IM_END) == 1
    assert ids.count(IM_START) == 2
    assert bytes(i for i in ids if i < 256) == b"user\n<|im_end|>\nassistant\n"


def test_control_tokens_in_a_message_count_where_that_is_allowed() -> None:
    ids = token_ids(ChatPrompt([{"role": "user", "content": "<|im_end|>"}], allows_control_tokens=True))
    assert ids.count(IM_END) == 2


def test_infill_puts_prefix_suffix_and_middle_in_order() -> None:
    assert token_ids(TextPrompt("ab", suffix="<|im_end|>")) == [1, *b"ab", 2, *b"<|im_end|>", 3]


def test_infill_is_refused_where_the_model_has_no_tokens_for_it() -> None:
    with pytest.raises(UnsupportedByModelError) as caught:
        Intake(FakeTokenizer(), MODEL).prepare(TextPrompt("ab", suffix="c"))
    assert caught.value.param == "suffix"


def test_a_gap_has_both_sides_and_the_other_files_before_them() -> None:
    files = [InfillFile("x.py", "x"), InfillFile("y.py", "<|im_end|>")]
    found = token_ids(InfillPrompt("ab", "cd", files))
    assert found == [*b"\n\n--- x.py ---\n\nx\n\n--- y.py ---\n\n<|im_end|>", 1, *b"ab", 2, *b"cd", 3]
    assert token_ids(InfillPrompt("", "")) == [1, 2, 3]


def test_models_that_know_projects_see_names_of_files() -> None:
    class ProjectTokenizer(CountingTokenizer):
        infill = InfillTokens(1, 2, 3, 4, 5)

    found = Intake(ProjectTokenizer(), MODEL).prepare(InfillPrompt("a", "b", [InfillFile("x.py", "x")])).token_ids
    assert found == [4, *b"project\n", 5, *b"x.py\nx", 5, *b"file\n", 1, *b"a", 2, *b"b", 3]


@pytest.mark.parametrize(
    ("num_before", "num_after", "num_files", "expected"),
    [
        (200, 200, 200, (64, 21, 0)),
        (200, 5, 10, (80, 5, 0)),
        (10, 200, 10, (10, 75, 0)),
        (20, 20, 200, (20, 20, 45)),
        (0, 200, 0, (0, 85, 0)),
    ],
)
def test_a_gap_is_cut_to_the_context_from_far_to_near(
    num_before: int, num_after: int, num_files: int, expected: tuple[int, int, int]
) -> None:
    """Of 100 tokens 12 are the answer's and 3 the marks'."""
    before, after = bytes(range(65, 75)) * (num_before // 5), bytes(range(97, 107)) * (num_after // 5)
    before, after = before[:num_before], after[:num_after]
    files = [InfillFile("x", "1" * num_files)] if num_files else []
    found = token_ids(InfillPrompt(before.decode(), after.decode(), files))
    start, middle = found.index(1), found.index(2)
    assert (middle - start - 1, len(found) - middle - 2, start) == expected
    assert bytes(found[start + 1 : middle]) == before[len(before) - expected[0] :]
    assert bytes(found[middle + 1 : -1]) == after[: expected[1]]
    assert len(found) <= CONTEXT_LENGTH - CONTEXT_LENGTH // 8


def test_what_the_context_does_not_hold_of_other_files_is_not_even_tokenized() -> None:
    tokenizer = CountingTokenizer()
    files = [InfillFile(f"{number}.py", "x" * 50) for number in range(1000)]
    found = Intake(tokenizer, MODEL).prepare(InfillPrompt("a", "b", [*files, InfillFile("n" * 10**6, "")])).token_ids
    assert len(found) == CONTEXT_LENGTH - CONTEXT_LENGTH // 8
    assert sum(map(len, tokenizer.asked)) < 10 * CONTEXT_LENGTH


def test_a_gap_is_refused_where_the_model_has_no_tokens_for_it() -> None:
    with pytest.raises(UnsupportedByModelError, match="no tokens for infilling"):
        Intake(FakeTokenizer(), MODEL).prepare(InfillPrompt("ab", "c"))


@pytest.mark.parametrize("prompt", [TextPrompt(""), TokenPrompt([])])
def test_an_empty_prompt_is_refused(prompt: Prompt) -> None:
    with pytest.raises(PromptError, match="empty"):
        token_ids(prompt)


@pytest.mark.parametrize("token_id", [-1, FakeTokenizer.vocab_size, 10**12])
def test_ids_outside_the_vocabulary_are_refused(token_id: int) -> None:
    with pytest.raises(PromptError, match="not in the vocabulary") as caught:
        token_ids(TokenPrompt([1, token_id]))
    assert caught.value.param == "prompt"


def test_a_bias_for_an_id_outside_the_vocabulary_is_refused() -> None:
    message = Generate(1, TokenPrompt([1]), SequenceSpec(SamplingParams(logit_bias=((FakeTokenizer.vocab_size, 1.0),))))
    with pytest.raises(PromptError) as caught:
        Intake(FakeTokenizer(), MODEL).sequence_for(message, PreparedPrompt([1]))
    assert caught.value.param == "logit_bias"


def test_a_hopeless_text_is_not_tokenized() -> None:
    tokenizer = CountingTokenizer()
    with pytest.raises(ContextLengthError, match="at least") as caught:
        Intake(tokenizer, MODEL).prepare(TextPrompt("x" * 1_000_000))
    assert tokenizer.asked == []
    assert CONTEXT_LENGTH <= caught.value.num_prompt_tokens <= 1_000_000


def test_a_prompt_that_fills_the_context_leaves_no_room() -> None:
    intake = Intake(FakeTokenizer(), MODEL)
    message = Generate(1, TokenPrompt([]), SequenceSpec(SamplingParams()))
    assert intake.sequence_for(message, PreparedPrompt([1] * (CONTEXT_LENGTH - 1))).max_output_tokens == 1
    with pytest.raises(ContextLengthError) as caught:
        intake.sequence_for(message, PreparedPrompt([1] * CONTEXT_LENGTH))
    assert (caught.value.num_prompt_tokens, caught.value.context_length) == (CONTEXT_LENGTH, CONTEXT_LENGTH)


def test_a_prompt_that_leaves_less_room_than_the_answer_is_to_have_is_too_long() -> None:
    intake = Intake(FakeTokenizer(), MODEL)
    message = Generate(1, TokenPrompt([]), SequenceSpec(SamplingParams(), min_room=25))
    assert intake.sequence_for(message, PreparedPrompt([1] * (CONTEXT_LENGTH - 25))).max_output_tokens == 25
    with pytest.raises(ContextLengthError, match=r"has 76 tokens .* holds 100, 25 of which are the answer's") as caught:
        intake.sequence_for(message, PreparedPrompt([1] * (CONTEXT_LENGTH - 24)))
    assert (caught.value.num_prompt_tokens, caught.value.context_length) == (CONTEXT_LENGTH - 24, CONTEXT_LENGTH)
