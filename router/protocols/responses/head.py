"""The response object: what is known of it from its request, and what each of its states adds. Pure.

Source: OpenAI API reference, "The response object".
"""

from collections.abc import Sequence
from typing import Any, Final, Literal, cast

import msgspec
from msgspec import UNSET

from backends.wire.messages import SequenceEnd
from router.errors import RequestCancelledError
from router.http.dialect import openai_error
from router.http.error_response import shown_error
from router.protocols.answers import ReasoningTokens
from router.protocols.fields.ranges import ServiceTier
from router.protocols.images.seen import seen_images
from router.protocols.openai.answer import timings_of
from router.protocols.openai.schemas import TextFormat
from router.protocols.responses import answer_schemas as answers
from router.protocols.responses.answer_schemas import CompactionItem, OutputItem, Response
from router.protocols.responses.conversation import RequestItems
from router.protocols.responses.schemas import (
    AllowedToolsChoice,
    CustomChoice,
    NamedChoice,
    ReasoningConfig,
    ResponseRequest,
    TextConfig,
)
from router.protocols.responses.tools import ClientTools
from router.requests.generation import Generation
from router.requests.request import GenerationRequest
from router.stores.conversations import StoredResponse

_AS_SAID: Final = (
    *("instructions", "max_output_tokens", "max_tool_calls"),
    *("previous_response_id", "prompt_cache_key", "safety_identifier", "user"),
)
"""Fields that are the request's own."""
_LATER: Final = ("completed_at", "error", "incomplete_details", "usage")
"""Fields that have a value when the response has ended."""
_TOO_MANY: Final = 429
_FIRST_SERVER_STATUS: Final = 500


class ResponseHead(msgspec.Struct, frozen=True, kw_only=True):
    """A valid request of the API: what all objects of its response share.

    Attributes:
        response_id: `resp_…`.
        created_at: Seconds since 1970.
        model: Who answers, as the client is told.
        wanted: What is generated for it: what it left open has its value here.
        owner: Id of the key that it belongs to; None = it is the server's owner's.
        service_tier: By which it is scheduled; None = the client did not ask.
    """

    response_id: str
    created_at: int
    model: str
    request: ResponseRequest
    items: RequestItems
    wanted: GenerationRequest
    service_tier: ServiceTier | None
    is_stored: bool
    tools: ClientTools = ClientTools()
    owner: str | None = None

    def response(self, status: answers.ResponseStatus, output: list[OutputItem], **fields: Any) -> Response:
        """Return the object.

        Args:
            **fields: Those that have a value now: completed_at, error, incomplete_details, usage, timings.
        """
        request, sampling = self.request, self.wanted.spec.sampling
        reasoning, text = request.reasoning or ReasoningConfig(), request.text or TextConfig()
        later: dict[str, Any] = {**dict.fromkeys(_LATER), **fields}
        place = self.items.place
        return Response(
            id=self.response_id,
            object="response",
            created_at=self.created_at,
            status=status,
            background=bool(request.background),
            output=output,
            parallel_tool_calls=request.parallel_tool_calls is not False,
            reasoning=answers.ReasoningShown(reasoning.effort, reasoning.summary),
            frequency_penalty=sampling.frequency_penalty,
            presence_penalty=sampling.presence_penalty,
            service_tier=self.service_tier or "default",
            store=self.is_stored,
            temperature=sampling.temperature,
            text=answers.TextShown(text.format or TextFormat(), text.verbosity or UNSET),
            # It was checked, and is shown as the client wrote it.
            tool_choice=cast("str | NamedChoice | CustomChoice | AllowedToolsChoice", request.tool_choice or "auto"),
            tools=list(self.tools.shown),
            top_logprobs=request.top_logprobs or 0,
            top_p=sampling.top_p if request.top_p is None else request.top_p,
            truncation=request.truncation or "disabled",
            metadata=request.metadata or {},
            model=self.model,
            conversation=UNSET if place is None else answers.ConversationShown(place.conversation_id),
            **{name: getattr(request, name) for name in _AS_SAID},
            **later,
        )

    def ended(self, output: list[OutputItem], end: SequenceEnd, generation: Generation, now: float) -> Response:
        """Return the object of a response whose answer has ended.

        Args:
            now: Seconds since 1970.
        """
        is_cut = end.reason == "length"
        return self.response(
            "incomplete" if is_cut else "completed",
            output,
            completed_at=None if is_cut else int(now),
            incomplete_details=answers.IncompleteDetails("max_output_tokens") if is_cut else None,
            usage=usage_of(end),
            timings=timings_of([end], generation),
            mlxr=seen_images([end]),
        )

    def stored(self, response: Response, winds: Sequence[CompactionItem] = ()) -> StoredResponse:
        """Return what is to be kept of the response as it is now.

        Args:
            winds: Items that say how its conversation was wound; they are a part of what it was made from.
        """
        return StoredResponse(
            response_id=self.response_id,
            root_id=self.items.root_id or self.response_id,
            previous_id=self.request.previous_response_id,
            created_at=float(self.created_at),
            status=response.status,
            input=msgspec.json.encode([*self.items.own, *winds]),
            body=msgspec.json.encode(response),
            owner=self.owner,
            conversation_id=None if self.items.place is None else self.items.place.conversation_id,
        )

    def failed(self, output: list[OutputItem], error: BaseException) -> Response:
        """Return the object of a response that ended with an error; in the background, to be cancelled is none."""
        if self.request.background and isinstance(error, RequestCancelledError):
            return self.response("cancelled", output)
        shown = shown_error(error)
        said = openai_error(shown).error
        return self.response(
            "failed", output, error=answers.ResponseError(_code_of(shown.row.status), f"{said.code}: {said.message}")
        )


def usage_of(end: SequenceEnd) -> answers.ResponseUsage:
    """Return the usage object of an answer."""
    usage = end.usage
    return answers.ResponseUsage(
        input_tokens=usage.num_prompt_tokens,
        # What was not in the cache is computed, and is in it then.
        input_tokens_details=answers.InputTokensDetails(
            cached_tokens=usage.num_cached_tokens,
            cache_write_tokens=usage.num_prompt_tokens - usage.num_cached_tokens,
            image_tokens=usage.num_image_tokens or UNSET,
        ),
        output_tokens=usage.num_output_tokens,
        output_tokens_details=ReasoningTokens(usage.num_reasoning_tokens),
        total_tokens=usage.num_tokens,
    )


def _code_of(status: int) -> Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]:
    """Return the code that the API knows; ours, which says more, stands before the message."""
    if status >= _FIRST_SERVER_STATUS:
        return "server_error"
    return "rate_limit_exceeded" if status == _TOO_MANY else "invalid_prompt"
