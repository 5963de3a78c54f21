"""A logits editor as mlx-lm's generator wants it: a processor that it calls once for every draw."""

import mlx.core as mx
import numpy as np

from backends.errors import BackendError
from backends.logits import Likelihoods, LogitsEditor


class EditedDraws:
    """The edited draws of one sequence since it was last given to the generator.

    The generator calls when it is about to draw a token, and returns that token from its next step, in which it calls
    for the one after it. So a call learns which token the call before it has drawn, and that token is the one which
    the running step returns: the editor never knows a token that the sequence does not get, and a draw that is dropped
    (by a pause) was never accepted.

    Args:
        editor: Knows all tokens that the sequence has now.

    Attributes:
        likelihoods: Of the token that the running step returns; None where they are not wanted.
        error: Why that token cannot be used, and the sequence cannot go on.
    """

    def __init__(self, editor: LogitsEditor) -> None:
        self._editor = editor
        self._has_drawn = False
        self._next_error: BackendError | None = None
        self.likelihoods: Likelihoods | None = None
        self.error: BackendError | None = None

    def __call__(self, tokens: mx.array, logits: mx.array) -> mx.array:
        """Take over the newest token, then edit.

        Args:
            tokens: Of the sequence so far, int, shape (n,); the last one was drawn by the call before this one.
            logits: Shape (1, vocab), any float type.

        Returns:
            The edited logits, same shape and type; unchanged once the sequence has failed.
        """
        self.error = self.error or self._next_error
        if self.error is not None:
            return logits
        try:
            if self._has_drawn:
                self.likelihoods = self._editor.accept(int(np.array(tokens[-1])))
        except BackendError as exc:
            self.error = exc
            return logits
        self._has_drawn = True
        row = np.array(logits[0].astype(mx.float32))
        try:
            self._editor.edit(row)
        except BackendError as exc:  # raised in here it would end the step of the whole batch
            self._next_error = exc
            return logits
        return mx.array(row)[None].astype(logits.dtype)
