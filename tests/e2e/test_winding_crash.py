"""Gateways that are killed at named steps of a wind: the conversation goes on, nothing told twice, nothing lost."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.support.gateway_process import GatewayProcess
from tests.support.waiting import wait_until
from tests.support.winding_talk import IN_SUMMARY, LIMIT, TELLING, asked, code, told

pytestmark = pytest.mark.slow


class Server:
    """One data folder, and the gateways that serve it one after the other."""

    def __init__(self, home: Path, gates: Path, *, wind_at: float) -> None:
        self.home, self.gates = home, gates
        self.wind_at = wind_at
        self.pool = ThreadPoolExecutor(4)
        self.gateway = self.start()

    def start(self) -> GatewayProcess:
        config = {"context": {"mode": "wind", "wind_at": self.wind_at}, "limits": {"reattach_s": 0}}
        options = {"context_length": LIMIT, "answers": TELLING.answers, "gates": str(self.gates)}
        return GatewayProcess(self.home, config=config, fake_options=options)

    def hold(self, gate: str) -> None:
        (self.gates / gate).touch()

    def let_go(self, gate: str) -> None:
        (self.gates / gate).unlink()

    def kill(self) -> None:
        """Kill the gateway, and start another one."""
        self.gateway.process.kill()
        self.gateway.stop()
        for gate in self.gates.iterdir():
            gate.unlink()
        self.gateway = self.start()

    def send(self, num_turns: int, question: str) -> httpx.Response:
        messages: list[dict[str, Any]] = [{"role": "system", "content": "You are terse."}]
        for number in range(num_turns):
            messages += [{"role": "user", "content": told(number)}, {"role": "assistant", "content": "I see."}]
        body = {"model": "tiny", "messages": [*messages, {"role": "user", "content": question}], "max_tokens": 200}
        return self.gateway.post("/v1/chat/completions", body)

    def begin(self, num_turns: int, question: str) -> "Future[httpx.Response]":
        return self.pool.submit(self.send, num_turns, question)

    @property
    def is_summarising(self) -> bool:
        """Whether a summary stands still at its gate."""
        running = self.gateway.get("/v1/mlxr/requests")["requests"]
        return any(each["protocol"] == "context" and sum(each["output_tokens"]) > _BEYOND_ANSWERS for each in running)

    @property
    def contexts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.gateway.get("/v1/mlxr/contexts")["contexts"]
        return found


@pytest.fixture
def start_server(home: Path, tmp_path: Path) -> Any:
    gates = tmp_path / "gates"
    gates.mkdir()
    started: list[Server] = []

    def start(*, wind_at: float) -> Server:
        started.append(Server(home, gates, wind_at=wind_at))
        return started[-1]

    yield start
    for server in started:
        for gate in gates.iterdir():
            gate.unlink()
        server.gateway.stop()
        server.pool.shutdown()


_BEYOND_ANSWERS: Final = 10
StartServer = Callable[..., Server]


def fails(sent: "Future[httpx.Response]") -> bool:
    """Whether a request has ended without an answer."""
    return isinstance(sent.exception(), httpx.HTTPError)


def test_a_gateway_that_is_killed_in_a_summary_tells_it_anew(start_server: StartServer) -> None:
    server = start_server(wind_at=1.0)
    server.hold(IN_SUMMARY)
    sent = server.begin(12, asked(0))
    wait_until(lambda: server.is_summarising, "it is told")
    server.kill()
    assert fails(sent)
    assert server.contexts == []
    answer = server.send(12, asked(0)).json()
    assert answer["choices"][0]["message"]["content"] == code(0)
    assert [each["id"] for each in server.contexts] == [answer["timings"]["context"]["id"]]


def test_a_gateway_that_is_killed_after_a_summary_does_not_tell_it_again(start_server: StartServer) -> None:
    server = start_server(wind_at=1.0)
    server.hold(IN_SUMMARY)
    sent = server.begin(12, asked(0))
    wait_until(lambda: server.is_summarising, "it is told")
    server.let_go(IN_SUMMARY)
    wait_until(lambda: server.contexts, "it is kept")
    (told_once,) = server.contexts
    server.kill()  # before the answer, or just behind it
    sent.exception()
    answer = server.send(12, asked(0)).json()
    assert answer["choices"][0]["message"]["content"] == code(0)
    context = answer["timings"]["context"]
    assert (context["id"], context["wound"]["ms"]) == (told_once["id"], 0)
    assert len(server.contexts) == 1


def test_a_gateway_that_is_killed_in_a_wind_ahead_winds_when_it_has_to(start_server: StartServer) -> None:
    server = start_server(wind_at=0.7)
    server.hold(IN_SUMMARY)
    assert server.send(8, "Go on.").status_code == 200
    wait_until(lambda: server.is_summarising, "it is told ahead")
    server.kill()
    answer = server.send(12, asked(0)).json()
    assert answer["choices"][0]["message"]["content"] == code(0)
    assert answer["timings"]["context"]["wound"]["ms"] > 0


def test_a_gateway_that_is_asked_to_stop_in_a_wind_ahead_does_not_wait_for_it(start_server: StartServer) -> None:
    server = start_server(wind_at=0.7)
    server.hold(IN_SUMMARY)
    assert server.send(8, "Go on.").status_code == 200
    wait_until(lambda: server.is_summarising, "it is told ahead")
    workers = server.gateway.workers()
    assert server.gateway.stop() == 0
    assert not any(worker.is_running() for worker in workers)
    server.gateway = server.start()
    assert server.contexts == []
