"""A model over two local ranks, behind a real gateway: its answers, and what becomes of a rank that dies or stops."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths
from tests.support.gateway_process import GatewayProcess, sse_events
from tests.support.processes import running_children
from tests.support.waiting import WITHIN_S, wait_until

pytestmark = pytest.mark.slow

MODULE = "backends.mlx.ranks.process"
STALL_S = 20
"""Far above a step of the tiny model, and waited for once."""
CHAT: dict[str, Any] = {
    "model": "spread@mlx",
    "messages": [{"role": "user", "content": "hello fox"}],
    "max_tokens": 6,
    "temperature": 0,
    "ignore_eos": True,
}
LONG = CHAT | {"max_tokens": 4000, "stream": True}


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, make_home: Callable[[Path], Path], tooled: tuple[Path, Path]
) -> Iterator[GatewayProcess]:
    home = make_home(tmp_path_factory.mktemp("ranks") / "home")
    with Registry(Paths.under(home).registry_db) as registry:
        for path in tooled:
            register_path(registry, path, name="spread")
        registry.models.change_settings("spread", {"hosts": ("local", "local")})
    gateway = GatewayProcess(home, config={"limits": {"stall_timeout_s": STALL_S, "load_timeout_s": WITHIN_S}})
    yield gateway
    gateway.stop()


def ranks_of(gateway: GatewayProcess) -> list[psutil.Process]:
    """Return the processes of the ranks beside the workers."""
    return [rank for worker in gateway.workers() for rank in running_children(MODULE, pid=worker.pid)]


def answer(gateway: GatewayProcess, body: dict[str, Any] = CHAT) -> Any:
    response = gateway.post("/v1/chat/completions", body)
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]["message"]["content"]


def are_gone(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=WITHIN_S)[1]


def test_answers_are_those_of_one_process(gateway: GatewayProcess) -> None:
    edited = CHAT | {"logprobs": True, "top_logprobs": 2, "frequency_penalty": 0.5}
    spread = [answer(gateway), answer(gateway, edited)]
    (rank,) = ranks_of(gateway)
    other = {"model": "spread@llamacpp"}
    assert spread == [answer(gateway, CHAT | other), answer(gateway, edited | other)]
    assert are_gone([rank]), "unloading a model ends its ranks"


def test_a_killed_rank_ends_the_stream_with_an_error_and_the_group_is_built_anew(gateway: GatewayProcess) -> None:
    with gateway.client() as client, client.stream("POST", "/v1/chat/completions", json=LONG) as response:
        events = sse_events(response.iter_lines())
        next(events)
        (worker,), (rank,) = gateway.workers(), ranks_of(gateway)
        rank.kill()
        seen = list(events)
    error = json.loads(seen[-1])["error"]
    assert error["code"] == "engine_crashed"
    assert are_gone([worker, rank])
    assert answer(gateway)
    (other,) = ranks_of(gateway)
    assert other.pid != rank.pid


def test_a_rank_that_dies_while_nothing_runs_takes_the_group_with_it_and_no_request(gateway: GatewayProcess) -> None:
    assert answer(gateway)
    (worker,), (rank,) = gateway.workers(), ranks_of(gateway)
    rank.kill()
    assert are_gone([worker, rank])
    assert answer(gateway)


def test_a_rank_that_stands_still_is_killed_with_its_group_and_the_request_ends_with_504(
    gateway: GatewayProcess,
) -> None:
    assert answer(gateway)
    (worker,), (rank,) = gateway.workers(), ranks_of(gateway)
    rank.suspend()
    response = gateway.post("/v1/chat/completions", CHAT)
    assert response.status_code == 504
    assert response.json()["error"]["code"] == "engine_timeout"
    assert are_gone([worker, rank]), "also one that is stopped"
    assert answer(gateway)


def test_a_rank_that_is_slow_slows_the_answer_and_changes_nothing(gateway: GatewayProcess) -> None:
    expected = answer(gateway)
    (rank,) = ranks_of(gateway)
    with gateway.client() as client:
        body = CHAT | {"stream": True}
        with client.stream("POST", "/v1/chat/completions", json=body) as response:
            text = "".join(_texts(sse_events(response.iter_lines()), rank))
    assert text == expected
    assert ranks_of(gateway) == [rank]


def _texts(events: Iterator[str], rank: psutil.Process) -> Iterator[str]:
    """Yield the texts of a stream whose second rank stands still for a moment after each."""
    for event in events:
        if event == "[DONE]":
            return
        rank.suspend()
        wait_until(lambda: rank.status() == psutil.STATUS_STOPPED, "the rank stands still")
        rank.resume()
        for choice in json.loads(event)["choices"]:
            yield choice["delta"].get("content") or ""


def test_no_rank_outlives_its_worker(gateway: GatewayProcess) -> None:
    assert answer(gateway)
    (worker,), (rank,) = gateway.workers(), ranks_of(gateway)
    rank.suspend()  # it can do nothing for itself
    worker.kill()
    assert are_gone([worker, rank])


def test_what_does_not_go_with_hosts_is_refused_by_name(gateway: GatewayProcess) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    body = CHAT | {"messages": [{"role": "user", "content": [picture]}]}
    assert gateway.post("/v1/chat/completions", body).status_code == 400
