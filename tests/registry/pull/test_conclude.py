"""What follows a transfer while the pull still counts as running: told, listed, stopped, failed, done anew."""

import asyncio
from pathlib import Path

from registry.engines import EngineKind
from registry.errors import PullUnfinishedError
from registry.pull import PullHandle, PullManager, PullResult
from registry.pull.events import Converting, Done, Failed, Registered, Stopped
from tests.support.pull_bench import final_files, payload, small_puller
from tests.support.stub_hub import StubHub

REPO = "org/m-GGUF"
NAME = "m-Q4_K_M.gguf"
DATA = payload(1, 30_000)


class Conclusion:
    """Tells two events, then waits until it is let go on."""

    def __init__(self) -> None:
        self.num_begun = 0
        self.is_reached = asyncio.Event()
        self.goes_on = asyncio.Event()
        self.error: PullUnfinishedError | None = None

    async def __call__(self, handle: PullHandle, result: PullResult) -> None:
        self.num_begun += 1
        handle.tell(Registered(model="m", engines=(EngineKind.LLAMACPP,), path=str(result.paths[0])))
        for share in (0.0, 0.5):
            handle.tell(Converting(step="converting", share=share))
        self.is_reached.set()
        await self.goes_on.wait()
        if self.error is not None:
            raise self.error


async def test_late_followers_hear_of_it_and_the_end_comes_after_it(tmp_path: Path) -> None:
    conclusion = Conclusion()
    with StubHub({REPO: {NAME: DATA}}) as hub:
        async with small_puller(hub, tmp_path) as puller, PullManager(puller, conclude=conclusion) as manager:
            handle = await manager.start(REPO)
            await conclusion.is_reached.wait()
            assert (await manager.get(handle.id)).record.state == "running"
            events = handle.events()
            heard = [await anext(events) for _ in range(4)]
            assert heard[2:] == [
                Registered(model="m", engines=(EngineKind.LLAMACPP,), path=str(tmp_path / "models" / REPO / NAME)),
                Converting(step="converting", share=0.5),
            ]
            conclusion.goes_on.set()
            assert isinstance([event async for event in events][-1], Done)
            assert (await manager.get(handle.id)).record.state == "done"


async def test_a_failure_has_its_own_code_and_keeps_the_files(tmp_path: Path) -> None:
    conclusion = Conclusion()
    conclusion.error = PullUnfinishedError("conversion_failed", "it was not converted")
    conclusion.goes_on.set()
    with StubHub({REPO: {NAME: DATA}}) as hub:
        async with small_puller(hub, tmp_path) as puller, PullManager(puller, conclude=conclusion) as manager:
            handle = await manager.start(REPO)
            events = [event async for event in handle.events()]
            record = (await manager.get(handle.id)).record
    assert events[-1] == Failed(code="conversion_failed", message="it was not converted")
    assert (record.state, record.error_code) == ("failed", "conversion_failed")
    assert final_files(tmp_path) == {f"{REPO}/{NAME}": DATA}


async def test_it_is_stopped_with_the_pull_and_done_anew_without_a_transfer(tmp_path: Path) -> None:
    conclusion = Conclusion()
    with StubHub({REPO: {NAME: DATA}}) as hub:
        async with small_puller(hub, tmp_path) as puller, PullManager(puller, conclude=conclusion) as manager:
            handle = await manager.start(REPO)
            await conclusion.is_reached.wait()
            await manager.pause(handle.id)
            assert [event async for event in handle.events()][-1] == Stopped(state="paused")
            hub.served.clear()
            conclusion.goes_on.set()
            await (await manager.resume(handle.id)).wait()
        assert hub.served == []
    assert conclusion.num_begun == 2
