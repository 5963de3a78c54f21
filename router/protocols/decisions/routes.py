"""POST /v1/systemone and POST /v1/decisions: one request, one sequence for each question, one answer."""

import secrets
from typing import Final

from litestar.types import ASGIApp

from router.models.model_request import ModelRequest
from router.models.targets import Purpose
from router.protocols.decisions.answer_schemas import Decision, SystemOneDecision
from router.protocols.decisions.answers import openai_decision, systemone_decision
from router.protocols.decisions.api import DECISIONS_API, SYSTEMONE_API
from router.protocols.decisions.asking import decision_request
from router.protocols.decisions.reading import decision_asked, systemone_asked
from router.protocols.decisions.schemas import DecisionRequest, SystemOneRequest
from router.protocols.fields.support import decode_body, refuse_with_hint
from router.protocols.parts import AnyRequest, ServingPart
from router.protocols.serving import Answering, Arrival, RequestService
from router.requests.collected import WholeAnswer
from router.requests.headers import RequestHeaders


@SYSTEMONE_API.inference("/v1/systemone", SystemOneDecision, body=SystemOneRequest)
async def answer_questions(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """Answer typed questions about a state, by their ids."""
    arrival = await serving.arrive(request)
    running = await serving.start_or_rejoin(arrival, lambda: _systemone(serving, arrival))
    return await serving.reply(arrival, running)


@DECISIONS_API.inference("/v1/decisions", Decision, body=DecisionRequest)
async def create_decision(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """Answer a list of typed questions about an input."""
    arrival = await serving.arrive(request)
    running = await serving.start_or_rejoin(arrival, lambda: _openai(serving, arrival))
    return await serving.reply(arrival, running)


async def _systemone(serving: RequestService, arrival: Arrival) -> Answering:
    body = decode_body(arrival.raw, SystemOneRequest)
    refuse_with_hint(body)
    asked = systemone_asked(body)
    wanted = decision_request(_model_request(serving, body.model, arrival.headers), asked, arrival.headers)
    return Answering(
        answer_id=_new_id(),
        protocol="systemone",
        wanted=wanted,
        encoder=lambda generation: WholeAnswer(
            wanted.num_sequences, lambda outputs: systemone_decision(body, asked, generation, outputs)
        ),
    )


async def _openai(serving: RequestService, arrival: Arrival) -> Answering:
    body = decode_body(arrival.raw, DecisionRequest)
    asked, answer_id = decision_asked(body), _new_id()
    model_request = _model_request(serving, body.model, arrival.headers)
    wanted = decision_request(model_request, asked, arrival.headers, session_id=body.prompt_cache_key or None)
    return Answering(
        answer_id=answer_id,
        protocol="openai",
        wanted=wanted,
        encoder=lambda generation: WholeAnswer(
            wanted.num_sequences, lambda outputs: openai_decision(answer_id, body, asked, generation, outputs)
        ),
    )


def _new_id() -> str:
    return "decision-" + secrets.token_hex(12)


def _model_request(serving: RequestService, model: str, headers: RequestHeaders) -> ModelRequest:
    """Return the request for the model, which is there.

    Raises:
        RegistryError: There is no such model.
        RouterError: It cannot be asked.
    """
    model_request = serving.models.model_request(model, headers.engine, Purpose.GENERATE, headers.load)
    serving.models.resolve(model_request)
    return model_request


ROUTES: Final = (answer_questions, create_decision)
