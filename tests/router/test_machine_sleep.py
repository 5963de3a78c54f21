"""The machine's sleep, told by an object like logind's on a private bus, over real workers of the fake engine."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

pytest.importorskip("dbus_fast")

from router.config import Config, CurrentConfig
from router.config.lifecycle import LifecycleConfig
from router.sleep.logind import LogindNotices
from router.suspension import BEFORE_SLEEP, follow_sleep
from tests.support.fake_fleet import make_config
from tests.support.fake_logind import Logind, private_bus, served_logind
from tests.support.fake_openai import FakeFront, with_front
from tests.support.waiting import until

pytestmark = pytest.mark.skipif(shutil.which("dbus-daemon") is None, reason="Debian's package dbus is not installed")


def sleeping_config(**lifecycle: Any) -> Config:
    return replace(make_config(), lifecycle=LifecycleConfig(unload_before_sleep=True, **lifecycle))


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A bus of the test's own."""
    with private_bus(tmp_path) as address:
        yield address


@contextlib.asynccontextmanager
async def followed(front: FakeFront, address: str) -> AsyncIterator[Logind]:
    """Let a front follow a machine's sleep."""
    current: CurrentConfig = front.fleet.current_config
    async with served_logind(address) as logind:
        following = asyncio.create_task(
            follow_sleep(
                front.services.suspension, current, lambda on_sleep, on_wake: LogindNotices(on_sleep, on_wake, address)
            )
        )
        try:
            await until(lambda: logind.is_held, "a lock is taken")
            yield logind
        finally:
            following.cancel()
            await asyncio.wait([following])
        await until(lambda: not logind.is_held, "no lock is left")


async def until_waiting(front: FakeFront, num: int) -> None:
    await front.fleet.until(lambda: len(front.supervisor.waiting) == num, f"{num} requests wait")


@with_front(config=sleeping_config(), keepalive_s=0.05)
async def test_what_comes_before_the_sleep_waits_until_the_machine_is_awake(front: FakeFront, address: str) -> None:
    await front.chat()
    async with followed(front, address) as logind:
        logind.prepare_for_sleep(True)
        await until(lambda: not logind.is_held, "the machine is let go")
        assert (front.supervisor.workers, front.fleet.conditions.suspended) == ((), BEFORE_SLEEP)
        plain = asyncio.create_task(front.chat())
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True, "max_tokens": 3}
        async with front.client.stream("POST", "/v1/chat/completions", json=body) as response:
            lines = response.aiter_lines()
            assert (await anext(lines)).startswith(":"), "a stream that waits is kept alive"
            await until_waiting(front, 2)
            assert front.supervisor.workers == ()
            logind.prepare_for_sleep(False)
            objects = [line async for line in lines if line.startswith("data: ")]
        assert objects[-1] == "data: [DONE]"
        assert (await plain).status_code == 200
        await until(lambda: logind.is_held, "the next sleep waits again")
    assert front.fleet.conditions.suspended is None


@with_front(config=sleeping_config())
async def test_a_load_that_has_begun_is_taken_up_again_after_the_sleep(front: FakeFront, address: str) -> None:
    front.fleet.hold("load")
    waiting = asyncio.create_task(front.chat())
    await front.fleet.until(lambda: front.fleet.state == "loading", "it loads")
    async with followed(front, address) as logind:
        logind.prepare_for_sleep(True)
        await until(lambda: not logind.is_held, "the machine is let go")
        assert front.supervisor.workers == ()
        await until_waiting(front, 1)
        front.fleet.let_go("load")
        logind.prepare_for_sleep(False)
        assert (await waiting).status_code == 200


@with_front(config=sleeping_config())
async def test_a_sleep_that_is_taken_back_cuts_nobody_and_lets_in_who_waits(front: FakeFront, address: str) -> None:
    await front.chat()
    front.fleet.hold("decode")
    running = asyncio.create_task(front.chat(max_tokens=50))
    await front.fleet.until(lambda: front.supervisor.is_answering, "an answer runs")
    async with followed(front, address) as logind:
        logind.prepare_for_sleep(True)
        await front.fleet.until(lambda: front.fleet.state == "draining", "it drains")
        late = asyncio.create_task(front.chat())
        await until_waiting(front, 1)
        logind.prepare_for_sleep(False)
        await until(lambda: len(logind.readers) == 2, "the next sleep waits again")
        assert not front.fleet.conditions.is_holding
        front.fleet.let_go("decode")
        assert [(await each).status_code for each in (running, late)] == [200, 200]


