"""How quick an upstream's last answers were, the network and its own queue included. Pure."""

from typing import Final

import msgspec

from router.upstreams.chunks import Answer

MIN_ANSWERS: Final = 3
"""Answers before anything is expected of the next one."""
_WEIGHT: Final = 0.2
"""Of the newest answer in the mean: about the last ten count."""


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """Means over the last answers.

    Attributes:
        num_answers: That were measured.
    """

    num_answers: int = 0
    mean_first_s: float = 0.0
    mean_token_s: float = 0.0

    @property
    def first_token_s(self) -> float | None:
        """Seconds to the first token; None = too little is known."""
        return self.mean_first_s if self.num_answers >= MIN_ANSWERS else None

    @property
    def token_s(self) -> float | None:
        """Seconds for each further token; None = too little is known."""
        return self.mean_token_s if self.num_answers >= MIN_ANSWERS else None

    def after(self, answer: Answer) -> "Speed":
        """Return the means with one more answer; one of a single token tells nothing of the others, and counts not."""
        num_tokens = answer.num_chunks if answer.usage is None else answer.usage.num_output_tokens
        if answer.first_token_s is None or num_tokens <= 1:
            return self
        weight = max(_WEIGHT, 1 / (self.num_answers + 1))
        return Speed(
            num_answers=self.num_answers + 1,
            mean_first_s=self.mean_first_s + weight * (answer.first_token_s - self.mean_first_s),
            mean_token_s=self.mean_token_s + weight * (answer.decode_s / (num_tokens - 1) - self.mean_token_s),
        )
