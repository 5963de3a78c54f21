"""Log probabilities in the two shapes of the OpenAI API.

Source: OpenAI API reference, "The chat completion object" (`logprobs.content`) and "The completion object"
(`logprobs`).
"""

import codecs
from collections.abc import Iterable
from typing import Any, Final

from backends.output.base import PositionLogprobs, TokenLogprob

FLOOR: Final = -9999.0
"""What stands for minus infinity, which JSON cannot say. Source: OpenAI API reference, `logprob`."""


def token_text(piece: bytes) -> str:
    r"""Return a token as text; bytes that are no text by themselves are written as OpenAI does: `bytes:\xe2\x82`."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)


def chat_logprobs(positions: Iterable[PositionLogprobs]) -> dict[str, Any]:
    """Return the `logprobs` of a chat's choice."""
    content = [
        {**_chat_entry(position.drawn), "top_logprobs": [_chat_entry(token) for token in position.top]}
        for position in positions
    ]
    return {"content": content, "refusal": None}


def _chat_entry(token: TokenLogprob) -> dict[str, Any]:
    return {"token": token_text(token.piece), "logprob": _number(token), "bytes": list(token.piece)}


def _number(token: TokenLogprob) -> float:
    return max(token.logprob, FLOOR)


class CompletionLogprobs:
    """Builds the `logprobs` of one choice of a text completion, whose offsets run through all of its chunks."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._num_chars = 0

    def shape(self, positions: Iterable[PositionLogprobs]) -> dict[str, Any]:
        """Return the object for the next tokens."""
        tokens: list[str] = []
        numbers: list[float] = []
        tops: list[dict[str, float]] = []
        offsets: list[int] = []
        for position in positions:
            drawn = position.drawn
            tokens.append(token_text(drawn.piece))
            numbers.append(_number(drawn))
            # "there may be up to logprobs+1 elements in the response": the drawn token is always among them.
            tops.append({token_text(token.piece): _number(token) for token in (drawn, *position.top)})
            offsets.append(self._num_chars)
            self._num_chars += len(self._decoder.decode(drawn.piece))
        return {"tokens": tokens, "token_logprobs": numbers, "top_logprobs": tops, "text_offset": offsets}
