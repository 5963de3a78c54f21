"""The tokens of a file, and in what two vocabularies differ."""

from pathlib import Path

import msgspec
import pytest

from registry.gguf.vocabulary import MAX_SIZE_DIFFERENCE, Vocabulary, read_vocabulary, vocabulary_difference
from tests.support.tiny_model import BOS_ID, EOS_ID, vocabulary


def vocabulary_of(*tokens: str, model: str = "gpt2", eos: int = 2) -> Vocabulary:
    return Vocabulary(model=model, tokens=[token.encode() for token in tokens], special_ids={"bos": 1, "eos": eos})


def test_all_tokens_of_a_file_are_read_in_their_order(tiny_gguf: Path) -> None:
    found = read_vocabulary(tiny_gguf)
    assert [token.decode() for token in found.tokens] == vocabulary()
    assert (found.model, found.special_ids) == ("gpt2", {"bos": BOS_ID, "eos": EOS_ID})
    assert vocabulary_difference(found, read_vocabulary(tiny_gguf)) is None


@pytest.mark.parametrize(
    ("draft", "told"),
    [
        (vocabulary_of("a", "b", "c", model="llama"), "its tokenizer is llama, the model's is gpt2"),
        (vocabulary_of(*"abc" * 50), "it has 150 tokens, the model has 3"),
        (vocabulary_of("a", "b", "c", eos=0), "its eos token is 0, the model's is 2"),
        (vocabulary_of("a", "X", "c"), "its token 1 is 'X', the model's is 'b'"),
        (vocabulary_of(*"abcd"), None),
        (vocabulary_of(*"ab"), None),
    ],
)
def test_the_first_difference_is_told(draft: Vocabulary, told: str | None) -> None:
    assert vocabulary_difference(vocabulary_of(*"abc"), draft) == told


def test_a_few_tokens_more_at_the_end_are_padding() -> None:
    padded = vocabulary_of(*"abc", *["[PAD]"] * MAX_SIZE_DIFFERENCE)
    assert vocabulary_difference(vocabulary_of(*"abc"), padded) is None
    longer = msgspec.structs.replace(padded, tokens=[*padded.tokens, b"[PAD]"])
    assert vocabulary_difference(vocabulary_of(*"abc"), longer) == "it has 132 tokens, the model has 3"
