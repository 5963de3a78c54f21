"""Memory that really gets short: a gateway with its workers in a control group, and a program beside that takes it.

The fake engine's workers hold real memory; so does the program. The second test needs no control group: there mlxr's
own budget is what gets used up.
"""

import concurrent.futures
import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backends.machine.current import current_platform
from tests.support.gateway_process import GatewayProcess, sse_events
from tests.support.memory_group import Ballast, MemoryGroup, memory_group
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

MIB = 1 << 20
LIMIT_BYTES = 1000 * MIB
MEMORY = {"tier": "desktop", "interval_s": 0.1, "calm_s": 1.0, "emergency_after_s": 1.0, "load_wait_s": 0.5}
ASKED = {"model": "tiny", "messages": [{"role": "user", "content": "go on"}], "max_tokens": 1}
NUM_TOKENS = 320
HELD_AT = 300


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    """A worker of 150 MiB that answers slowly, and stands still near its answer's end until it is let go."""
    gates = tmp_path / "gates"
    gates.mkdir()
    (gates / f"token-{HELD_AT}").touch()
    return {"ballast_bytes": 150 * MIB, "decode_s": 0.03, "gates": str(gates)}


@contextlib.contextmanager
def serving(home: Path, options: dict[str, Any], group: MemoryGroup | None, **memory: Any) -> Iterator[GatewayProcess]:
    gateway = GatewayProcess(home, config={"memory": MEMORY | memory}, fake_options=options, group=group)
    try:
        yield gateway
    finally:
        assert gateway.stop() == 0


def ask(gateway: GatewayProcess, content: str = "go on") -> Any:
    return gateway.post("/v1/chat/completions", ASKED | {"messages": [{"role": "user", "content": content}]})


def await_pressure(gateway: GatewayProcess, *levels: str) -> None:
    wait_until(lambda: gateway.status()["memory"]["pressure"] in levels, f"the pressure is one of {levels}")


def held(gateway: GatewayProcess) -> int:
    """Return what its processes hold at this moment, in bytes; its own reading may be from before the model's load."""
    each = [
        current_platform().footprint_of(pid) for pid in (gateway.pid, *(worker.pid for worker in gateway.workers()))
    ]
    found = [footprint for footprint in each if footprint is not None]
    mapped_bytes = max(each.rss_bytes - each.anonymous_bytes for each in found)
    return mapped_bytes + sum(each.anonymous_bytes for each in found)


def streamed(gateway: GatewayProcess) -> list[str]:
    """Read an answer to its end; return its events."""
    body = ASKED | {"stream": True, "max_tokens": NUM_TOKENS, "ignore_eos": True}
    with gateway.client() as client, client.stream("POST", "/v1/chat/completions", json=body) as response:
        assert response.status_code == 200
        return list(sse_events(response.iter_lines()))


def walk_to_an_emergency_and_back(
    gateway: GatewayProcess, options: dict[str, Any], take: Callable[[float], None]
) -> None:
    """Take memory until mlxr unloads its model, while an answer runs; give it back; ask again.

    Args:
        take: Makes the share in use this much.
    """
    for number in range(4):
        assert ask(gateway, f"{number} is another prompt").status_code == 200
    assert gateway.status()["memory"]["pressure"] == "normal"
    assert gateway.status()["memory"]["reliefs"] == []
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        answer = thread.submit(streamed, gateway)
        wait_until(lambda: gateway.status()["workers"][0]["num_running"] == 1, "it runs")
        take(0.78)
        await_pressure(gateway, "warning")
        wait_until(lambda: gateway.status()["memory"]["reliefs"], "half of the caches are given back")
        take(0.92)
        await_pressure(gateway, "critical", "emergency")
        wait_until(lambda: len(gateway.status()["memory"]["reliefs"]) >= 2, "the other caches are given back")
        await_pressure(gateway, "emergency")
        refused = ask(gateway)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.json()["error"]["code"] == "insufficient_memory"
        assert not answer.done()
        Path(options["gates"], f"token-{HELD_AT}").unlink()
        events = answer.result()
    assert events[-1] == "[DONE]"
    text = "".join(json.loads(event)["choices"][0]["delta"].get("content") or "" for event in events[:-1])
    assert len(text) == NUM_TOKENS, "the stream was served to its last token"
    wait_until(lambda: not gateway.status()["workers"], "the model goes with its last answer")
    status = gateway.status()
    assert [relief["pressure"] for relief in status["memory"]["reliefs"][:2]] == ["warning", "critical"]
    assert [relief["num_caches"] for relief in status["memory"]["reliefs"][:2]] == [2, 2]
    unload = status["swaps"][-1]
    assert unload["event"] == "unload"
    assert unload["reason"].startswith("memory pressure (emergency): ")
    assert unload["freed_bytes"] > 150 * MIB
    take(0.4)
    await_pressure(gateway, "normal")
    assert ask(gateway).status_code == 200, "and it is back on demand"
    assert "Traceback" not in (gateway.home / "stderr.txt").read_text()


def test_in_a_control_group_the_model_goes_in_order_and_comes_back(home: Path, options: dict[str, Any]) -> None:
    with (
        memory_group(LIMIT_BYTES) as group,
        contextlib.closing(Ballast(group)) as ballast,
        serving(home, options, group) as gateway,
    ):
        held = [1]
        ballast.hold(1)

        def take(share: float) -> None:
            """Fill the group up to a share of its limit."""
            used = LIMIT_BYTES - gateway.status()["memory_available_bytes"]
            held.append(max(1, held[-1] + int(share * LIMIT_BYTES) - used))
            ballast.hold(held[-1])

        assert gateway.status()["memory_total_bytes"] == LIMIT_BYTES
        walk_to_an_emergency_and_back(gateway, options, take)


def test_over_its_own_budget_it_does_the_same_whatever_the_machine_has(home: Path, options: dict[str, Any]) -> None:
    """Nobody takes anything here: what mlxr has is a larger share of a smaller budget."""
    config = home / "config" / "server.yaml"

    def take(share: float) -> None:
        wait_until(lambda: gateway.status()["memory"]["own_bytes"] >= 0.97 * held(gateway), "it has read what it holds")
        status = gateway.status()
        own = status["memory"]["own_bytes"] + (0 if status["workers"] else 200 * MIB)
        config.write_text(json.dumps({"memory": MEMORY | {"budget_bytes": int(own / share)}}))

    with serving(home, options, None, budget_bytes=8000 * MIB) as gateway:
        walk_to_an_emergency_and_back(gateway, options, take)
