"""Log probabilities as OpenAI's chats and Ollama write them alike. Pure.

Source: OpenAI API reference, "The chat completion object" (`logprobs.content`); Ollama, api/types.go (`Logprob`).
"""

from collections.abc import Iterable
from typing import Final

from backends.wire import output
from router.protocols.answers import AnswerBody

FLOOR: Final = -9999.0
"""What stands for minus infinity, which JSON cannot say. Source: OpenAI API reference, `logprob`."""


class TokenLogprob(AnswerBody, frozen=True):
    """A token and its log probability, -9999 for minus infinity."""

    token: str
    logprob: float
    bytes: list[int]


class PositionLogprob(TokenLogprob, frozen=True, kw_only=True):
    """A token that was drawn, and the likeliest ones at its place."""

    top_logprobs: list[TokenLogprob]


def position_logprobs(positions: Iterable[output.PositionLogprobs]) -> list[PositionLogprob]:
    """Return an object per drawn token."""
    return [
        PositionLogprob(
            token=token_text(position.drawn.piece),
            logprob=number_of(position.drawn),
            bytes=list(position.drawn.piece),
            top_logprobs=[TokenLogprob(token_text(top.piece), number_of(top), list(top.piece)) for top in position.top],
        )
        for position in positions
    ]


def token_text(piece: bytes) -> str:
    r"""Return a token as text; bytes that are no text by themselves are written as OpenAI does: `bytes:\xe2\x82`."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)


def number_of(token: output.TokenLogprob) -> float:
    """Return a log probability that JSON can say."""
    return max(token.logprob, FLOOR)
