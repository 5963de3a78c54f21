"""Vocabularies that are known from files before: quicker, and never another result."""

import random

from registry.errors import GGUFError
from registry.gguf import KnownVocabularies
from registry.gguf.header import GGUFHeader, parse_source
from registry.gguf.vocabularies import MAX_TOTAL_BYTES
from tests.registry.gguf_builder import Value, array, llama_model, text, u32


def with_tokens(tokens: list[str], **changes: Value | None) -> bytes:
    count = len(tokens)
    return llama_model(
        tokenizer__ggml__tokens=array(8, tokens),
        tokenizer__ggml__scores=array(6, [0.0] * count),
        tokenizer__ggml__token_type=array(5, [1] * count),
        **changes,
    )


def test_a_vocabulary_that_is_known_from_another_file_makes_no_difference() -> None:
    rng = random.Random(3)
    words = [f"w{index}" for index in range(400)]
    bad = [*words[:-1], "<0xZZ>"]
    files = [
        with_tokens(words),
        with_tokens(words, general__name=text("another before the same vocabulary")),
        with_tokens(bad),
        with_tokens(bad, general__name=text("again")),
        with_tokens([*words[:-1], "w39x"]),
        with_tokens(words[:-1]),
        with_tokens(words)[:3000],
        with_tokens(words, tokenizer__ggml__bos_token_id=u32(7)),
    ]
    for window_bytes in (64, 2000, 1 << 20):
        vocabularies = KnownVocabularies()
        for data in rng.choices(files, k=40):
            assert outcome(data, window_bytes, vocabularies) == outcome(data, window_bytes, None)


def outcome(data: bytes, window_bytes: int, vocabularies: KnownVocabularies | None) -> GGUFHeader | str:
    def fetch(offset: int, size: int) -> bytes:
        return data[offset : offset + size]

    try:
        return parse_source(fetch, len(data), window_bytes=window_bytes, vocabularies=vocabularies)
    except GGUFError as exc:
        return str(exc)


def test_known_vocabularies_are_bounded() -> None:
    vocabularies = KnownVocabularies()
    for index in range(12):
        data = with_tokens([f"{index}" + "x" * 10_000] * 500)
        parse_source(lambda offset, size, data=data: data[offset : offset + size], len(data), vocabularies=vocabularies)  # type: ignore[misc]
    kept = sum(len(region.data) for regions in vocabularies._regions.values() for region in regions)
    assert 0 < kept <= MAX_TOTAL_BYTES
