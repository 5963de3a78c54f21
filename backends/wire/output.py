"""What a sequence puts out, piece by piece."""

from typing import Literal

import msgspec

FinishReason = Literal["stop", "length", "tool_calls"]
"""Why a sequence ended: by an end token or stop string, by its bound, or so that its calls are made."""


class ToolCallDelta(msgspec.Struct, frozen=True, array_like=True):
    """A fragment of one tool call.

    Attributes:
        index: Which call of the answer, 0-based; unique per call, in the order of their appearance.
        call_id: Its id; in its first fragment only, None later.
        name: The function's name; in its first fragment only, None later.
        arguments: The next characters of the arguments' JSON text; all fragments of a call join to one JSON object.
    """

    index: int
    call_id: str | None = None
    name: str | None = None
    arguments: str = ""


class TokenLogprob(msgspec.Struct, frozen=True, array_like=True):
    """One token with its natural logarithm of probability.

    Attributes:
        piece: Its bytes; a control token's are its text's.
        logprob: By the model's own logits, before any penalty, bias, constraint, filter or temperature.
    """

    token_id: int
    piece: bytes
    logprob: float


class PositionLogprobs(msgspec.Struct, frozen=True, array_like=True):
    """The token that was drawn at one position of the answer, and the likeliest ones there, the likeliest first."""

    drawn: TokenLogprob
    top: tuple[TokenLogprob, ...] = ()


class PromptToken(msgspec.Struct, frozen=True, array_like=True):
    """One token of a prompt, and what the model thought at its place.

    Attributes:
        piece: Its bytes; b"" for a token that was put before a text.
        logprob: As in `TokenLogprob`; None for the first token, which nothing comes before.
        rank: How many tokens are at least as likely, itself too; None for the first token.
        top: The likeliest ones at its place, the likeliest first.
    """

    token_id: int
    piece: bytes
    logprob: float | None = None
    rank: int | None = None
    top: tuple[TokenLogprob, ...] = ()


class Output(msgspec.Struct, frozen=True, array_like=True):
    """What some tokens added to an answer; any part may be empty.

    Attributes:
        reasoning: The model's thinking, without its tags.
        tool_calls: Fragments in order.
        logprobs: One entry per token, when asked for.
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    logprobs: tuple[PositionLogprobs, ...] = ()

    @property
    def num_chars(self) -> int:
        """Characters in it; what it takes in a buffer."""
        return len(self.text) + len(self.reasoning) + sum(len(call.arguments) for call in self.tool_calls)
