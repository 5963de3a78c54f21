"""Routes of the metrics: /metrics for scrapers, /v1/metrics for everybody else; the same facts."""

from typing import Final

import msgspec
from litestar.types import ASGIApp

from router.errors import RouteNotFoundError
from router.http.asgi import BytesResponse, json_reply
from router.http.caller import Scope
from router.protocols.control.api import MLXR_API
from router.protocols.endpoint import TEXT, Answer
from router.protocols.parts import AnyRequest, TelemetryPart
from router.telemetry.store import MetricFamily
from router.telemetry.telemetry import Telemetry


class MetricList(msgspec.Struct, frozen=True):
    """Body of GET /v1/metrics."""

    metrics: list[MetricFamily]


def _check_on(telemetry: Telemetry) -> None:
    if not telemetry.is_on:
        raise RouteNotFoundError("Metrics are off here: telemetry.metrics is false in the config.")


@MLXR_API.get("/metrics", answers={200: Answer((str,), TEXT)}, scope=Scope.METRICS)
async def get_metrics(request: AnyRequest, telemetry: TelemetryPart) -> ASGIApp:
    """Tell all metrics as Prometheus reads them, or as OpenMetrics where that is accepted."""
    _check_on(telemetry)
    text, media_type = await telemetry.text(request.headers.get("accept", ""))
    return BytesResponse(text, headers=[(b"content-type", media_type.encode())])


@MLXR_API.get("/v1/metrics", MetricList, scope=Scope.METRICS)
async def list_metrics(telemetry: TelemetryPart) -> ASGIApp:
    """Tell all metrics as JSON."""
    _check_on(telemetry)
    return json_reply(MetricList(await telemetry.families()))


METRIC_ROUTES: Final = (get_metrics, list_metrics)
