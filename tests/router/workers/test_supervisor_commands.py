"""Commands to the supervisor, over real worker processes of the fake engine: stopping a model, closing."""

import asyncio

import pytest

from router.errors import (
    ShuttingDownError,
    UnavailableError,
)
from tests.support.fake_fleet import FakeFleet, with_fleet, worker_processes


@with_fleet()
async def test_stop_unloads_an_idle_model_and_tells_what_it_freed(fleet: FakeFleet) -> None:
    assert not (await fleet.supervisor.stop_model("m")).stopped
    await fleet.answer()
    report = await fleet.supervisor.stop_model("m")
    assert report.stopped
    assert report.swap is not None
    assert report.swap.reason == "stopped by command"
    assert report.swap.freed_bytes is not None
    assert worker_processes() == []


@with_fleet()
async def test_stop_lets_running_answers_finish(fleet: FakeFleet) -> None:
    started = asyncio.Event()
    fleet.hold("decode")
    running = asyncio.create_task(fleet.answer(max_tokens=60, on_text=lambda _: started.set()))
    await started.wait()
    stopping = asyncio.create_task(fleet.supervisor.stop_model("m"))
    await fleet.until(lambda: fleet.state == "draining", "it drains")
    fleet.let_go("decode")
    assert (await stopping).stopped
    assert len(await running) == 60


@with_fleet()
async def test_stop_ends_a_load_and_tells_those_who_waited(fleet: FakeFleet) -> None:
    fleet.hold("load")
    waiting = asyncio.create_task(fleet.outcome())
    await fleet.until(lambda: fleet.state == "loading", "it loads")
    report = await fleet.supervisor.stop_model("m")
    assert report.stopped
    assert isinstance((await waiting)[1], UnavailableError)


@with_fleet()
async def test_stop_ends_a_process_that_has_not_even_started(fleet: FakeFleet) -> None:
    waiting = asyncio.create_task(fleet.outcome())
    while fleet.holder is None:  # noqa: ASYNC110 - looked for in each turn of the loop: it soon goes on
        await asyncio.sleep(0)
    assert fleet.state == "starting"
    assert (await fleet.supervisor.stop_model("m")).stopped
    assert isinstance((await waiting)[1], UnavailableError)
    assert await fleet.answer()


@with_fleet()
async def test_close_ends_running_and_waiting_requests_with_one_error_each(fleet: FakeFleet) -> None:
    started = asyncio.Event()
    fleet.hold("token-3")
    running = asyncio.create_task(fleet.outcome(max_tokens=None, on_text=lambda _: started.set()))
    await started.wait()
    waiting = asyncio.create_task(fleet.outcome("m@mlx"))
    await fleet.until(lambda: len(fleet.supervisor.waiting) == 1, "it waits")
    await fleet.close()
    text, error = await running
    assert text
    assert isinstance(error, ShuttingDownError)
    assert isinstance((await waiting)[1], ShuttingDownError)
    assert isinstance((await fleet.outcome())[1], ShuttingDownError)
    with pytest.raises(ShuttingDownError):
        await fleet.supervisor.stop_model("m")


@with_fleet()
async def test_close_in_the_middle_of_a_load_does_not_wait_for_it(fleet: FakeFleet) -> None:
    fleet.hold("load")
    waiting = asyncio.create_task(fleet.outcome())
    await fleet.until(lambda: fleet.state == "loading", "it loads")
    await fleet.close()
    assert isinstance((await waiting)[1], ShuttingDownError)
