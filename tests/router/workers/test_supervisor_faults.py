"""The supervisor over real worker processes of the fake engine: loads that fail, workers that die, standby workers.

Every test ends with the fleet's own check: no process and no descriptor is left.
"""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from backends.fake.engine import FakeOptions
from backends.version import VERSION
from registry.engines import EngineKind
from router.errors import (
    EngineCrashedError,
    EngineTimeoutError,
    ModelLoadFailedError,
    RouterError,
    UnavailableError,
)
from router.workers import faults
from router.workers import fleet as worker_fleet
from router.workers.faults import OPEN_S
from tests.support.fake_fleet import FakeFleet, make_config, with_fleet, worker_processes

DEAD_AT_0 = FakeOptions(crash_at_token=0)


# ---- loads that fail ------------------------------------------------------------------------------------------------


@with_fleet(llamacpp=FakeOptions(load_error="tensor 'blk.0.attn_q' has the wrong shape", load_s=0.1))
async def test_a_failed_load_gives_the_engines_words_to_everybody_and_opens_the_breaker(fleet: FakeFleet) -> None:
    for _ in range(3):
        for _, error in await asyncio.gather(*(fleet.outcome() for _ in range(3))):
            assert isinstance(error, ModelLoadFailedError)
            assert "tensor 'blk.0.attn_q' has the wrong shape" in str(error)
    _, error = await fleet.outcome()
    assert isinstance(error, UnavailableError)
    assert "wrong shape" in str(error)
    assert error.retry_after_s is not None
    assert 0 < error.retry_after_s <= OPEN_S
    assert fleet.num_launches["llamacpp"] == 3
    assert await fleet.answer("m@mlx")


@with_fleet(llamacpp=[FakeOptions(crash_at_load=True), FakeOptions()])
async def test_a_crash_in_the_load_is_a_failed_load_and_the_next_request_tries_again(fleet: FakeFleet) -> None:
    _, error = await fleet.outcome()
    assert isinstance(error, ModelLoadFailedError)
    assert "exit code -6" in str(error)
    assert await fleet.answer()


@with_fleet(make_config(load_timeout_s=0.5, stop_timeout_s=0.1))
async def test_a_load_over_its_limit_is_given_up(fleet: FakeFleet) -> None:
    fleet.hold("load")
    _, error = await fleet.outcome()
    assert isinstance(error, EngineTimeoutError)
    fleet.let_go("load")
    fleet.set_config(make_config())
    assert await fleet.answer()


# ---- workers that die, hang or rave ---------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [0, 1, 5])
@with_fleet()
async def test_a_death_is_invisible_before_the_first_text_and_an_error_after_it(fleet: FakeFleet, token: int) -> None:
    expected = await fleet.answer("m@mlx")
    fleet.scripts["llamacpp"] = [FakeOptions(crash_at_token=token), FakeOptions()]
    text, error = await fleet.outcome("m@llamacpp")
    if token == 0:
        assert (text, error) == (expected, None)
    else:
        assert text == expected[:token]
        assert isinstance(error, EngineCrashedError)
    assert await fleet.answer("m@llamacpp") == expected
    assert fleet.num_launches["llamacpp"] == 2


@with_fleet(llamacpp=DEAD_AT_0)
async def test_a_request_that_kills_every_worker_is_retried_once(fleet: FakeFleet) -> None:
    _, error = await fleet.outcome()
    assert isinstance(error, EngineCrashedError)
    assert fleet.num_launches["llamacpp"] == 2


@with_fleet(llamacpp=[FakeOptions(decode_s=0.02), FakeOptions()])
async def test_a_killed_worker_ends_its_streams_and_the_next_request_gets_a_new_one(fleet: FakeFleet) -> None:
    started = [asyncio.Event() for _ in range(3)]

    async def stream(event: asyncio.Event) -> tuple[str, RouterError | None]:
        return await fleet.outcome(max_tokens=None, on_text=lambda _: event.set())

    streams = [asyncio.create_task(stream(each)) for each in started]
    for each in started:
        await each.wait()
    old_pid = fleet.pid
    fleet.kill(old_pid)
    for text, error in await asyncio.gather(*streams):
        assert text
        assert isinstance(error, EngineCrashedError)
    assert await fleet.answer()
    assert fleet.pid != old_pid


@with_fleet(llamacpp=[FakeOptions(hang_at_token=2), FakeOptions()])
async def test_a_hanging_worker_is_ended_and_the_queue_goes_on(fleet: FakeFleet) -> None:
    def on_text(text: str) -> None:
        if len(text) == 2:
            fleet.set_config(make_config(stall_timeout_s=0.2))

    text, error = await fleet.outcome(on_text=on_text)
    assert len(text) == 2
    assert isinstance(error, EngineTimeoutError)
    fleet.set_config(make_config())
    assert await fleet.answer()


