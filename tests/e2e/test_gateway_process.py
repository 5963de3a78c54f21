"""The gateway as a process: light, without engines, one per data folder, ended in order."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil

from tests.support.gateway_process import GatewayProcess, environment, run_cli
from tests.support.plain_http import answer_on
from tests.support.processes import ending
from tests.support.waiting import WITHIN_S, wait_until

StartGateway = Callable[..., GatewayProcess]
MAX_IDLE_BYTES = 75 * 1000 * 1000
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hello fox"}], "max_tokens": 2}

# Serves like the console script, and writes the names of all imported modules when it ends.
_DUMPING_MAIN = """
import atexit, json, os, sys
atexit.register(lambda: open(os.environ["DUMP"], "w").write(json.dumps(sorted(sys.modules))))
from router.cli import main
sys.argv = ["mlxr", "serve", "--port", "0"]
main()
"""


def test_a_gateway_that_has_served_both_engines_never_imported_one(home: Path, tmp_path: Path) -> None:
    dump = tmp_path / "modules.json"
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", _DUMPING_MAIN],
        env=environment(home) | {"DUMP": str(dump)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with ending(process):
        instance = home / "data" / "gateway.json"
        wait_until(instance.exists, "the gateway serves")
        url = json.loads(instance.read_text())["url"]
        for engine in ("llamacpp", "mlx"):
            body = {**CHAT, "model": f"tiny@{engine}"}
            httpx.post(f"{url}/v1/chat/completions", json=body, timeout=WITHIN_S, trust_env=False).raise_for_status()
        process.send_signal(signal.SIGTERM)
        assert process.wait(WITHIN_S) == 0
    modules = {name.partition(".")[0] for name in json.loads(dump.read_text())}
    assert "litestar" in modules
    heavy = {"mlx", "mlx_lm", "llama_cpp", "transformers", "numpy", "huggingface_hub", "PIL", "pydantic"}
    if "DBUS_SYSTEM_BUS_ADDRESS" not in os.environ and not Path("/var/run/dbus/system_bus_socket").exists():
        heavy.add("dbus_fast")
    assert modules.isdisjoint(heavy)


def test_an_idle_gateway_is_small(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    gateway.status()
    assert psutil.Process(gateway.pid).memory_info().rss < MAX_IDLE_BYTES


def test_sigterm_lets_a_running_stream_finish_and_exits_with_zero(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    body = {**CHAT, "max_tokens": 300, "ignore_eos": True, "stream": True}
    with gateway.client() as client, client.stream("POST", "/v1/chat/completions", json=body) as response:
        lines = response.iter_lines()
        assert next(lines).startswith("data: ")
        os.kill(gateway.pid, signal.SIGTERM)
        assert [line for line in lines if line][-1] == "data: [DONE]"
    assert gateway.stop() == 0


def test_a_second_gateway_on_the_same_folder_refuses_with_one_sentence(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    second = run_cli(gateway.home, "serve", "--port", "0")
    assert second.returncode == 1
    assert str(gateway.pid) in second.stderr
    assert "Traceback" not in second.stderr
    assert gateway.get("/health")["status"] == "ok"


def test_a_taken_port_is_one_sentence(start_gateway: StartGateway, tmp_path: Path) -> None:
    gateway = start_gateway()
    port = gateway.url.rpartition(":")[2]
    second = run_cli(tmp_path / "other", "serve", "--port", port)
    assert second.returncode == 1
    assert port in second.stderr
    assert len(second.stderr.strip().splitlines()[-1]) < 300
    assert "Traceback" not in second.stderr


def test_queue_limit_answers_429_with_retry_after(home: Path, tmp_path: Path) -> None:
    gate = tmp_path / "load"
    gate.touch()
    config = {"generation": {"parallel": 1}, "limits": {"max_queue": 1}}
    gateway = GatewayProcess(home, config=config, fake_options={"gates": str(tmp_path)})
    try:
        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(gateway.post, "/v1/chat/completions", CHAT) for _ in range(8)]
            wait_until(lambda: sum(each.done() for each in asked) == 7, "all but one are refused while it loads")
            gate.unlink()
            answers = [each.result() for each in asked]
    finally:
        gateway.stop()
    refused = [answer for answer in answers if answer.status_code == 429]
    assert (len(refused), {answer.status_code for answer in answers}) == (7, {200, 429})
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert all(answer.json()["error"]["code"] == "queue_full" for answer in refused)


def test_more_connections_than_a_macs_limit_of_open_files_are_all_answered(home: Path) -> None:
    serve = [sys.executable, "-P", "-m", "router.cli", "serve", "--port", "0"]
    process = subprocess.Popen(
        ["/bin/sh", "-c", 'ulimit -Sn 256 && exec "$@"', "sh", *serve],
        env=environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with contextlib.ExitStack() as stack:
        stack.enter_context(ending(process))
        instance = home / "data" / "gateway.json"
        wait_until(instance.exists, "the gateway serves")
        port = int(json.loads(instance.read_text())["url"].rpartition(":")[2])
        connections = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S)) for _ in range(300)
        ]
        for connection in connections:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert {answer_on(connection)[0] for connection in connections} == {200}
        answer = httpx.post(
            f"http://127.0.0.1:{port}/v1/chat/completions",
            json={**CHAT, "model": "tiny@llamacpp"},
            timeout=WITHIN_S,
            trust_env=False,
        )
        assert answer.status_code == httpx.codes.OK, "a worker could be started as well"
