"""The gateway on a Linux that says it is a Mac: what becomes of Apple's readings, from libSystem to what users see.

It shows our own code's way through them; nothing here was seen on a Mac.
"""

import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.gateway_process import GatewayProcess, run_cli
from tests.support.waiting import WITHIN_S, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a Mac needs no fake of itself")
FAKE = Path(__file__).parents[1] / "support" / "mac"
CHAT = {"messages": [{"role": "user", "content": "hello fox"}], "max_tokens": 4}
StartGateway = Callable[..., GatewayProcess]


@pytest.fixture(autouse=True)
def mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_MAC", "1")
    monkeypatch.setenv("PYTHONPATH", str(FAKE))


def test_a_flip_is_proven_and_every_list_counts_what_the_worker_holds(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    for engine in ("llamacpp", "mlx", "llamacpp"):
        answer = gateway.post("/v1/chat/completions", {**CHAT, "model": f"tiny@{engine}"})
        assert answer.status_code == 200, answer.text
    status = gateway.status()
    unloads = [swap for swap in status["swaps"] if swap["event"] == "unload"]
    assert [swap["engine"] for swap in unloads] == ["llamacpp", "mlx"]
    assert all(swap["freed_bytes"] > swap["anonymous_before_bytes"] > 1 << 20 for swap in unloads)
    assert all(swap["is_memory_back"] is not None for swap in unloads), "others on this machine may take it meanwhile"
    (worker,) = status["workers"]
    rss_bytes = psutil.Process(worker["pid"]).memory_info().rss
    assert worker["rss_bytes"] == pytest.approx(rss_bytes, rel=0.1)
    (listed,) = gateway.get("/api/ps")["models"]
    assert listed["size"] == pytest.approx(rss_bytes, rel=0.1)
    assert status["memory_total_bytes"] == psutil.virtual_memory().total


def test_the_doctor_prints_what_the_system_said(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    gateway.post("/v1/chat/completions", {**CHAT, "model": "tiny@llamacpp"}).raise_for_status()
    done = run_cli(gateway.home, "doctor", "--json")
    report = json.loads(done.stdout)
    assert {check["name"] for check in report["checks"]} >= {"metal", "memory"}
    readings = report["readings"]
    assert readings["machine"]["sysctl"]["hw.model"] == "Mac15,6"
    assert readings["machine"]["core_levels"] == [["Performance", 6], ["Efficiency", 6]]
    processes = {process["what"]: process for process in readings["processes"]}
    assert processes.keys() == {"doctor", "server", "worker of llamacpp"}, (processes["server"], gateway.status())
    assert processes["worker of llamacpp"]["raw"]["phys_footprint"] > 0
    assert readings["budget"]["wired_limit_bytes"] > 0


def test_a_worker_in_a_load_ends_with_its_killed_gateway(home: Path) -> None:
    """It does not listen then, so that the closed channel does not end it."""
    gateway = GatewayProcess(home, fake_options={"load_s": 3000})
    try:
        with ThreadPoolExecutor() as pool:
            asking = pool.submit(gateway.post, "/v1/chat/completions", {**CHAT, "model": "tiny@llamacpp"})
            wait_until(lambda: [each["load_fraction"] for each in gateway.status()["workers"]] == [0], "it loads")
            (worker,) = gateway.workers()
            os.kill(gateway.pid, signal.SIGKILL)
            assert isinstance(asking.exception(), httpx.TransportError)
        gone, left = psutil.wait_procs([worker], timeout=WITHIN_S)
        for each in left:
            each.kill()
        assert gone
    finally:
        gateway.stop()


def test_a_port_that_ollama_has_on_all_addresses_is_refused(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        done = run_cli(home, "serve", "--port", str(other.getsockname()[1]))
    assert done.returncode == 1
    assert "is in use by another program" in done.stderr
