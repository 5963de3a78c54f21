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

        Where the grammar is complete only end tokens are left; never is nothing left. A model without end tokens cannot
        say that it is done: there a complete grammar leaves the logits as they are, and the caller ends the sequence by
        `is_complete`.

        Raises:
            ConstraintError: The grammar turned out too complex to be followed any further.
        """

    @abc.abstractmethod
    def accept(self, token_id: int) -> None:
        """Go on by the token that was drawn; an end token after a complete answer is fine."""

    @property
    @abc.abstractmethod
    def is_complete(self) -> bool:
        """Whether the answer is whole and nothing but an end token can follow; the sequence can end without one."""

    @abc.abstractmethod
    def copy(self) -> "Matcher":
        """Return an independent matcher in the same state."""
