"""Log probabilities in the two shapes of the OpenAI API.

Source: OpenAI API reference, "The chat completion object" (`logprobs.content`) and "The completion object"
(`logprobs`).
"""

import codecs
from collections.abc import Iterable
from typing import Any

from backends.wire.output import PositionLogprobs
from router.protocols.fields.logprobs import number_of, position_entries, token_text


def chat_logprobs(positions: Iterable[PositionLogprobs]) -> dict[str, Any]:
    """Return the `logprobs` of a chat's choice."""
    return {"content": position_entries(positions), "refusal": None}


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
            numbers.append(number_of(drawn))
            # "there may be up to logprobs+1 elements in the response": the drawn token is always among them.
            tops.append({token_text(token.piece): number_of(token) for token in (drawn, *position.top)})
            offsets.append(self._num_chars)
            self._num_chars += len(self._decoder.decode(drawn.piece))
        return {"tokens": tokens, "token_logprobs": numbers, "top_logprobs": tops, "text_offset": offsets}
