"""Workers that die, hang or never load cost their requests, never the gateway."""

import json
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths
from tests.support.gateway_process import GatewayProcess, sse_events
from tests.support.waiting import WITHIN_S

StartGateway = Callable[..., GatewayProcess]
SHORT_CHAT = {"model": "tooled", "messages": [{"role": "user", "content": "hello fox"}], "max_tokens": 3}
LONG_CHAT = SHORT_CHAT | {"max_tokens": 8000, "ignore_eos": True, "stream": True}
"""Seconds of work, of which tests see the beginning."""


@pytest.fixture
def home(home: Path, tooled: tuple[Path, Path]) -> Path:
    with Registry(Paths.under(home).registry_db) as registry:
        for path in tooled:
            register_path(registry, path, name="tooled")
    return home


@pytest.mark.parametrize("engine", ["llamacpp", "mlx"])
def test_a_worker_killed_in_mid_stream_ends_it_with_an_error_and_the_next_request_is_served(
    start_gateway: StartGateway, engine: str
) -> None:
    gateway = start_gateway()
    body = {**LONG_CHAT, "model": f"tooled@{engine}"}
    with gateway.client() as client, client.stream("POST", "/v1/chat/completions", json=body) as response:
        assert response.status_code == 200
        events = sse_events(response.iter_lines())
        seen = [next(events)]
        (worker,) = gateway.workers()
        worker.kill()
        seen += list(events)
    assert len(seen) > 1
    assert "[DONE]" not in seen
    error = json.loads(seen[-1])["error"]
    assert error["code"] == "engine_crashed"
    assert set(error) >= {"message", "type", "param", "code"}
    again = gateway.post("/v1/chat/completions", {**SHORT_CHAT, "model": f"tooled@{engine}"})
    assert again.status_code == 200
    assert gateway.process.poll() is None
    assert gateway.get("/v1/mlxr/status")["pid"] == gateway.pid


def test_a_worker_that_dies_before_the_first_token_is_replaced_unseen(start_gateway: StartGateway) -> None:
    gateway = start_gateway({"server": {"keepalive_s": 0.3}})  # its first comment lets the client see the status
    assert gateway.post("/v1/chat/completions", SHORT_CHAT).status_code == 200
    (worker,) = gateway.workers()
    worker.suspend()  # so that it cannot answer before it dies
    stream = {**SHORT_CHAT, "stream": True}
    with gateway.client() as client, client.stream("POST", "/v1/chat/completions", json=stream) as response:
        worker.kill()
        assert response.status_code == 200
        assert list(sse_events(response.iter_lines()))[-1] == "[DONE]"


def test_workers_end_when_the_gateway_is_killed(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    assert gateway.post("/v1/chat/completions", SHORT_CHAT).status_code == 200
    workers = gateway.workers()
    gateway.process.kill()
    gone, alive = psutil.wait_procs(workers, timeout=WITHIN_S)
    assert len(gone) == 1
    assert alive == []


def test_a_hung_worker_is_killed_and_the_request_ends_with_504(start_gateway: StartGateway) -> None:
    gateway = start_gateway({"limits": {"stall_timeout_s": 5}})
    assert gateway.post("/v1/chat/completions", SHORT_CHAT).status_code == 200
    (worker,) = gateway.workers()
    worker.suspend()
    answer = gateway.post("/v1/chat/completions", SHORT_CHAT)
    assert answer.status_code == 504
    assert answer.json()["error"]["code"] == "engine_timeout"
    assert gateway.post("/v1/chat/completions", SHORT_CHAT).status_code == 200
    assert worker not in gateway.workers()
