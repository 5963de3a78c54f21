"""OpenAI's Responses API, as its endpoints name it."""

from typing import Final

from router.protocols.endpoint import Api
from router.protocols.responses import files, hosted, images, items, schemas, tools

RESPONSES_API: Final = Api(
    "responses",
    "OpenAI's Responses API.",
    read_by_type=(
        items.InputMessage,
        items.InputTextPart,
        images.InputImagePart,
        files.InputFilePart,
        items.InputRefusalPart,
        items.InputFunctionCall,
        items.InputFunctionCallOutput,
        items.InputReasoning,
        items.InputReference,
        items.InputCompaction,
        items.InputCompactionTrigger,
        items.InputCustomCall,
        items.InputCustomCallOutput,
        hosted.InputHostedItem,
        hosted.InputAgentMessage,
        tools.FunctionTool,
        tools.CustomTool,
        tools.NamespaceTool,
        schemas.NamedChoice,
        schemas.CustomChoice,
        schemas.AllowedToolsChoice,
    ),
)
