"""Endpoints of the OpenAI Responses API."""

from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from router.http.error_schemas import OpenAIError
from router.protocols.endpoints.base import AFTER, ORDER, SSE, Parameter, Stream, page_limit, row
from router.protocols.openai.answer_schemas import InputTokens
from router.protocols.responses import answer_schemas as answers
from router.protocols.responses import items, schemas
from router.protocols.responses.counting import CountedRequest

READ_BY_TYPE: Final[tuple[Any, ...]] = (
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
)
"""Objects within requests that are read by their `type`."""

_EVENTS: Final = Stream(SSE, (answers.StreamEvent, OpenAIError))
_ONE: Final = "/v1/responses/{response_id:str}"
_INCLUDE: Final = Parameter(
    name="include",
    type=Literal["message.output_text.logprobs", "reasoning.encrypted_content"],
    what="Without effect: what is kept is shown.",
)
_FOLLOWED: Final = (
    _INCLUDE,
    Parameter(name="stream", type=bool, what="The events of one that runs in the background."),
    Parameter(
        name="starting_after",
        type=Annotated[int, Meta(ge=0, le=10**10 - 1)],
        what="Number of the event that the stream begins behind.",
    ),
    Parameter(name="include_obfuscation", type=Literal["false"], what="Without effect."),
)

RESPONSES_ENDPOINTS: Final = (
    row(
        "responses",
        "POST",
        "/v1/responses",
        "Answer, and keep the conversation to go on from.",
        answers.Response,
        body=schemas.ResponseRequest,
        stream=_EVENTS,
        has_wishes=True,
    ),
    row(
        "responses",
        "POST",
        "/v1/responses/input_tokens",
        "Count a response's input tokens.",
        InputTokens,
        body=CountedRequest,
    ),
    row(
        "responses",
        "GET",
        _ONE,
        "Return a response, or the events of one that runs in the background.",
        answers.Response,
        query=_FOLLOWED,
        stream=_EVENTS,
    ),
    row("responses", "DELETE", _ONE, "Forget a response; one that runs is cancelled.", answers.DeletedResponse),
    row("responses", "POST", f"{_ONE}/cancel", "End a response that runs in the background.", answers.Response),
    row(
        "responses",
        "GET",
        f"{_ONE}/input_items",
        "List what a response was made from.",
        answers.InputItemList,
        query=(AFTER, _INCLUDE, page_limit(100), ORDER),
    ),
)
