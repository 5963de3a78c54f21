"""What a real supervisor with real processes does when memory gets short."""

import asyncio
from typing import Any

import msgspec
import pytest

from backends.fake.engine import FakeOptions
from backends.wire.request import Priority
from router.conditions import PressureLevel
from router.config import Config
from router.config.memory import MemoryConfig
from router.errors import InsufficientMemoryError, RouterError
from router.placement import keep_alive
from router.status.memory import MemoryRelief
from tests.support.fake_fleet import FakeFleet, make_config, with_fleet
from tests.support.waiting import WITHIN_S

NORMAL, WARNING, CRITICAL, EMERGENCY = PressureLevel
SLOW = FakeOptions(decode_s=0.02)


def config_with(*, standby: bool = False, **memory: float | bool) -> Config:
    return msgspec.structs.replace(make_config(standby=standby), memory=msgspec.convert(memory, MemoryConfig))


@pytest.fixture(autouse=True)
def no_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that has just been loaded goes as soon as it is idle."""
    monkeypatch.setattr(keep_alive, "SHORT_STAY_S", 0.0)


async def begun(fleet: FakeFleet, **request: Any) -> "asyncio.Task[tuple[str, RouterError | None]]":
    """Start an answer, and wait for its first text."""
    seen = asyncio.Event()
    task = asyncio.create_task(fleet.outcome(on_text=lambda _: seen.set(), **request))
    await seen.wait()
    return task


async def reliefs(fleet: FakeFleet, number: int) -> list[MemoryRelief]:
    await fleet.until(lambda: len(fleet.supervisor.reliefs) >= number, "the workers have given back")
    return list(fleet.supervisor.reliefs)


@with_fleet()
async def test_a_warning_drops_half_of_the_kept_caches_and_nothing_is_done_before(fleet: FakeFleet) -> None:
    for number in range(4):
        await fleet.answer(prompts=(f"{number} something else each time",))
    assert fleet.supervisor.reliefs == ()
    fleet.conditions.set_pressure(WARNING, "72% of the memory is in use")
    (relief,) = await reliefs(fleet, 1)
    assert (relief.pressure, relief.model, relief.engine, relief.num_caches) == ("warning", "m", "llamacpp", 2)
    fleet.conditions.set_pressure(CRITICAL, "90% of the memory is in use")
    await fleet.until(lambda: fleet.holder is None, "the idle model is unloaded")
    assert fleet.supervisor.swaps[-1].reason == "memory pressure (critical): 90% of the memory is in use"
    fleet.conditions.set_pressure(NORMAL, "50% of the memory is in use")
    assert await fleet.answer() == await fleet.answer(), "and is back on demand"


@with_fleet(llamacpp=SLOW)
async def test_a_critical_level_drops_all_kept_caches_and_lets_answers_run_to_their_end(fleet: FakeFleet) -> None:
    for number in range(3):
        await fleet.answer(prompts=(f"{number} something else each time",), max_tokens=2)
    running = await begun(fleet, max_tokens=60)
    pid = fleet.pid
    fleet.conditions.set_pressure(CRITICAL, "90%")
    (relief,) = await reliefs(fleet, 1)
    assert (relief.num_caches, relief.pid) == (3, pid)
    text, error = await running
    assert (len(text), error) == (60, None)
    await fleet.until(lambda: fleet.holder is None, "the model is idle, and goes")
    assert await fleet.answer(max_tokens=3), "what is asked for is loaded all the same"


@with_fleet(config_with(load_wait_s=0.3), llamacpp=SLOW)
async def test_an_emergency_serves_nobody_else_and_ends_no_answer(fleet: FakeFleet) -> None:
    running = await begun(fleet, max_tokens=80)
    fleet.conditions.set_pressure(EMERGENCY, "critical for 60 s; 90% of the memory is in use")
    with pytest.raises(InsufficientMemoryError, match="'m' is not loaded, because memory is short") as refused:
        await fleet.answer()
    assert refused.value.retry_after_s == 30
    assert not running.done(), "the limit is far shorter than the answer"
    text, error = await running
    assert (len(text), error) == (80, None)
    await fleet.until(lambda: fleet.holder is None, "the model goes with its last answer")
    assert (fleet.supervisor.swaps[-1].reason or "").startswith("memory pressure (emergency): critical for 60 s")
    with pytest.raises(InsufficientMemoryError):
        await fleet.answer()
    waiting = asyncio.create_task(fleet.answer())
    await fleet.until(lambda: bool(fleet.supervisor.waiting), "it waits")
    fleet.conditions.set_pressure(CRITICAL, "86%")
    assert await waiting, "who still waits is served when the emergency is over"


@with_fleet()
async def test_a_load_is_given_up_in_an_emergency_and_its_request_waits(fleet: FakeFleet) -> None:
    fleet.hold("load")
    waiting = asyncio.create_task(fleet.answer())
    await fleet.until(lambda: fleet.state == "loading", "it loads")
    fleet.conditions.set_pressure(EMERGENCY, "the system says so")
    await fleet.until(lambda: fleet.holder is None, "the load is given up")
    fleet.let_go("load")
    fleet.conditions.set_pressure(NORMAL, "")
    assert await waiting


@with_fleet(config_with(standby=True))
async def test_standby_workers_go_and_come_back(fleet: FakeFleet) -> None:
    await fleet.until(lambda: len(fleet.supervisor.workers) == 2, "one for each engine")
    fleet.conditions.set_pressure(CRITICAL, "90%")
    await fleet.until(lambda: not fleet.supervisor.workers, "they go")
    fleet.conditions.set_pressure(WARNING, "75%")
    await fleet.until(lambda: len(fleet.supervisor.workers) == 2, "they come back")


@with_fleet()
async def test_background_work_waits_while_memory_is_short(fleet: FakeFleet) -> None:
    fleet.conditions.set_pressure(CRITICAL, "90%")
    waiting = asyncio.create_task(fleet.answer(priority=Priority.BACKGROUND))
    assert await fleet.answer(), "interactive work goes on"
    assert not waiting.done()
    fleet.conditions.set_pressure(WARNING, "75%")
    assert await waiting


@with_fleet(llamacpp=SLOW)
async def test_what_a_cancelled_answer_leaves_is_kept_unless_memory_is_short(
    fleet: FakeFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keep_alive, "SHORT_STAY_S", 1e6)

    async def cancelled(prompt: str) -> None:
        task = await begun(fleet, prompts=(prompt,), max_tokens=500)
        task.cancel()
        await asyncio.wait({task})
        await fleet.until(lambda: not fleet.supervisor.is_answering, "it is given up")

    await fleet.answer(max_tokens=1, prompts=("first",))
    fleet.conditions.set_pressure(WARNING, "75%")
    await reliefs(fleet, 1)
    await cancelled("one that is given up")
    fleet.conditions.set_pressure(NORMAL, "50%")
    await fleet.answer(max_tokens=1, prompts=("second",))
    await cancelled("another that is given up")
    fleet.conditions.set_pressure(CRITICAL, "90%")
    assert [relief.num_caches for relief in await reliefs(fleet, 2)] == [1, 2]


@with_fleet(config_with(aggressive_cleanup=True))
async def test_a_worker_gives_back_after_each_answer_where_that_is_wanted(fleet: FakeFleet) -> None:
    for number in range(2):
        await fleet.answer(prompts=(f"{number} of them",))
        assert [each.pressure for each in await reliefs(fleet, number + 1)] == ["normal"] * (number + 1)
    assert [each.num_caches for each in fleet.supervisor.reliefs] == [1, 1]
    assert fleet.holder is not None


@with_fleet(llamacpp=FakeOptions(ballast_bytes=40 << 20))
async def test_an_unload_for_memory_tells_what_it_freed(fleet: FakeFleet) -> None:
    await fleet.answer()
    fleet.conditions.set_pressure(CRITICAL, "90%")
    await fleet.until(lambda: fleet.holder is None, "it goes")
    assert (fleet.supervisor.swaps[-1].freed_bytes or 0) > 40 << 20
    async with asyncio.timeout(WITHIN_S):
        assert await fleet.answer()
