"""A Hugging Face tokenizer behind the interface that the shared code uses, with the exact bytes of every token."""

import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backends.tokenizer import InfillTokens, Tokenizer

_SPACE_MARK = "\u2581"
_BYTE = re.compile(r"<0x([0-9a-fA-F]{2})>")
_INFILL_NAMES = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # noqa: RUF001 - the names are written so
    ("▁<PRE>", "▁<SUF>", "▁<MID>"),
    ("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),
)
"""What the tokens before prefix, suffix and middle are called.

Source: the tokenizer configs of Qwen-Coder, StarCoder and Granite, SantaCoder, DeepSeek-Coder, CodeLlama, Falcon-H1.
"""
_PROJECT_NAMES = ("<|repo_name|>", "<repo_name>", "<reponame>", "<|fim_repo|>", "<REPO>")
_FILE_NAMES = ("<|file_sep|>", "<file_sep>", "<filename>")
"""What the tokens before the names of a project and of a file are called.

Source: the tokenizer configs of Qwen-Coder and of StarCoder and Granite; llama.cpp, llama-vocab.cpp.
"""


class MLXTokenizer(Tokenizer):
    """Wraps the tokenizer that mlx-lm loaded.

    Args:
        end_ids: Ids that end an answer, by the model's config.
        folder: The model's, whose chat_template.json counts where the tokenizer has no template.
    """

    def __init__(self, wrapper: Any, end_ids: frozenset[int], folder: Path) -> None:
        self._hf = hf = getattr(wrapper, "_tokenizer", wrapper)
        self.vocab_size = len(hf)
        self._end_ids = end_ids
        self.bos_text = hf.bos_token or ""
        self.eos_text = hf.eos_token or ""
        self.bos_id: int | None = hf.bos_token_id
        first = hf.encode("a", add_special_tokens=True)[:1]
        self.adds_bos = self.bos_id is not None and first == [self.bos_id]
        self.chat_template = _default_template(hf.chat_template) or _template_beside(folder)
        self._token_texts: list[str] = hf.convert_ids_to_tokens(range(self.vocab_size))
        added = hf.added_tokens_decoder
        self._control_ids = frozenset(hf.all_special_ids) | {i for i, token in added.items() if token.special}
        self._added_ids = frozenset(added)
        self.infill = _infill_tokens(hf.get_vocab())
        self._unwritten = _byte_level_bytes if _is_byte_level(hf) else _sentencepiece_bytes

    @property
    def end_ids(self) -> frozenset[int]:
        """Ids that the model's config counts among its ends."""
        return self._end_ids

    @functools.cached_property
    def control_ids(self) -> Mapping[str, int]:
        """Ids of control tokens by their text."""
        return {self._token_texts[i]: i for i in sorted(self._control_ids) if 0 <= i < self.vocab_size}

    @functools.cached_property
    def max_token_bytes(self) -> int:
        """Length of the longest token as it is stored; byte-level ones are stored longer than they are."""
        return max(len((text or "").encode()) for text in self._token_texts)

    def _encode(self, text: str, *, parse_control: bool) -> list[int]:
        token_ids: list[int] = self._hf.encode(text, add_special_tokens=False, split_special_tokens=not parse_control)
        return token_ids

    def _bytes_of(self, token_id: int) -> bytes:
        if token_id in self._control_ids or not 0 <= token_id < self.vocab_size:
            return b""
        text = self._token_texts[token_id] or ""
        return text.encode() if token_id in self._added_ids else self._unwritten(text)


def _default_template(template: object) -> str | None:
    """Give the default of a tokenizer's templates: one text, texts by name, or a list of named ones."""
    if isinstance(template, list):
        template = {item.get("name"): item.get("template") for item in template if isinstance(item, dict)}
    if isinstance(template, dict):
        template = template.get("default")
    return template if isinstance(template, str) else None


def _template_beside(folder: Path) -> str | None:
    """Read the template of chat_template.json, which transformers gives to processors and not to tokenizers."""
    try:
        document = json.loads((folder / "chat_template.json").read_bytes())
    except FileNotFoundError:
        return None
    return _default_template(document.get("chat_template")) if isinstance(document, dict) else None


def _infill_tokens(vocabulary: dict[str, int]) -> InfillTokens | None:
    for names in _INFILL_NAMES:
        if all(name in vocabulary for name in names):
            prefix_id, suffix_id, middle_id = (vocabulary[name] for name in names)
            project_id, file_id = (_first_of(vocabulary, each) for each in (_PROJECT_NAMES, _FILE_NAMES))
            return InfillTokens(prefix_id, suffix_id, middle_id, project_id, file_id)
    return None


def _first_of(vocabulary: dict[str, int], names: tuple[str, ...]) -> int | None:
    return next((vocabulary[name] for name in names if name in vocabulary), None)


def _is_byte_level(hf: Any) -> bool:
    """Tell byte-level BPE (every byte is written as one printable character) from SentencePiece-like vocabularies."""
    backend = getattr(hf, "backend_tokenizer", None)
    if backend is None:
        return False
    return '"ByteLevel"' in json.dumps(json.loads(backend.to_str()).get("decoder"))


def _byte_level_table() -> dict[str, int]:
    """Return the character that stands for each byte.

    Source: GPT-2's `bytes_to_unicode`: printable Latin-1 characters stand for themselves, the others are moved to 256
    and up, in order.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    table = {chr(byte): byte for byte in printable}
    moved = [byte for byte in range(256) if byte not in set(printable)]
    table.update({chr(256 + index): byte for index, byte in enumerate(moved)})
    return table


_BYTE_OF_CHAR = _byte_level_table()


def _byte_level_bytes(text: str) -> bytes:
    if all(char in _BYTE_OF_CHAR for char in text):
        return bytes(_BYTE_OF_CHAR[char] for char in text)
    return text.encode()


def _sentencepiece_bytes(text: str) -> bytes:
    """`<0xAB>` is a byte; the mark is a space; anything else is itself."""
    byte = _BYTE.fullmatch(text)
    return bytes.fromhex(byte[1]) if byte else text.replace(_SPACE_MARK, " ").encode()
