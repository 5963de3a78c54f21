"""A compiled grammar that follows one answer: llguidance's matcher behind the interface of the logits' editor."""

import numpy as np
from llguidance import LLMatcher

from backends.errors import ConstraintError
from backends.logits import Logits, Matcher

_MAX_WORDS = 300
"""Characters of the library's message that reach the client."""
_FAILED_REASONS = frozenset({"ParserTooComplex", "LexerTooComplex", "InternalError", "MaxTokensTotal"})
_DEAD_END_REASONS = frozenset({"NoExtension", "NoExtensionBias"})


class GrammarMatcher(Matcher):
    """Masks and follows the tokens of one sequence.

    Args:
        inner: llguidance's matcher; owned by this object from now on.
        end_ids: Ids that end an answer; perhaps none.
        vocab_size: Number of token ids that the matcher knows; logits beyond are never allowed.
        param: The request's field that carries the grammar, for errors.
    """

    def __init__(self, inner: LLMatcher, *, end_ids: frozenset[int], vocab_size: int, param: str) -> None:
        self._inner = inner
        self._end_ids = end_ids
        self._vocab_size = vocab_size
        self._param = param
        # Without end tokens llguidance adds one of its own after the vocabulary; its bit is cut off below.
        num_bits = vocab_size if end_ids else vocab_size + 1
        self._bits = np.zeros((num_bits + 31) // 32, np.uint32)

    def mask(self, logits: Logits) -> None:
        """Set the logits of all tokens that cannot come next to -inf, in place."""
        self._inner.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
        self._raise_if_failed()
        if not self._end_ids and self.is_complete:
            return
        num_known = min(self._vocab_size, len(logits))
        is_barred = np.unpackbits(~self._bits.view(np.uint8), count=num_known, bitorder="little").view(np.bool_)
        np.copyto(logits[:num_known], -np.inf, where=is_barred)
        logits[num_known:] = -np.inf

    def accept(self, token_id: int) -> None:
        """Go on by the token that was drawn; a token that the grammar does not allow makes the next `mask` raise."""
        if token_id in self._end_ids and self._inner.is_stopped():
            return
        if token_id < self._vocab_size:
            self._inner.consume_token(token_id)

    @property
    def is_complete(self) -> bool:
        """Whether the answer is whole and nothing but an end token can follow."""
        return bool(self._inner.is_stopped()) and not self._inner.is_error()

    def copy(self) -> "GrammarMatcher":
        """Return an independent matcher in the same state."""
        return GrammarMatcher(
            self._inner.deep_copy(), end_ids=self._end_ids, vocab_size=self._vocab_size, param=self._param
        )

    def _raise_if_failed(self) -> None:
        if self._inner.is_error():
            raise library_error(self._inner.get_error(), self._param)
        if self._inner.is_stopped() and self._inner.stop_reason() in _FAILED_REASONS:
            raise library_error(self._inner.stop_reason(), self._param)


def dead_end(inner: LLMatcher) -> bool:
    """Tell whether nothing can follow although the grammar is not satisfied; to be asked after a mask was computed."""
    return inner.is_stopped() and inner.stop_reason() in _DEAD_END_REASONS and not inner.is_accepting()


def library_error(words: str, param: str) -> ConstraintError:
    """Return the library's complaint as ours, its first lines only."""
    text = " ".join(words.partition("<state>")[0].split())
    if len(text) > _MAX_WORDS:
        text = text[:_MAX_WORDS] + "…"
    return ConstraintError(f"{param} cannot be used: {text}", param=param)
