"""The vocabulary of a loaded GGUF, behind the interface that the shared code uses."""

import ctypes
import functools

import llama_cpp

from backends.base import Tokenizer

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
        self.bos_text = self._special_text(llama_cpp.llama_vocab_bos(vocab))
        self.eos_text = self._special_text(llama_cpp.llama_vocab_eos(vocab))
        template = llama_cpp.llama_model_chat_template(model, None)
        self.chat_template = template.decode(errors="replace") if template else None
        self._pieces: dict[int, bytes] = {}

    @functools.cached_property
    def max_token_bytes(self) -> int:
        """Length of the longest token as it is stored; byte-level ones are stored longer than they are."""
        texts = (llama_cpp.llama_vocab_get_text(self._vocab, i) for i in range(self.vocab_size))
        return max((len(text or b"") for text in texts), default=1)

    def is_end(self, token_id: int) -> bool:
        """Tell whether the library counts the token among the ends of a generation."""
        return bool(llama_cpp.llama_vocab_is_eog(self._vocab, token_id))

    def encode(self, text: str, *, add_bos: bool) -> list[int]:
        """Return token ids; BOS is added here and not by the library, so that both engines follow one rule."""
        data = text.encode()
        capacity = len(data) + 16
        while True:
            tokens = (llama_cpp.llama_token * capacity)()
            num = llama_cpp.llama_tokenize(self._vocab, data, len(data), tokens, capacity, False, True)
            if num >= 0:
                break
            capacity = -num
        bos_id = llama_cpp.llama_vocab_bos(self._vocab)
        prefix = [bos_id] if add_bos and bos_id >= 0 else []
        return prefix + list(tokens[:num])

    def token_bytes(self, token_id: int) -> bytes:
        """Return the token's piece, b"" for control tokens."""
        piece = self._pieces.get(token_id)
        if piece is None:
            piece = self._pieces[token_id] = self._piece(token_id)
        return piece

    def _piece(self, token_id: int) -> bytes:
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
