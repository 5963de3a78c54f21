"""Types of fields that several protocols have, each with its range, and what is to be said of its values."""

from typing import Annotated, Literal

from msgspec import Meta

from registry import settings
from router.protocols.fields.support import honoured

MAX_TOOLS = 128
MAX_TOP_LOGPROBS = 20

StopText = Annotated[str, Meta(max_length=256), honoured("an empty one is none")]
StopList = Annotated[list[StopText], Meta(max_length=settings.MAX_STOPS)]
AnswerLimit = Annotated[
    int, Meta(ge=-1, le=1_000_000_000), honoured("-1 = what the context leaves, 0 = only the prompt is computed")
]
PositiveCount = Annotated[int, Meta(ge=1, le=1_000_000_000)]
ModelReference = Annotated[
    str,
    Meta(min_length=1, max_length=256),
    honoured("a name of GET /v1/models, an alias, or NAME@mlx, NAME@llamacpp, NAME@auto"),
]
Temperature = Annotated[settings.Temperature, honoured("0 is greedy")]
TopP = Annotated[settings.TopP, honoured("0 = the most probable token")]
TypicalP = Annotated[float, Meta(gt=0, le=1)]
TopK = Annotated[int, Meta(ge=-1, le=1_000_000), honoured("0 and -1 are off")]
MinP = settings.MinP
Seed = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
ContextId = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""A token, or a row of a picture, of a prompt that an answer has told."""
Penalty = Annotated[float, Meta(ge=-2, le=2)]
RepetitionPenalty = Annotated[float, Meta(ge=0, le=10)]
PenaltyWindow = Annotated[int, Meta(ge=-1, le=1_000_000)]
TopLogprobs = Annotated[int, Meta(ge=0, le=MAX_TOP_LOGPROBS)]
ServiceTier = Annotated[Literal["auto", "default", "priority", "flex"], honoured("flex runs in the background")]
CacheKey = Annotated[str, Meta(max_length=512), honoured("the same as the header X-Session-Id")]
ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]
CallId = Annotated[str, Meta(min_length=1, max_length=256)]
