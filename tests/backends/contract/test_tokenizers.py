"""Both engines' tokenizers on the same vocabulary: the same ids, the same bytes, the same special tokens."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.tokenizer import Tokenizer
from tests.backends.conftest import EngineUnderTest
from tests.support import tiny_model

pytestmark = pytest.mark.slow

TEXTS = [
    "",
    " ",
    "Hello, world!",
    "  the  time\n\nthe\tthe ",
    "Übermut 日本語 🙂‍↔️ e\u0301",
    "\0\x01\x7f",
    "<|im_start|>user\nHi<|im_end|>",
    "<|im_start|><|im_start|>",
    "<|im_end",
    "it's they'll 12345 a1b2",
]


@pytest.fixture
def pair(loaded_engines: Callable[[str], EngineUnderTest]) -> tuple[Tokenizer, Tokenizer]:
    return loaded_engines("llamacpp").engine.tokenizer, loaded_engines("mlx").engine.tokenizer


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("add_bos", [False, True])
def test_encode_agrees(pair: tuple[Tokenizer, Tokenizer], text: str, add_bos: bool) -> None:  # noqa: FBT001 - a case
    llamacpp, mlx = pair
    assert llamacpp.encode(text, add_bos=add_bos) == mlx.encode(text, add_bos=add_bos)


@given(text=st.text(max_size=30))
@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
def test_encode_agrees_and_bytes_give_the_text_back(pair: tuple[Tokenizer, Tokenizer], text: str) -> None:
    llamacpp, mlx = pair
    token_ids = llamacpp.encode(text, add_bos=False)
    assert token_ids == mlx.encode(text, add_bos=False)
    assert b"".join(map(llamacpp.token_bytes, token_ids)).decode() == text


def test_the_bytes_of_every_token_agree(pair: tuple[Tokenizer, Tokenizer]) -> None:
    llamacpp, mlx = pair
    assert llamacpp.vocab_size == mlx.vocab_size == len(tiny_model.vocabulary())
    ids = range(llamacpp.vocab_size)
    assert [llamacpp.token_bytes(i) for i in ids] == [mlx.token_bytes(i) for i in ids]
    assert [llamacpp.is_end(i) for i in ids] == [mlx.is_end(i) for i in ids]
    assert {llamacpp.token_bytes(i) for i in range(256)} == {bytes([byte]) for byte in range(256)}


def test_control_tokens_have_no_bytes_and_are_encoded_whole(pair: tuple[Tokenizer, Tokenizer]) -> None:
    for tokenizer in pair:
        assert tokenizer.encode("<|im_start|>a<|im_end|>", add_bos=False)[::2] == [
            tiny_model.BOS_ID,
            tiny_model.EOS_ID,
        ]
        assert tokenizer.token_bytes(tiny_model.BOS_ID) == b""
        assert tokenizer.is_end(tiny_model.EOS_ID)
        assert not tokenizer.is_end(tiny_model.BOS_ID)


def test_special_texts_and_template_agree(pair: tuple[Tokenizer, Tokenizer]) -> None:
    llamacpp, mlx = pair
    assert (llamacpp.bos_text, llamacpp.eos_text) == (mlx.bos_text, mlx.eos_text) == tiny_model.CONTROL_TOKENS
    assert llamacpp.chat_template == mlx.chat_template == tiny_model.CHAT_TEMPLATE
    assert llamacpp.adds_bos == mlx.adds_bos


def test_no_token_is_longer_than_the_bound(pair: tuple[Tokenizer, Tokenizer]) -> None:
    for tokenizer in pair:
        longest = max(len(tokenizer.token_bytes(i)) for i in range(tokenizer.vocab_size))
        assert longest <= tokenizer.max_token_bytes < 100


def test_labels_are_written_by_the_same_tokens(pair: tuple[Tokenizer, Tokenizer]) -> None:
    for label, expected in (("A", (ord("A"),)), ("t", (ord("t"), 256)), ("AB", ()), ("Ü", ()), ("<|im_end|>", ())):
        assert [tokenizer.label_ids(label) for tokenizer in pair] == [expected, expected], label
