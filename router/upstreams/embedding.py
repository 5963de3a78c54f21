"""Vectors of an upstream: what is asked, and what comes as a worker would send it. Pure.

Source: OpenAI API reference, "Create embeddings": floats, or little-endian float32 in base64.
"""

import array
import base64
import math
import sys
from typing import Any

from backends.wire.messages import Embed, Embedded, Finished, SequenceEnd, SequenceTimings, Usage
from backends.wire.output import Output
from router.config.upstreams import UpstreamField
from router.errors import UpstreamError
from router.upstreams.fields import Honoured, refusal

EMBEDDINGS_PATH = "/embeddings"


def embedding_body(request: Embed, model_id: str, honoured: Honoured) -> dict[str, Any]:
    """Return what is sent.

    Raises:
        UnsupportedFieldError: The upstream makes none, or not as it is asked for.
    """
    honoured.need(UpstreamField.EMBEDDINGS, "model", "ask another model")
    if request.pooling is not None:
        raise refusal("pooling", honoured.upstream)
    if any(not isinstance(each, str) for each in request.inputs):
        honoured.need(UpstreamField.TOKEN_PROMPTS, "input", "send texts")
    return {"model": model_id, "input": request.inputs, "encoding_format": "float"}


def embedded(number: int, body: Any, num_inputs: int, ms: float) -> list[Embedded | Finished]:
    """Return the vectors of an answer, and its end.

    Raises:
        UpstreamError: It is none, or not of as many vectors as texts.
    """
    try:
        rows = sorted(body["data"], key=lambda row: row.get("index", 0))
        vectors = [_vector(row["embedding"]) for row in rows]
        counts = body.get("usage") or {}
        num_tokens = max(0, int(counts.get("prompt_tokens") or counts.get("total_tokens") or 0))
    except (TypeError, KeyError, ValueError, AttributeError):
        raise UpstreamError("it has sent what are no vectors") from None
    if len(vectors) != num_inputs:
        raise UpstreamError(f"it has sent {len(vectors)} vectors for {num_inputs} texts")
    share, rest = divmod(num_tokens, num_inputs)  # how many each text has is not told
    events: list[Embedded | Finished] = [
        Embedded(number, index, vector, share + (index < rest)) for index, vector in enumerate(vectors)
    ]
    end = SequenceEnd("stop", Usage(num_tokens, 0, 0), SequenceTimings(0.0, ms, 0.0))
    return [*events, Finished(number, Output(), end)]


def _vector(said: Any) -> bytes:
    """Return little-endian float32 of L2 length 1."""
    if isinstance(said, str):
        numbers = array.array("f", base64.b64decode(said, validate=True))
        if sys.byteorder == "big":
            numbers.byteswap()
    else:
        numbers = array.array("f", said)
    length = math.sqrt(math.fsum(each * each for each in numbers))
    if not length or not math.isfinite(length):
        raise ValueError
    unit = array.array("f", (each / length for each in numbers))
    if sys.byteorder == "big":
        unit.byteswap()
    return unit.tobytes()
