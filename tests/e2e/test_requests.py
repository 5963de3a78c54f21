"""Requests that are listed, cancelled, or sent again by the unmodified OpenAI client, against real processes."""

import json
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai._constants import INITIAL_RETRY_DELAY

from registry.scan import register_path
from registry.store import Registry
from router.config import LimitsConfig
from router.config.paths import Paths
from tests.support.gateway_process import GatewayProcess, run_cli, sse_events
from tests.support.plain_http import answer_on
from tests.support.waiting import WITHIN_S, wait_until

StartGateway = Callable[..., GatewayProcess]
ENGINES = ["llamacpp", "mlx"]
LIST = "/v1/mlxr/requests"
LONG_CHAT: dict[str, Any] = {
    "messages": [{"role": "user", "content": "hello fox"}],
    "max_tokens": 400,
    "ignore_eos": True,
    "stream": True,
}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_request_cancelled_by_its_id_ends_with_an_error_and_frees_its_place(
    start_gateway: StartGateway, home: Path, tooled: tuple[Path, Path], engine: str
) -> None:
    with Registry(Paths.under(home).registry_db) as registry:
        for path in tooled:
            register_path(registry, path, name="tooled")
    gateway = start_gateway({"generation": {"parallel": 8}})
    # Some 8,000 tokens each: the answers cannot end while one of their tokens is read and one request is sent.
    body = LONG_CHAT | {"model": f"tooled@{engine}", "n": 8, "max_tokens": None}
    warm = gateway.post("/v1/chat/completions", body | {"stream": False, "max_tokens": 1})
    assert warm.status_code == 200
    with gateway.client() as client, client.stream("POST", "/v1/chat/completions", json=body) as response:
        events = sse_events(response.iter_lines())
        next(events)
        cancelled = client.post(f"{LIST}/{response.headers['x-request-id']}/cancel").json()["cancelled"]
        assert (cancelled["engine"], cancelled["priority"]) == (engine, "interactive")
        again = gateway.post("/v1/chat/completions", body | {"stream": False, "max_tokens": 1})
        assert again.status_code == 200
        assert json.loads(list(events)[-1])["error"]["code"] == "request_cancelled"


def test_the_command_line_lists_and_cancels(home: Path) -> None:
    gateway = GatewayProcess(home, fake_options={"decode_s": 0.02})
    try:
        body = LONG_CHAT | {"model": "tiny", "max_tokens": None}
        with gateway.client() as client, client.stream("POST", "/v1/chat/completions", json=body) as response:
            events = sse_events(response.iter_lines())
            next(events)
            [listed] = json.loads(run_cli(home, "requests", "--json").stdout)["requests"]
            assert (listed["id"], listed["state"]) == (response.headers["x-request-id"], "decode")
            assert listed["id"] in run_cli(home, "requests").stdout
            assert "is cancelled" in run_cli(home, "requests", "cancel", listed["id"]).stdout
            assert json.loads(list(events)[-1])["error"]["code"] == "request_cancelled"
        assert run_cli(home, "requests", "cancel", listed["id"]).returncode == 1
    finally:
        gateway.stop()


def test_the_window_is_longer_than_openais_client_waits_before_it_tries_again() -> None:
    assert LimitsConfig().reattach_s > INITIAL_RETRY_DELAY


@pytest.mark.parametrize("is_streamed", [False, True])
def test_openais_client_that_times_out_and_tries_again_finds_its_answer(home: Path, *, is_streamed: bool) -> None:
    config = {"limits": {"reattach_s": 60}}  # on a machine under load the client comes late
    gateway = GatewayProcess(home, config=config, fake_options={"prefill_s_per_token": 0.04})
    seen: set[str] = set()
    is_over = threading.Event()
    watcher = threading.Thread(target=collect_ids, args=(gateway, seen, is_over))
    try:
        # The answer takes the prompt's second, no worker's start; a server that is held up may miss some tries.
        gateway.post("/v1/completions", {"model": "tiny", "prompt": "x", "max_tokens": 1}).raise_for_status()
        with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=20, timeout=0.7) as client:
            watcher.start()
            answer_id = ask(client, is_streamed=is_streamed)
    finally:
        is_over.set()
        watcher.join()
        gateway.stop()
    assert seen == {answer_id}


def ask(client: openai.OpenAI, *, is_streamed: bool) -> str:
    """Ask for what takes longer than the client waits; return the answer's id."""
    content = "x" * 20
    if not is_streamed:
        whole = client.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": content}], max_tokens=20
        )
        return whole.id
    stream = client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": content}], max_tokens=20, stream=True
    )
    return {chunk.id for chunk in stream}.pop()


def collect_ids(gateway: GatewayProcess, seen: set[str], is_over: threading.Event) -> None:
    while not is_over.wait(0.02):
        seen |= {request["id"] for request in gateway.get(LIST)["requests"]}


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_server_that_was_held_up_takes_what_came_meanwhile_for_the_same_request(
    home: Path, *, is_streamed: bool
) -> None:
    gateway = GatewayProcess(home, config={"limits": {"reattach_s": 60}}, fake_options={"decode_s": 0.05})
    body = json.dumps(LONG_CHAT | {"model": "tiny", "max_tokens": 20, "stream": is_streamed})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    address = ("127.0.0.1", httpx.URL(gateway.url).port or 0)
    try:
        with socket.create_connection(address) as first:
            first.sendall((head + body).encode())
            wait_until(lambda: gateway.get(LIST)["requests"] != [], "the request runs")
            (listed,) = gateway.get(LIST)["requests"]
            os.kill(gateway.pid, signal.SIGSTOP)
        with socket.create_connection(address, timeout=WITHIN_S) as second:
            second.sendall((head + body).encode())
            os.kill(gateway.pid, signal.SIGCONT)
            _, headers, _ = answer_on(second)
        assert headers["x-request-id"] == listed["id"]
    finally:
        os.kill(gateway.pid, signal.SIGCONT)
        gateway.stop()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_client_that_goes_away_frees_its_place(start_gateway: StartGateway, engine: str) -> None:
    gateway = start_gateway({"generation": {"parallel": 1}})
    body = LONG_CHAT | {"model": f"tiny@{engine}"}
    with gateway.client() as client, client.stream("POST", "/v1/chat/completions", json=body) as response:
        next(sse_events(response.iter_lines()))
    wait_until(lambda: gateway.get("/v1/mlxr/status")["workers"][0]["num_running"] == 0, "the place is free")
    assert gateway.get(LIST) == {"requests": []}
