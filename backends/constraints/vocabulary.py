"""A tokenizer's vocabulary as llguidance wants it, built from our own interface so that both engines give the same."""

import threading
from collections.abc import Sequence

from llguidance import LLTokenizer

from backends.base import Tokenizer


class Vocabulary:
    """The tokens of a loaded model; building it takes a second for 150,000 tokens.

    Must be built on the thread that compiles grammars: while that thread asks for the tokens of a forced text it gets a
    greedy answer, because the engine's tokenizer may be at work on its own thread just then.

    Args:
        tokenizer: The engine's.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.end_ids = tokenizer.end_ids
        self.vocab_size = tokenizer.vocab_size
        self.inner = _built(_Bridge(tokenizer))


class _Bridge:
    """The attributes and the call that llguidance asks of a tokenizer."""

    is_tokenizer_wrapper = True

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._thread_id = threading.get_ident()
        self.inner: LLTokenizer | None = None
        tokens = [tokenizer.token_bytes(token_id) for token_id in range(tokenizer.vocab_size)]
        special_ids = set(tokenizer.end_ids)
        for text, token_id in tokenizer.control_ids.items():
            special_ids.add(token_id)
            tokens[token_id] = text.encode(errors="replace")
        self.tokens: Sequence[bytes] = tokens
        self.special_token_ids = sorted(special_ids)
        self.eos_token_id = min(tokenizer.end_ids, default=None)
        self.bos_token_id = tokenizer.bos_id

    def __call__(self, text: str) -> list[int]:
        """Return the tokens that the model would be given for a text, or greedy ones where those differ in bytes.

        A SentencePiece tokenizer, for one, puts a space before the text.
        """
        if threading.get_ident() != self._thread_id:
            token_ids = self._tokenizer.encode(text, add_bos=False, parse_control=False)
            if b"".join(map(self._tokenizer.token_bytes, token_ids)) == text.encode():
                return token_ids
        assert self.inner is not None
        greedy: list[int] = self.inner.greedy_tokenize(text)
        return greedy


def _built(bridge: _Bridge) -> LLTokenizer:
    end_ids = sorted(bridge._tokenizer.end_ids)  # noqa: SLF001 - the other half of this module
    bridge.inner = LLTokenizer(bridge, eos_token=end_ids or None)
    return bridge.inner