@with_fleet()
async def test_a_worker_stopped_while_idle_is_found_by_the_next_request(fleet: FakeFleet) -> None:
    await fleet.answer()
    os.kill(fleet.pid, signal.SIGSTOP)
    fleet.set_config(make_config(stall_timeout_s=0.2))
    _, error = await fleet.outcome()
    assert isinstance(error, EngineTimeoutError)
    fleet.set_config(make_config())
    assert await fleet.answer()


@pytest.mark.parametrize("mode", ["garbage", "huge frame", "half frame", "flood"])
@with_fleet()
async def test_a_worker_that_breaks_the_protocol_costs_nobody_but_itself(fleet: FakeFleet, mode: str) -> None:
    fleet.scripts["llamacpp"] = [mode, FakeOptions()]
    assert await fleet.answer()
    assert fleet.num_launches["llamacpp"] == 2


@with_fleet()
async def test_a_child_that_a_dead_worker_left_behind_delays_nobody(fleet: FakeFleet, tmp_path: Path) -> None:
    flag = tmp_path / "end"
    fleet.scripts["llamacpp"] = [str(flag), FakeOptions()]
    try:
        assert await fleet.answer()
    finally:
        flag.touch()


@with_fleet(llamacpp="flood")
async def test_the_last_words_of_a_flooding_worker_are_in_the_error(fleet: FakeFleet) -> None:
    _, error = await fleet.outcome()
    assert isinstance(error, EngineCrashedError)
    assert "last words" in str(error)
    assert len(str(error)) < 2000


@with_fleet(llamacpp=["garbage at once", FakeOptions()])
async def test_garbage_instead_of_a_hello_is_a_failed_load(fleet: FakeFleet) -> None:
    _, error = await fleet.outcome()
    assert isinstance(error, ModelLoadFailedError)
    assert await fleet.answer()


# ---- standby --------------------------------------------------------------------------------------------------------


def num_standby(fleet: FakeFleet) -> int:
    return sum(worker.target is None and worker.state.value == "standby" for worker in fleet.supervisor.workers)


@with_fleet(make_config(standby=True))
async def test_a_standby_worker_takes_the_next_load_and_is_replaced(fleet: FakeFleet) -> None:
    await fleet.until(lambda: num_standby(fleet) == 2, "one per engine waits")
    pids = {worker.pid for worker in fleet.supervisor.workers if worker.engine.kind is EngineKind.LLAMACPP}
    await fleet.answer("m@llamacpp")
    assert {fleet.pid} == pids
    await fleet.until(lambda: num_standby(fleet) == 2, "the one that was used is replaced")
    fleet.set_config(make_config(standby=False))
    await fleet.until(lambda: len(fleet.supervisor.workers) == 1, "turned off, they end")


@with_fleet(make_config(standby=True), llamacpp=FakeOptions(decode_s=0.02))
async def test_the_next_standby_worker_lets_the_first_answer_go_first(
    fleet: FakeFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_fleet, "STANDBY_PATIENCE_S", 3600.0)
    await fleet.until(lambda: num_standby(fleet) == 2, "one per engine waits")
    launches: list[int] = []
    await fleet.outcome("m@llamacpp", on_text=lambda _: launches.append(fleet.num_launches["llamacpp"]))
    assert len(launches) > 1
    assert set(launches) == {1}
    await fleet.until(lambda: num_standby(fleet) == 2, "it comes when the answer has ended")


@with_fleet(make_config(standby=True), mlx=["garbage at once", FakeOptions()])
async def test_a_standby_engine_that_breaks_is_not_started_for_ever(fleet: FakeFleet) -> None:
    await fleet.until(lambda: [worker.engine.kind for worker in fleet.supervisor.workers] == ["llamacpp"], "it is gone")
    await fleet.answer("m@llamacpp")
    assert fleet.num_launches["mlx"] == 1
    await fleet.answer("m@mlx")
    await fleet.until(lambda: num_standby(fleet) == 2, "after a good load it is trusted again")


@with_fleet(make_config(standby=True))
async def test_the_death_of_a_standby_worker_is_not_the_models_fault(fleet: FakeFleet) -> None:
    await fleet.until(lambda: num_standby(fleet) == 2, "one per engine waits")
    for process in worker_processes():
        process.kill()
    assert await fleet.answer()


@with_fleet(make_config(), llamacpp=["another version", FakeOptions()])
async def test_a_worker_of_another_version_says_to_restart_the_server(fleet: FakeFleet) -> None:
    _, error = await fleet.outcome()
    assert isinstance(error, ModelLoadFailedError)
    assert str(error) == (
        f"mlxr 99.0 was installed while this server, mlxr {VERSION}, runs: restart it (`mlxr service restart`)"
    )
    assert fleet.supervisor.version_clash == str(error)
    await fleet.answer()
    assert fleet.supervisor.version_clash is None, "the old files are back"


@with_fleet(make_config(), llamacpp=["dies at once", FakeOptions()])
async def test_a_worker_that_newer_files_cannot_even_start_says_so_too(
    fleet: FakeFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "installed_version", lambda: "99.0")
    _, error = await fleet.outcome()
    assert isinstance(error, ModelLoadFailedError)
    assert "mlxr 99.0 was installed" in str(error)
