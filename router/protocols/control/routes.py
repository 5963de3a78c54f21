"""Routes of mlxr's own API; those of jobs are in `jobs`, those of keys in `keys`."""

from http import HTTPStatus
from typing import Annotated, Final

import msgspec
from litestar.params import FromPath
from litestar.types import ASGIApp
from msgspec import Meta

from registry.threads import in_thread
from router.errors import InvalidRequestError, RequestNotFoundError
from router.http.asgi import json_reply
from router.http.caller import Scope, current_caller
from router.protocols.control.api import MLXR_API
from router.protocols.control.capabilities import CapabilityReport, capability_report
from router.protocols.control.config import CONFIG_ROUTES
from router.protocols.control.documents import DOCUMENT_ROUTES
from router.protocols.control.events import EVENT_ROUTES
from router.protocols.control.explain import MAX_TOKENS, Explanation, explain, request_size
from router.protocols.control.inspector import INSPECTOR_ROUTES
from router.protocols.control.jobs import JOB_ROUTES
from router.protocols.control.keys import KEY_ROUTES
from router.protocols.control.metrics import METRIC_ROUTES
from router.protocols.control.models.routes import MODEL_ROUTES
from router.protocols.control.report import create_report
from router.protocols.control.sessions import SESSION_ROUTES
from router.protocols.control.status import health, request_status, status
from router.protocols.control.suspension import SUSPENSION_ROUTES
from router.protocols.endpoint import Answer, Parameter
from router.protocols.fields.json_types import JSONObject
from router.protocols.parts import (
    AnyRequest,
    DocumentPart,
    EndpointsPart,
    HeatPart,
    KeeperPart,
    MemoryPart,
    ReadinessPart,
    ServerPart,
    ServingPart,
)
from router.protocols.queries import MODEL, model_in_query
from router.status import Health, Ready, Status, StopResponse
from router.status.requests import CancelResponse, RequestList

_Tokens = Annotated[int, Meta(ge=1, le=MAX_TOKENS)]
_EXPLAINED: Final = (
    Parameter(name="model", type=str, what="Its name.", is_required=True),
    Parameter(name="prompt_tokens", type=_Tokens, what="Of the request."),
    Parameter(name="answer_tokens", type=_Tokens, what="Expected of its answer."),
)


class StopRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of POST /v1/mlxr/models/stop."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]


class OpenAPIDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """This document."""

    openapi: str
    info: JSONObject
    paths: JSONObject
    components: JSONObject
    tags: list[JSONObject]


@MLXR_API.get("/health", Health, scope=Scope.PUBLIC)
async def get_health(serving: ServingPart) -> ASGIApp:
    """Answer at once, whatever the engines do."""
    return json_reply(health(serving))


@MLXR_API.get("/ready", answers={200: Answer((Ready,)), 503: Answer((Ready,))}, scope=Scope.PUBLIC)
async def get_ready(readiness: ReadinessPart) -> ASGIApp:
    """Tell whether requests would be served now."""
    reasons = readiness.reasons
    if reasons:
        told = [] if current_caller().problem else reasons  # strangers are told that, not why
        return json_reply(Ready("not_ready", told), status=HTTPStatus.SERVICE_UNAVAILABLE)
    return json_reply(Ready("ready", []))


@MLXR_API.get("/v1/mlxr/status", Status, scope=Scope.MODELS)
async def get_status(
    serving: ServingPart, server: ServerPart, keeper: KeeperPart, memory: MemoryPart, heat: HeatPart
) -> ASGIApp:
    """Tell what runs, waits, and was loaded."""
    return json_reply(await status(serving, server, keeper, memory, heat))


@MLXR_API.post("/v1/mlxr/models/stop", StopResponse, body=StopRequest, scope=Scope.MODELS)
async def stop_model(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """Unload a model."""
    body = await serving.read(request, StopRequest)
    model_request = serving.models.model_request(body.model, None)
    if model_request.engine is not None:
        raise InvalidRequestError(f"model: a model is unloaded from any engine; write '{model_request.label}'", "model")
    report = await serving.supervisor.stop_model(model_request.label)
    swap = report.swap
    return json_reply(
        StopResponse(
            stopped=report.stopped,
            freed_bytes=None if swap is None else swap.freed_bytes,
            unload_ms=None if swap is None else swap.unload_ms,
        )
    )


@MLXR_API.get("/v1/mlxr/capabilities", CapabilityReport, query=(MODEL,), scope=Scope.INFERENCE)
async def get_capabilities(request: AnyRequest, serving: ServingPart, endpoints: EndpointsPart) -> ASGIApp:
    """Tell what is honoured."""
    reference, is_strict = model_in_query(request.query_params), serving.config.server.strict_fields
    if reference is None:
        return json_reply(capability_report(endpoints, is_strict=is_strict))
    model_request = serving.models.model_request(reference, None)
    engine = None if model_request.engine is None else model_request.engine.engine
    model, kind = serving.models.get(model_request.model), None if engine is None else engine.kind
    return json_reply(capability_report(endpoints, model, kind, is_strict=is_strict))


@MLXR_API.get("/v1/mlxr/requests", RequestList, scope=Scope.INFERENCE, is_private=True)
async def list_requests(serving: ServingPart) -> ASGIApp:
    """List the requests that run or wait."""
    may_see = current_caller().may_see
    return json_reply(
        RequestList([request_status(serving, each) for each in serving.requests if may_see(each.facts.owner)])
    )


@MLXR_API.post("/v1/mlxr/requests/{request_id:str}/cancel", CancelResponse, scope=Scope.INFERENCE, is_private=True)
async def cancel_request(request_id: FromPath[str], serving: ServingPart) -> ASGIApp:
    """End a request."""
    running = serving.requests.get(request_id)
    if running is None:
        raise RequestNotFoundError(request_id)
    stood = request_status(serving, running)
    running.cancel()
    return json_reply(CancelResponse(stood))


@MLXR_API.get("/v1/mlxr/engine/explain", Explanation, query=_EXPLAINED, scope=Scope.INFERENCE)
async def explain_engine(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """Tell which engine would serve a request, and why."""
    reference = model_in_query(request.query_params)
    if not reference:
        raise InvalidRequestError("model: it is missing; send ?model=NAME", "model")
    size = request_size(request.query_params.get("prompt_tokens"), request.query_params.get("answer_tokens"))
    return json_reply(explain(serving.models, serving.models.model_request(reference, None), size))


@(
    MLXR_API.get("/schema", OpenAPIDocument, scope=Scope.INFERENCE)
    | MLXR_API.get("/schema/openapi.json", OpenAPIDocument, scope=Scope.INFERENCE)
)
async def get_document(document: DocumentPart) -> ASGIApp:
    """Describe the API: this document."""
    return json_reply(await in_thread(lambda: document.text))


ROUTES: Final = (
    get_health,
    get_ready,
    get_status,
    get_capabilities,
    stop_model,
    list_requests,
    cancel_request,
    explain_engine,
    create_report,
    get_document,
    *SUSPENSION_ROUTES,
    *EVENT_ROUTES,
    *JOB_ROUTES,
    *METRIC_ROUTES,
    *KEY_ROUTES,
    *SESSION_ROUTES,
    *CONFIG_ROUTES,
    *INSPECTOR_ROUTES,
    *MODEL_ROUTES,
    *DOCUMENT_ROUTES,
)
