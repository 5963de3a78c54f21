"""A tokenizer's vocabulary as llguidance wants it, built from our own interface so that both engines give the same."""

from collections.abc import Sequence

from llguidance import LLTokenizer

from backends.base import Tokenizer


class Vocabulary:
    """The tokens of a loaded model; building it takes a while for 150,000 of them.

    Reads nothing but facts of the tokenizer, so that it can be built while another thread tokenizes.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.end_ids = tokenizer.end_ids
        self.vocab_size = tokenizer.vocab_size
        bridge = _Bridge(tokenizer)
        bridge.inner = self.inner = LLTokenizer(bridge, eos_token=sorted(self.end_ids) or None)


class _Bridge:
    """The attributes and the call that llguidance asks of a tokenizer."""

    is_tokenizer_wrapper = True

    def __init__(self, tokenizer: Tokenizer) -> None:
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
        """Return some tokens of a text; never the model's own, because grammars are compiled without forcing."""
        assert self.inner is not None
        greedy: list[int] = self.inner.greedy_tokenize(text)
        return greedy
