"""Spans of requests, sent by OTLP over HTTP: the request, and in it queue, load, prefill and decode.

With the extra `otel` and an address only: opentelemetry is imported by `open_tracing` and by nothing else. A request's
spans are made when it has ended, of what its account says; sending them is the library's, on a thread of its own.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from router.http.exchange import Account, Exchange

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

logger = logging.getLogger(__name__)

ENDPOINT_VARIABLES: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_TRACES_PATH: Final = "/v1/traces"
_NS: Final = 1_000_000_000
_FIRST_SERVER_ERROR: Final = 500


def open_tracing(endpoint: str | None, environment: Mapping[str, str], version: str) -> "Tracing | None":
    """Begin to send spans where the config or the environment says where to; None where nobody does.

    Args:
        endpoint: The collector's address without a path, by the config; it goes before the environment's.
    """
    if endpoint is None and not any(environment.get(name) for name in ENDPOINT_VARIABLES):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - see the module
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - see the module
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - see the module
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - see the module
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator  # noqa: PLC0415 - see the module
    except ImportError as exc:
        logger.warning("no traces are sent: %s; install mlxr with the extra `otel`", exc)
        return None

    class Ids(RandomIdGenerator):  # type: ignore[misc]  # the library is not looked at
        """Gives the next span the id that the client was told."""

        wanted: str | None = None

        def generate_span_id(self) -> int:
            wanted, self.wanted = self.wanted, None
            return int(super().generate_span_id()) if wanted is None else int(wanted, 16)

    address = None if endpoint is None else endpoint.rstrip("/") + _TRACES_PATH
    resource, ids = Resource.create({"service.name": "mlxr", "service.version": version}), Ids()
    provider = TracerProvider(resource=resource, id_generator=ids)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=address)))
    logger.info("traces are sent to %s", address or "where OTEL_EXPORTER_OTLP_* says")
    return Tracing(provider, ids)


class Tracing:
    """Makes the spans of requests that have ended.

    Args:
        ids: Gives the next span the id `wanted`, where that is set.
    """

    def __init__(self, provider: "TracerProvider", ids: Any, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._provider = provider
        self._ids = ids
        self._tracer: Tracer = provider.get_tracer("mlxr")
        self._clock_ns = clock_ns

    def on_exchange(self, exchange: Exchange) -> None:
        """Tell of a request by HTTP that asked a model."""
        if not exchange.needs_model:
            return
        from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context  # noqa: PLC0415 - see the module

        account = None if exchange.account is None else exchange.account()
        end_ns = self._clock_ns()
        start_ns = end_ns - int(exchange.duration_s * _NS)
        self._ids.wanted = None if exchange.trace is None else exchange.trace.span_id
        span = self._tracer.start_span(
            f"{exchange.method} {exchange.path}",
            context=_remote_parent(exchange),
            kind=SpanKind.SERVER,
            start_time=start_ns,
            attributes=_attributes(exchange, account),
        )
        if exchange.outcome >= _FIRST_SERVER_ERROR:
            span.set_status(StatusCode.ERROR, None if exchange.error is None else exchange.error.code)
        inside = set_span_in_context(span)
        for name, begin_s, length_s in [] if account is None else _phases(account):
            phase_ns = end_ns - int(account.whole_s * _NS) + int(begin_s * _NS) if account is not None else start_ns
            phase = self._tracer.start_span(name, context=inside, start_time=phase_ns)
            phase.end(phase_ns + int(length_s * _NS))
        span.end(end_ns)

    def close(self) -> None:
        """Send what is left; may take some seconds."""
        self._provider.shutdown()


def _remote_parent(exchange: Exchange) -> Any:
    """Return the client's span as what ours stands in; None = ours begins a trace."""
    from opentelemetry import trace  # noqa: PLC0415 - see the module

    found = exchange.trace
    if found is None:
        return None
    parent = trace.SpanContext(
        trace_id=int(found.trace_id, 16),
        span_id=int(found.parent_id, 16),
        is_remote=True,
        trace_flags=trace.TraceFlags(int(found.flags, 16)),
        trace_state=trace.TraceState.from_header([found.state]) if found.state else None,
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(parent))


def _attributes(exchange: Exchange, account: Account | None) -> dict[str, str | int]:
    """Name things as OpenTelemetry's conventions for HTTP and generative AI do."""
    found: dict[str, str | int | None] = {
        "http.request.method": exchange.method,
        "url.path": exchange.path,
        "http.response.status_code": exchange.status,
        "error.type": None if exchange.error is None else exchange.error.code,
        "mlxr.request_id": exchange.request_id,
        "mlxr.protocol": exchange.protocol,
        "gen_ai.request.model": exchange.model,
    }
    if account is not None:
        found |= {
            "gen_ai.operation.name": account.operation,
            "gen_ai.provider.name": account.engine,
            "gen_ai.usage.input_tokens": account.num_prompt_tokens,
            "gen_ai.usage.output_tokens": account.num_output_tokens,
        }
    return {name: value for name, value in found.items() if value is not None}


def _phases(account: Account) -> list[tuple[str, float, float]]:
    """Return the phases that are known: name, begin and length, seconds from the arrival."""
    queue_s, load_s, first_s = account.queue_s or 0.0, account.load_s or 0.0, account.first_token_s
    found = [("queue", 0.0, queue_s), ("load", queue_s, load_s)]
    if first_s is not None:
        prefill_s = min(account.prefill_s or 0.0, first_s)
        found.append(("prefill", first_s - prefill_s, prefill_s))
        found.append(("decode", first_s, account.decode_s or max(0.0, account.whole_s - first_s)))
    return [(name, begin_s, length_s) for name, begin_s, length_s in found if length_s > 0]
