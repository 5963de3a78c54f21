"""`POST /v1/responses/compact`: a conversation in the shorter form that its model goes on from, as the answer itself.

It is a response of one token whose conversation is wound whatever room there is, of which only the compaction is told.
So it is scheduled, listed, limited and ended like any other.

Source: OpenAI API reference, "Compact a response": "a list of all user messages, followed by a single compaction item".
"""

from typing import Annotated, Final

import msgspec
from litestar.types import ASGIApp
from msgspec import Meta

from router.models.targets import Purpose
from router.protocols.answers import ReasoningTokens
from router.protocols.choice import model_request_or_default
from router.protocols.fields import ranges
from router.protocols.fields.carried import carried_as_sent, carried_of
from router.protocols.fields.json_types import Refused
from router.protocols.fields.mlxr import MlxrFields
from router.protocols.fields.support import LABEL, decode_body, neutral_only
from router.protocols.openai.schemas import MAX_MESSAGES
from router.protocols.parts import AnyRequest, ConversationsPart, ServingPart
from router.protocols.responses.answer_schemas import (
    CompactedResponse,
    CompactionItem,
    InputTokensDetails,
    MessageItem,
    ResponseUsage,
)
from router.protocols.responses.answering import head_for
from router.protocols.responses.api import RESPONSES_API
from router.protocols.responses.compaction import compaction_item
from router.protocols.responses.head import ResponseHead
from router.protocols.responses.schemas import ItemObject, ResponseId, ResponseRequest
from router.protocols.serving import Answering
from router.requests.collected import WholeAnswer
from router.requests.context_wish import ContextWish
from router.requests.generation import Generation

_WHATEVER_ROOM: Final = ContextWish(mode="wind", threshold=1)


class CompactRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/responses/compact."""

    model: ranges.ModelReference | None = None
    input: str | Annotated[list[ItemObject], Meta(max_length=MAX_MESSAGES)] | None = None
    instructions: str | None = None
    previous_response_id: ResponseId | None = None
    prompt_cache_key: ranges.CacheKey | None = None
    service_tier: ranges.ServiceTier | None = None
    mlxr: MlxrFields | None = None
    prompt_cache_retention: Annotated[str | None, LABEL] = None
    prompt_cache_options: Annotated[Refused, neutral_only()] = None
    image: Annotated[Refused, neutral_only()] = None


@RESPONSES_API.inference("/v1/responses/compact", CompactedResponse, body=CompactRequest)
async def compact_response(request: AnyRequest, serving: ServingPart, conversations: ConversationsPart) -> ASGIApp:
    """Make a conversation shorter, for its client to go on from."""
    arrival = await serving.arrive(request)

    async def answering() -> Answering:
        asked = decode_body(arrival.raw, CompactRequest)
        headers = arrival.headers
        model = model_request_or_default(serving, asked.model, headers.engine, Purpose.GENERATE, headers.load)
        fields = {name: getattr(asked, name) for name in asked.__struct_fields__}
        body = ResponseRequest(**{**fields, "model": asked.model or model.label}, max_output_tokens=1, store=False)
        head = await head_for(serving, conversations, body, headers)
        return Answering(
            answer_id=head.response_id,
            protocol="openai",
            wanted=msgspec.structs.replace(head.wanted, context=_WHATEVER_ROOM),
            encoder=lambda generation: WholeAnswer(1, lambda _: compacted(head, generation)),
        )

    return await serving.reply(arrival, await serving.start_or_rejoin(arrival, answering))


def compacted(head: ResponseHead, generation: Generation) -> CompactedResponse:
    """Return a conversation in its shorter form; one of which nothing could be told is in it as it is."""
    users = [item for item in head.items.all if item["type"] == "message" and item["role"] == "user"]
    carried = carried_of(generation) or carried_as_sent(generation)
    output: list[MessageItem | CompactionItem] = [msgspec.convert(item, MessageItem) for item in users]
    return CompactedResponse(
        id=head.response_id,
        object="response.compaction",
        created_at=head.created_at,
        output=[*output, compaction_item(head, generation, carried)],
        usage=_usage(generation),
    )


def _usage(generation: Generation) -> ResponseUsage:
    """Return the tokens of the conversation, and of what was told of it."""
    facts = generation.context
    wound = None if facts is None else facts.wound
    num_input, num_output = (0, 0) if wound is None else (wound.tokens_before, wound.narrative_tokens)
    return ResponseUsage(
        input_tokens=num_input,
        input_tokens_details=InputTokensDetails(cached_tokens=0, cache_write_tokens=0),
        output_tokens=num_output,
        output_tokens_details=ReasoningTokens(0),
        total_tokens=num_input + num_output,
    )


ROUTES: Final = (compact_response,)
