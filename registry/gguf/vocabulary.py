"""The vocabulary of a GGUF file, whole, and in what two of them differ: whether one model can draft for another.

Headers are otherwise read without it (`header.py`), because it is the largest part of them.
"""

import struct
from pathlib import Path
from typing import Final

import msgspec

from registry.gguf.cursor import Cursor
from registry.gguf.header import GGUFHeader, read_header
from registry.gguf.vocabularies import KnownVocabularies

MAX_SIZE_DIFFERENCE: Final = 128
"""Tokens at the end that one vocabulary may have more. Source: llama.cpp, common/speculative.cpp,
`SPEC_VOCAB_MAX_SIZE_DIFFERENCE`: models of one family are padded to different lengths."""
_SPECIAL: Final = ("bos", "eos")


class Vocabulary(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says of its tokens.

    Attributes:
        model: Family, e.g. `gpt2` or `llama`.
        special_ids: Of `bos` and `eos`, None where the file does not say.
    """

    model: str | None
    tokens: list[bytes]
    special_ids: dict[str, int | None]


class _Tokens(KnownVocabularies):
    """Keeps the strings of the array that it is told of."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens: list[bytes] = []

    def skip(self, cursor: Cursor, num_strings: int, *, is_searching_byte_tokens: bool) -> bool:
        start = cursor.position
        has_bad = cursor.skip_strings(num_strings, is_searching_byte_tokens=is_searching_byte_tokens)
        if is_searching_byte_tokens:  # as only the tokens are
            data = cursor.bytes_at(start, cursor.position - start)
            self.tokens = _strings(data, num_strings, cursor.layout.u64)
        return has_bad


def read_vocabulary(path: Path | str) -> Vocabulary:
    """Read the vocabulary of a GGUF file; errors as of `read_header`."""
    tokens = _Tokens()
    header = read_header(path, vocabularies=tokens)
    return Vocabulary(model=header.text("tokenizer.ggml.model"), tokens=tokens.tokens, special_ids=_special(header))


def vocabulary_difference(main: Vocabulary, draft: Vocabulary) -> str | None:
    """Return in what a draft model's vocabulary differs from the main one's first; None = it can draft for it."""
    if main.model != draft.model:
        return f"its tokenizer is {draft.model}, the model's is {main.model}"
    sizes = len(main.tokens), len(draft.tokens)
    if abs(sizes[0] - sizes[1]) > MAX_SIZE_DIFFERENCE:
        return f"it has {sizes[1]} tokens, the model has {sizes[0]}"
    for name in _SPECIAL:
        ours, theirs = main.special_ids[name], draft.special_ids[name]
        if ours != theirs:
            return f"its {name} token is {theirs}, the model's is {ours}"
    for token_id, (one, other) in enumerate(zip(main.tokens, draft.tokens, strict=False)):
        if one != other:
            return f"its token {token_id} is {_shown(other)}, the model's is {_shown(one)}"
    return None


def _special(header: GGUFHeader) -> dict[str, int | None]:
    return {name: header.integer(f"tokenizer.ggml.{name}_token_id") for name in _SPECIAL}


def _strings(data: bytes, num_strings: int, length_of: struct.Struct) -> list[bytes]:
    strings, index = [], 0
    for _ in range(num_strings):
        (length,) = length_of.unpack_from(data, index)
        index += length_of.size
        strings.append(data[index : index + length])
        index += length
    return strings


def _shown(text: bytes) -> str:
    return repr(text.decode(errors="replace"))[:40]
