"""OpenAI's Responses API, as its endpoints name it."""

from typing import Final

from router.protocols.endpoint import Api
from router.protocols.responses import items, schemas

RESPONSES_API: Final = Api(
    "responses",
    "OpenAI's Responses API.",
    read_by_type=(
        items.InputMessage,
        items.InputTextPart,
        items.InputRefusalPart,
        items.InputFunctionCall,
        items.InputFunctionCallOutput,
        items.InputReasoning,
        items.InputReference,
        schemas.FunctionTool,
        schemas.NamedChoice,
        schemas.AllowedToolsChoice,
    ),
)
