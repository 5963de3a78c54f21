"""`mlxr logs` of a server that runs, in another process."""

import json
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from tests.support.gateway_process import GatewayProcess, environment, run_cli
from tests.support.processes import ending
from tests.support.waiting import WITHIN_S, wait_until

pytestmark = pytest.mark.slow

FOLLOW = [sys.executable, "-u", "-P", "-m", "router.cli", "logs", "-f", "--json"]


def ask(gateway: GatewayProcess, request_id: str) -> None:
    """Send a request that the log says of that it was refused."""
    assert gateway.post("/v1/chat/completions", {"model": "none"}, **{"X-Request-Id": request_id}).status_code == 400


def read_until(request_id: str, stream: IO[bytes]) -> dict[str, object]:
    """Return the entry of the access log for a request; the stream is not buffered, or `select` would not see it."""
    while select.select([stream], [], [], WITHIN_S)[0]:
        entry: dict[str, object] = json.loads(stream.readline())
        if entry.get("logger") == "mlxr.access" and entry.get("request_id") == request_id:
            return entry
    raise AssertionError(f"{request_id} was not shown")


def test_the_log_of_a_running_server_is_shown(start_gateway: Callable[..., GatewayProcess], home: Path) -> None:
    gateway = start_gateway()
    ask(gateway, "of-this-test")

    def lines(*options: str) -> list[str]:
        shown = run_cli(home, "logs", *options)
        assert shown.returncode == 0, shown.stderr
        return shown.stdout.splitlines()

    wait_until(lambda: any("mlxr.access" in line and "of-this-test" in line for line in lines()), "it is shown")
    assert any(line.endswith(f"serving on {gateway.url}") for line in lines())
    entries = [json.loads(line) for line in lines("--json", "-n", "2")]
    assert len(entries) == 2


def test_what_comes_is_shown_until_it_is_interrupted(start_gateway: Callable[..., GatewayProcess], home: Path) -> None:
    gateway = start_gateway({"logging": {"format": "json"}})
    ask(gateway, "before")
    process = subprocess.Popen(
        FOLLOW, env=environment(home), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0
    )
    with ending(process):
        assert process.stdout is not None
        read_until("before", process.stdout)
        ask(gateway, "after")
        entry = read_until("after", process.stdout)
        assert isinstance(entry["http"], dict)
        assert entry["http"]["status"] == 400
        process.send_signal(signal.SIGINT)
        assert process.wait(WITHIN_S) == 130
