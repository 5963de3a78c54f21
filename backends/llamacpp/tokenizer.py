"""The vocabulary of a loaded GGUF, behind the interface that the shared code uses."""

import ctypes
import functools
from collections.abc import Mapping

import llama_cpp

from backends.tokenizer import InfillTokens, Tokenizer

_PIECE_BYTES = 256


class LlamaCppTokenizer(Tokenizer):
    """Tokenizes with llama.cpp's own code.

    Args:
        model: A loaded `llama_model_p`, which must outlive this object.
    """

    def __init__(self, model: object) -> None:
        self._vocab = vocab = llama_cpp.llama_model_get_vocab(model)
        self.vocab_size = llama_cpp.llama_vocab_n_tokens(vocab)
        self.adds_bos = bool(llama_cpp.llama_vocab_get_add_bos(vocab))
        bos_id = llama_cpp.llama_vocab_bos(vocab)
        self.bos_id = bos_id if bos_id >= 0 else None
        self.bos_text = self._special_text(bos_id)
        self.eos_text = self._special_text(llama_cpp.llama_vocab_eos(vocab))
        template = llama_cpp.llama_model_chat_template(model, None)
        self.chat_template = template.decode(errors="replace") if template else None
        self.infill = _infill_tokens(vocab)

    def read_all(self) -> None:
        """Look at each token of the vocabulary now, and not when it is asked for first: 40 ms of 49,152."""
        for name in ("end_ids", "control_ids"):
            getattr(self, name)

    @functools.cached_property
    def end_ids(self) -> frozenset[int]:
        """Ids that the library counts among the ends of a generation."""
        return frozenset(i for i in range(self.vocab_size) if llama_cpp.llama_vocab_is_eog(self._vocab, i))

    @functools.cached_property
    def control_ids(self) -> Mapping[str, int]:
        """Ids of control tokens by their text."""
        ids = (i for i in range(self.vocab_size) if llama_cpp.llama_vocab_is_control(self._vocab, i))
        return {text: i for i in ids if (text := self._special_text(i))}

    @functools.cached_property
    def max_token_bytes(self) -> int:
        """Length of the longest token as it is stored; byte-level ones are stored longer than they are."""
        texts = (llama_cpp.llama_vocab_get_text(self._vocab, i) for i in range(self.vocab_size))
        return max((len(text or b"") for text in texts), default=1)

    def is_end(self, token_id: int) -> bool:
        """Tell whether the library counts the token among the ends of a generation."""
        return bool(llama_cpp.llama_vocab_is_eog(self._vocab, token_id))

    def _encode(self, text: str, *, parse_control: bool) -> list[int]:
        data = text.encode()
        capacity = len(data) + 16
        while True:
            tokens = (llama_cpp.llama_token * capacity)()
            num = llama_cpp.llama_tokenize(self._vocab, data, len(data), tokens, capacity, False, parse_control)
            if num >= 0:
                return list(tokens[:num])
            capacity = -num

    def _bytes_of(self, token_id: int) -> bytes:
        size = _PIECE_BYTES
        while True:
            buffer = ctypes.create_string_buffer(size)
            num = llama_cpp.llama_token_to_piece(self._vocab, token_id, buffer, size, 0, False)
            if num >= 0:
                return buffer.raw[:num]
            size = -num

    def _special_text(self, token_id: int) -> str:
        if token_id < 0:
            return ""
        text = llama_cpp.llama_vocab_get_text(self._vocab, token_id)
        return text.decode(errors="replace") if text else ""


def _infill_tokens(vocab: object) -> InfillTokens | None:
    ids = (
        llama_cpp.llama_vocab_fim_pre(vocab),
        llama_cpp.llama_vocab_fim_suf(vocab),
        llama_cpp.llama_vocab_fim_mid(vocab),
    )
    if min(ids) < 0:
        return None
    project_id, file_id = llama_cpp.llama_vocab_fim_rep(vocab), llama_cpp.llama_vocab_fim_sep(vocab)
    return InfillTokens(*ids, project_id if project_id >= 0 else None, file_id if file_id >= 0 else None)
