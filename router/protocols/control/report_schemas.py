"""What POST /v1/mlxr/report is asked and answers; light, for the command line reads it too."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from router.config.images import Side
from router.protocols.answers import SeenImage
from router.protocols.fields.json_types import JSONSchema, JSONValue
from router.protocols.openai.answer_schemas import Timings, Usage

MAX_IMAGES: Final = 256
DEFAULT_TOKENS: Final = 512
MAX_TOKENS: Final = 65_536


class ReportRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Body of POST /v1/mlxr/report.

    Attributes:
        images: Each a data: URI, bare base64, or an address where the config lets them be fetched; one report of all.
        model: Missing = the config's `images.model`, or one that sees.
        schema: JSON schema of the report; missing = title, description, objects, text and colours.
        prompt: What to ask instead of a report by the schema, which holds the answer all the same.
        max_tokens: Of the report; one that is cut is tried once more with twice as many.
        image_side_px: What the longer side of pictures is shrunk to.
    """

    images: Annotated[list[str], Meta(min_length=1, max_length=MAX_IMAGES)]
    model: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    schema: JSONSchema | None = None
    prompt: Annotated[str, Meta(min_length=1, max_length=65_536)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=MAX_TOKENS)] = DEFAULT_TOKENS
    image_side_px: Side | None = None


class ReportAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of POST /v1/mlxr/report.

    Attributes:
        id: By which it was listed.
        report: By the schema.
        images: What the model was shown.
        attempts: 2 where the first report was cut; `usage` and `timings` are the last one's.
    """

    id: str
    model: str
    report: JSONValue
    images: list[SeenImage]
    attempts: int
    usage: Usage
    timings: Timings
