"""What a converting process prints for who started it. Data only: the gateway imports this, and none of the work."""

import math

import msgspec


class ParityReading(msgspec.Struct, frozen=True, kw_only=True):
    """What one model thought of the text.

    Attributes:
        own_ids: The text as the model's own tokenizer has it.
        token_ids: The tokens that were forced; another model's, when two are compared.
        likeliest_ids: At each judged place the token that it would have drawn.
        mean_logprob: Of the forced tokens, natural logarithm, finite.
    """

    own_ids: list[int]
    token_ids: list[int]
    likeliest_ids: list[int]
    mean_logprob: float

    @property
    def perplexity(self) -> float:
        """The exponential of the mean surprise; 1 = it knows the text by heart."""
        return math.exp(min(-self.mean_logprob, 700.0))


class ConvertReply(msgspec.Struct, frozen=True, kw_only=True):
    """What came out.

    Attributes:
        error: Why it failed, one sentence; None when it did not.
        parity: The reading, of `parity`.
    """

    error: str | None = None
    parity: ParityReading | None = None
