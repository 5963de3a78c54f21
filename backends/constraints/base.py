"""What constrains the tokens of one sequence: the interface that the logits' editor calls."""

import abc
from typing import Any

import numpy as np

Logits = np.ndarray[Any, np.dtype[np.float32]]
"""float32, shape (vocab_size,), on the host."""


class Matcher(abc.ABC):
    """Follows one answer through its grammar."""

    @abc.abstractmethod
    def mask(self, logits: Logits) -> None:
        """Set the logits of all tokens that cannot come next to -inf, in place.

        Where the grammar is complete only end tokens are left; never is nothing left.

        Raises:
            ConstraintError: The grammar turned out too complex to be followed any further.
        """

    @abc.abstractmethod
    def accept(self, token_id: int) -> None:
        """Go on by the token that was drawn; an end token after a complete answer is fine."""

    @abc.abstractmethod
    def copy(self) -> "Matcher":
        """Return an independent matcher in the same state."""
