import asyncio

from router.config import Config
from router.status import Swap
from router.workers.fleet import Fleet
from router.workers.launch import WorkerLaunch
from router.workers.messages import StopModel
from router.workers.residency import StopReport
from router.workers.stop_commands import StopCommands, combined
from router.workers.waiting import WaitingQueue


def stop_commands() -> StopCommands:
    def launch_for(engine: str) -> WorkerLaunch:
        raise AssertionError(f"nothing is to be started here, and no {engine}")

    fleet = Fleet(launch_for=launch_for, post=lambda _message: None, saved_caches_dir=None, clock=lambda: 0.0)
    return StopCommands(fleet, WaitingQueue())


def unload(**fields: float) -> Swap:
    return Swap(at=1.0, event="unload", model="m", engine="mlx", **fields)  # type: ignore[arg-type]  # few of many


async def test_a_model_that_nobody_has_is_not_stopped() -> None:
    done: asyncio.Future[StopReport] = asyncio.get_running_loop().create_future()
    stop_commands().on_stop_model(StopModel("m", done), Config())
    assert done.result() == StopReport(stopped=False, swap=None)


async def test_a_command_ends_with_the_last_of_its_workers() -> None:
    commands = stop_commands()
    done: asyncio.Future[StopReport] = asyncio.get_running_loop().create_future()
    commands.add([1, 2], done)
    commands.on_worker_gone(3, None)
    commands.on_worker_gone(1, unload(freed_bytes=5))
    assert not done.done()
    commands.on_worker_gone(2, unload(freed_bytes=6))
    report = done.result()
    assert report.swap is not None
    assert (report.stopped, report.swap.freed_bytes) == (True, 11)


async def test_a_caller_that_has_gone_does_no_harm() -> None:
    commands = stop_commands()
    done: asyncio.Future[StopReport] = asyncio.get_running_loop().create_future()
    commands.add([1], done)
    done.cancel()
    commands.on_worker_gone(1, None)
    assert done.cancelled()


def test_what_nobody_measured_stays_out_of_the_sum() -> None:
    assert combined([]) is None
    both = combined([unload(unload_ms=3.0, available_after_bytes=1), unload(unload_ms=2.0, freed_bytes=7)])
    assert both == unload(unload_ms=3.0, freed_bytes=7)
