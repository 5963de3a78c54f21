"""POST /v1/mlxr/report: pictures to JSON by a schema, as background work.

A report is one question to a model that sees, held to a schema, at temperature 0. Small models repeat themselves until
there is no room left, which is why the lists and texts of the usual schema are bounded; a report that was cut all the
same is asked for once more with twice the room, and never given out half.
"""

import secrets
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from litestar.types import ASGIApp
from msgspec import UNSET, UnsetType

from backends.wire.prompts import ChatPrompt, TextPart
from backends.wire.request import OutputSpec, Priority, SamplingParams, SequenceSpec
from router.errors import MissingFieldError, ReportCutError
from router.http.asgi import json_reply
from router.http.headers import REQUEST_ID_HEADER
from router.http.streaming import until_disconnect
from router.models.model_request import ModelRequest
from router.protocols.answers import SeenImage
from router.protocols.control.api import MLXR_API
from router.protocols.control.report_schemas import ReportAnswer, ReportRequest
from router.protocols.fields.constraints import schema_constraint
from router.protocols.fields.mlxr import MlxrFields, wished_side
from router.protocols.fields.support import decode_body
from router.protocols.images.seen import seen_images
from router.protocols.images.sent import SentImage
from router.protocols.openai.answer import timings_of, usage_of
from router.protocols.openai.answer_schemas import Timings, Usage
from router.protocols.parts import AnyRequest, ServingPart
from router.protocols.serving import Answering, Arrival, RequestService, client_of
from router.requests.collected import CollectedOutput, WholeAnswer
from router.requests.generation import Generation
from router.requests.register import whole_answer
from router.requests.request import GenerationRequest

PROMPT: Final = "Report what can be seen as JSON of this schema: "


def _texts(most: int, longest: int) -> dict[str, Any]:
    return {"type": "array", "maxItems": most, "items": {"type": "string", "maxLength": longest}}


SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "maxLength": 80},
        "description": {"type": "string", "maxLength": 400},
        "objects": {
            "type": "array",
            "maxItems": 8,
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "maxLength": 40},
                    "count": {"type": "integer", "minimum": 1, "maximum": 999},
                },
                "required": ["name", "count"],
                "additionalProperties": False,
            },
        },
        "text": _texts(8, 120),
        "colours": _texts(6, 20),
    },
    "required": ["title", "description", "objects", "text", "colours"],
    "additionalProperties": False,
}
"""What is reported where nobody says otherwise."""


class _Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one question; `text` is missing where it was cut."""

    text: str | UnsetType = UNSET
    images: list[SeenImage]
    usage: Usage
    timings: Timings


@MLXR_API.inference("/v1/mlxr/report", ReportAnswer, body=ReportRequest)
async def create_report(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """Report what pictures show, as JSON by a schema."""
    arrival = await serving.arrive(request)
    body = decode_body(arrival.raw, ReportRequest)
    answer = await until_disconnect(request.receive, _report(serving, arrival, body))
    return json_reply(answer, headers=[(REQUEST_ID_HEADER, answer.id.encode())])


async def _report(serving: RequestService, arrival: Arrival, body: ReportRequest) -> ReportAnswer:
    """Ask, and once more where the answer was cut."""
    headers = arrival.headers
    asked = serving.models.model_request(body.model or _model_that_sees(serving), headers.engine, load=headers.load)
    places = [f"images[{index}]" for index in range(len(body.images))]
    sent = [SentImage(place=place, param=place, text=text) for place, text in zip(places, body.images, strict=True)]
    wish = wished_side(headers, MlxrFields(image_side_px=body.image_side_px))
    model, images = await serving.images.read(asked, sent, wish)
    schema = SCHEMA if body.schema is None else body.schema
    question = body.prompt or PROMPT + msgspec.json.encode(schema).decode()
    content = [*(images.at(place, "image") for place in places), TextPart(question)]
    prompt = ChatPrompt([{"role": "user", "content": content}], enable_thinking=False, is_thinking_optional=True)
    report_id = f"report-{secrets.token_hex(12)}"
    num_tokens = 0
    for attempt in (1, 2):
        room = body.max_tokens * attempt
        result = await _ask(serving, arrival, _wanted(arrival, model, prompt, schema, room), report_id)
        if result.text is not UNSET:
            return ReportAnswer(
                id=report_id,
                model=model.label,
                report=msgspec.json.decode(result.text),
                images=result.images,
                attempts=attempt,
                usage=result.usage,
                timings=result.timings,
            )
        num_tokens = result.usage.completion_tokens
        if num_tokens < room:
            break  # the context was full, and would be again
    raise ReportCutError(num_tokens)


def _model_that_sees(serving: RequestService) -> str:
    """Return whom to ask where the request does not say.

    Raises:
        MissingFieldError: There is nobody.
    """
    found = serving.config.images.model or serving.models.model_that_sees()
    if found is None:
        raise MissingFieldError(
            "The field 'model' is required: no model here is known to see; get one with `mlxr models pull`.", "model"
        )
    return found


def _wanted(
    arrival: Arrival, model: ModelRequest, prompt: ChatPrompt, schema: dict[str, Any], max_tokens: int
) -> GenerationRequest:
    spec = SequenceSpec(
        sampling=SamplingParams(temperature=0.0),
        max_tokens=max_tokens,
        constraint=schema_constraint(schema, "schema"),
        output=OutputSpec(),
        priority=arrival.headers.priority or Priority.BACKGROUND,
        session_id=arrival.headers.session_id,
    )
    return GenerationRequest(model_request=model, prompts=(prompt,), spec=spec, prompt_param="images")


async def _ask(serving: RequestService, arrival: Arrival, wanted: GenerationRequest, report_id: str) -> _Attempt:
    def encoder(generation: Generation) -> WholeAnswer:
        return WholeAnswer(1, lambda outputs: _attempt(generation, outputs))

    answering = Answering(answer_id=report_id, protocol="mlxr", wanted=wanted, encoder=encoder)
    running = serving.start(answering, client=client_of(arrival.request), headers=arrival.headers)
    return msgspec.json.decode(await whole_answer(running.follow()), type=_Attempt)


def _attempt(generation: Generation, outputs: Sequence[CollectedOutput]) -> _Attempt:
    (output,) = outputs
    ends = [output.end]
    seen = seen_images(ends)
    return _Attempt(
        text=UNSET if output.end.reason == "length" else output.text,
        images=(seen.images or []) if seen else [],
        usage=usage_of(ends),
        timings=timings_of(ends, generation),
    )
