"""Spans, sent by the real library to a small collector over HTTP; skipped without the extra `otel`."""

import asyncio
import gzip
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from router.telemetry.tracing import open_tracing
from tests.support.fake_openai import FakeFront, with_front
from tests.support.waiting import until

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def collector() -> Iterator[tuple[str, list[Any]]]:
    """A server that takes spans; its address, and what it got."""
    service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    spans: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            request = service.ExportTraceServiceRequest.FromString(body)
            assert self.path == "/v1/traces"
            spans.extend(s for each in request.resource_spans for scope in each.scope_spans for s in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", spans
    server.shutdown()
    thread.join()
    server.server_close()


@with_front()
async def test_a_request_is_a_span_of_its_clients_trace(front: FakeFront, collector: tuple[str, list[Any]]) -> None:
    address, spans = collector
    tracing = open_tracing(address, {}, "0")
    assert tracing is not None
    ended: list[object] = []
    front.services.telemetry.exchanges.add(tracing.on_exchange)
    front.services.telemetry.exchanges.add(ended.append)
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 6}
    headers = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=1"}
    answer = await front.client.post("/v1/chat/completions", json=body, headers=headers)
    await front.client.get("/v1/models")
    await until(lambda: len(ended) == 2, "both have ended")
    await asyncio.to_thread(tracing.close)
    by_name = {span.name: span for span in spans}
    assert set(by_name) - {"queue"} == {"POST /v1/chat/completions", "load", "prefill", "decode"}
    whole = by_name["POST /v1/chat/completions"]
    assert (whole.trace_id.hex(), whole.parent_span_id.hex(), whole.trace_state) == (TRACE, SPAN, "vendor=1")
    assert answer.headers["traceresponse"] == f"00-{TRACE}-{whole.span_id.hex()}-01"
    for name in ("load", "prefill", "decode"):
        phase = by_name[name]
        assert (phase.trace_id, phase.parent_span_id) == (whole.trace_id, whole.span_id)
        assert whole.start_time_unix_nano <= phase.start_time_unix_nano <= phase.end_time_unix_nano
    told = {each.key: each.value for each in whole.attributes}
    assert told["gen_ai.request.model"].string_value == "m"
    assert told["gen_ai.usage.output_tokens"].int_value == 6


def test_without_an_address_nothing_is_sent_and_nothing_imported() -> None:
    code = (
        "import sys; import router.gateway; from router.telemetry.tracing import open_tracing;"
        "assert open_tracing(None, {}, '0') is None;"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
