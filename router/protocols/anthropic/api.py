"""Anthropic's API, as its endpoints name it. Its `GET /v1/models` is OpenAI's, by a header."""

from typing import Final

from router.protocols.anthropic.errors import ANTHROPIC_ERRORS
from router.protocols.anthropic.schemas import ToolDefinition
from router.protocols.endpoint import Api

ANTHROPIC_API: Final = Api(
    "anthropic",
    "Anthropic's Messages API.",
    dialect=ANTHROPIC_ERRORS,
    prefixes=("/v1/messages",),
    read_by_type=(ToolDefinition,),
)
