"""Routes of mlxr's own API."""

from typing import Any, Final

from litestar import Request
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import ASGIApp

from router.errors import InvalidRequestError, RequestNotFoundError
from router.http.asgi import json_reply
from router.http.body import read_json
from router.protocols.choice import model_in_query
from router.protocols.control.answer_schemas import CapabilityReport
from router.protocols.control.api import MLXR_API
from router.protocols.control.bench import BENCH_ROUTES
from router.protocols.control.capabilities import capability_report
from router.protocols.control.conversions import CONVERSION_ROUTES
from router.protocols.control.document import get_document
from router.protocols.control.engine import explain_engine
from router.protocols.control.pulls import PULL_ROUTES
from router.protocols.control.requests import request_status
from router.protocols.control.schemas import StopRequest
from router.protocols.control.status import health, status
from router.protocols.endpoint import MODEL, Endpoint
from router.services import Services
from router.status import CancelResponse, Health, RequestList, Status, StopResponse


@MLXR_API.get("/health", Health)
async def get_health(services: NamedDependency[Services]) -> ASGIApp:
    """Answer at once, whatever the engines do."""
    return json_reply(health(services))


@MLXR_API.get("/v1/mlxr/status", Status)
async def get_status(services: NamedDependency[Services]) -> ASGIApp:
    """Tell what runs, waits, and was loaded."""
    return json_reply(status(services))


@MLXR_API.post("/v1/mlxr/models/stop", StopResponse, body=StopRequest)
async def stop_model(request: Request[Any, Any, Any], services: NamedDependency[Services]) -> ASGIApp:
    """Unload a model."""
    body = await read_json(request, StopRequest, limit_bytes=services.config.server.max_body_bytes)
    wish = services.models.wish_for(body.model, None)
    if wish.engine is not None:
        raise InvalidRequestError(f"model: a model is unloaded from any engine; write '{wish.label}'", "model")
    report = await services.supervisor.stop_model(wish.label)
    swap = report.swap
    return json_reply(
        StopResponse(
            stopped=report.stopped,
            freed_bytes=None if swap is None else swap.freed_bytes,
            unload_ms=None if swap is None else swap.unload_ms,
        )
    )


@MLXR_API.get("/v1/mlxr/capabilities", CapabilityReport, query=(MODEL,))
async def get_capabilities(
    request: Request[Any, Any, Any],
    services: NamedDependency[Services],
    endpoints: NamedDependency[tuple[Endpoint, ...]],
) -> ASGIApp:
    """Tell what is honoured."""
    reference = model_in_query(request.query_params)
    if reference is None:
        return json_reply(capability_report(endpoints))
    wish = services.models.wish_for(reference, None)
    engine = None if wish.engine is None else wish.engine.engine
    return json_reply(
        capability_report(endpoints, services.models.get(wish.model), None if engine is None else engine.kind)
    )


@MLXR_API.get("/v1/mlxr/requests", RequestList)
async def list_requests(services: NamedDependency[Services]) -> ASGIApp:
    """List the requests that run or wait."""
    return json_reply(RequestList([request_status(services, running) for running in services.requests]))


@MLXR_API.post("/v1/mlxr/requests/{request_id:str}/cancel", CancelResponse)
async def cancel_request(request_id: FromPath[str], services: NamedDependency[Services]) -> ASGIApp:
    """End a request."""
    running = services.requests.get(request_id)
    if running is None:
        raise RequestNotFoundError(request_id)
    stood = request_status(services, running)
    running.cancel()
    return json_reply(CancelResponse(stood))


ROUTES: Final = (
    get_health,
    get_status,
    get_capabilities,
    stop_model,
    list_requests,
    cancel_request,
    explain_engine,
    get_document,
    *PULL_ROUTES,
    *CONVERSION_ROUTES,
    *BENCH_ROUTES,
)
