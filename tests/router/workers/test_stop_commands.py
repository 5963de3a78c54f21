import asyncio

from router.status import Swap
from router.workers.residency import StopReport
from router.workers.stop_commands import StopCommands, combined


def unload(**fields: float) -> Swap:
    return Swap(at=1.0, event="unload", model="m", engine="mlx", **fields)  # type: ignore[arg-type]  # few of many


async def test_a_command_ends_with_the_last_of_its_workers() -> None:
    commands = StopCommands()
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
    commands = StopCommands()
    done: asyncio.Future[StopReport] = asyncio.get_running_loop().create_future()
    commands.add([1], done)
    done.cancel()
    commands.on_worker_gone(1, None)
    assert done.cancelled()


def test_what_nobody_measured_stays_out_of_the_sum() -> None:
    assert combined([]) is None
    both = combined([unload(unload_ms=3.0, available_after_bytes=1), unload(unload_ms=2.0, freed_bytes=7)])
    assert both == unload(unload_ms=3.0, freed_bytes=7)