@with_front(config=sleeping_config())
async def test_the_model_comes_back_as_it_was_loaded(front: FakeFront, address: str) -> None:
    headers = {"X-Mlxr-Load": "context_length=512,threads=1"}
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
    assert (await front.client.post("/v1/chat/completions", json=body, headers=headers)).status_code == 200
    assert front.fleet.holder is not None
    before = front.fleet.holder.target
    async with followed(front, address) as logind:
        logind.prepare_for_sleep(True)
        await until(lambda: not logind.is_held, "the machine is let go")
        logind.prepare_for_sleep(False)
        await front.fleet.until(lambda: front.fleet.state == "ready", "it is loaded again")
    assert front.fleet.holder is not None
    assert front.fleet.holder.target == before
    (status,) = [each for each in (await front.client.get("/v1/mlxr/status")).json()["workers"] if each["model"]]
    assert status["load"] == {"context_length": 512, "threads": 1}


@with_front(config=sleeping_config())
async def test_who_was_suspended_before_stays_so_and_a_command_ends_the_wait(front: FakeFront, address: str) -> None:
    await front.chat()
    await front.client.post("/v1/mlxr/suspend")
    async with followed(front, address) as logind:
        for num_locks in (2, 3):
            logind.prepare_for_sleep(True)
            await until(lambda: not logind.is_held, "the machine is let go")
            assert front.fleet.conditions.suspended == BEFORE_SLEEP
            if num_locks == 2:
                logind.prepare_for_sleep(False)
                await until(lambda: len(logind.readers) == 2 and logind.is_held, "it is awake")
                assert front.fleet.conditions.suspended == "suspended by command"
                assert front.supervisor.workers == ()
        waiting = asyncio.create_task(front.chat())
        await until_waiting(front, 1)
        assert json.loads((await front.client.post("/v1/mlxr/resume")).text)["resumed"]
        assert (await waiting).status_code == 200


@with_front(config=sleeping_config())
async def test_who_is_suspended_by_a_command_while_the_machine_is_let_go_stays_so(
    front: FakeFront, address: str
) -> None:
    await front.chat()
    async with followed(front, address) as logind:
        logind.prepare_for_sleep(True)
        await until(lambda: not logind.is_held, "the machine is let go")
        await front.client.post("/v1/mlxr/suspend")
        logind.prepare_for_sleep(False)
        await until(lambda: len(logind.readers) == 2 and logind.is_held, "it is awake")
        assert front.fleet.conditions.suspended == "suspended by command"
        assert front.supervisor.workers == ()
        assert not front.fleet.conditions.is_holding
        assert json.loads((await front.client.post("/v1/mlxr/resume")).text)["loading"]
        await front.fleet.until(lambda: front.fleet.state == "ready", "what was loaded before is loaded again")


@with_front(config=sleeping_config(reload_on_wake=False))
async def test_without_reload_on_wake_the_next_request_loads(front: FakeFront, address: str) -> None:
    await front.chat()
    async with followed(front, address) as logind:
        logind.prepare_for_sleep(True)
        await until(lambda: not logind.is_held, "the machine is let go")
        logind.prepare_for_sleep(False)
        await until(lambda: logind.is_held, "it is awake")
        assert (front.supervisor.workers, front.supervisor.waiting) == ((), ())
        assert (await front.chat()).status_code == 200


@with_front(config=replace(make_config(), lifecycle=LifecycleConfig(unload_before_sleep=False)))
async def test_where_nothing_is_unloaded_nobody_waits(front: FakeFront, address: str) -> None:
    await front.chat()
    async with followed(front, address) as logind:
        logind.prepare_for_sleep(True)
        await until(lambda: not logind.is_held, "the machine is let go")
        assert front.fleet.state == "ready"
        assert (await front.chat()).status_code == 200
