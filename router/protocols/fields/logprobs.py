"""Log probabilities as OpenAI's chats and Ollama write them alike. Pure.

Source: OpenAI API reference, "The chat completion object" (`logprobs.content`); Ollama, api/types.go (`Logprob`).
"""

from collections.abc import Iterable
from typing import Any, Final

from backends.wire.output import PositionLogprobs, TokenLogprob

FLOOR: Final = -9999.0
"""What stands for minus infinity, which JSON cannot say. Source: OpenAI API reference, `logprob`."""


def token_text(piece: bytes) -> str:
    r"""Return a token as text; bytes that are no text by themselves are written as OpenAI does: `bytes:\xe2\x82`."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)


def position_entries(positions: Iterable[PositionLogprobs]) -> list[dict[str, Any]]:
    """Return an object per drawn token, each with the likeliest ones at its place."""
    return [
        {**_entry(position.drawn), "top_logprobs": [_entry(token) for token in position.top]} for position in positions
    ]


def number_of(token: TokenLogprob) -> float:
    """Return a log probability that JSON can say."""
    return max(token.logprob, FLOOR)


def _entry(token: TokenLogprob) -> dict[str, Any]:
    return {"token": token_text(token.piece), "logprob": number_of(token), "bytes": list(token.piece)}
