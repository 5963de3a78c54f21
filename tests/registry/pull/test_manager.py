import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from registry.engines import PullEngines
from registry.errors import PullConflictError, PullNotFoundError
from registry.pull import PullHandle, PullManager, Wishes, find_orphans, remove_orphans
from registry.pull.events import Done, FileStarted, Planned, Progress, Stopped, Waiting
from registry.pull.folder import PullFolder
from registry.store import Registry
from tests.support.hub_faults import Fault
from tests.support.pull_bench import final_files, hidden_files, payload, small_puller
from tests.support.stub_hub import StubHub

REPO = "org/m-GGUF"
NAME = "m-Q4_K_M.gguf"
DATA = payload(1, 300_000)
STALL = Fault("stall", after=20_000, is_forever=True)


@asynccontextmanager
async def managing(hub: StubHub, root: Path, **options: float) -> AsyncIterator[PullManager]:
    async with small_puller(hub, root) as puller, PullManager(puller, poll_s=0.01, **options) as manager:  # type: ignore[arg-type]
        yield manager


async def begun(manager: PullManager) -> PullHandle:
    """A pull of which bytes have come."""
    handle = await manager.start(REPO)
    async with asyncio.timeout(10):
        async for event in handle.events():
            if isinstance(event, Progress) and event.done_bytes:
                break
    return handle


@pytest.fixture
def hub() -> Iterator[StubHub]:
    with StubHub({REPO: {NAME: DATA}}) as hub:
        yield hub


@pytest.fixture
def stalling(hub: StubHub) -> StubHub:
    """One whose file stops coming, until its faults are cleared."""
    hub.faults[REPO, NAME] = [STALL]
    return hub


async def test_a_pull_tells_what_it_does_and_is_listed_as_done(hub: StubHub, tmp_path: Path) -> None:
    async with managing(hub, tmp_path) as manager:
        handle = await manager.start(REPO)
        events = [event async for event in handle.events()]
        result = await handle.wait()
        status = await manager.get(handle.id)
    assert isinstance(events[0], Planned)
    assert isinstance(events[-1], Done)
    assert any(isinstance(event, FileStarted) for event in events)
    assert result.paths == (tmp_path / "models" / REPO / NAME,)
    assert (status.record.state, status.record.done_bytes, status.is_alive) == ("done", len(DATA), False)


async def test_the_same_pull_twice_is_one_transfer(hub: StubHub, tmp_path: Path) -> None:
    async with managing(hub, tmp_path) as manager:
        handles = [await manager.start(REPO) for _ in range(20)]
        for handle in handles:
            await handle.wait()
    assert len({handle.id for handle in handles}) == 1
    assert sum(served.end - served.start for served in hub.served) == len(DATA)


async def test_two_processes_worth_of_managers_share_one_transfer(hub: StubHub, tmp_path: Path) -> None:
    async with managing(hub, tmp_path) as one, managing(hub, tmp_path) as other:
        handles = [
            await one.start(REPO),
            await other.start(REPO),
            await other.start(REPO, Wishes(engine=PullEngines.LLAMACPP)),
        ]
        for handle in handles:
            await handle.wait()
    assert sum(served.end - served.start for served in hub.served) == len(DATA)
    assert final_files(tmp_path) == {f"{REPO}/{NAME}": DATA}


async def test_a_paused_pull_goes_on_where_it_was(stalling: StubHub, tmp_path: Path) -> None:
    async with managing(stalling, tmp_path) as manager:
        handle = await begun(manager)
        await manager.pause(handle.id)
        assert (await manager.get(handle.id)).record.state == "paused"
        with pytest.raises(PullConflictError, match="resume"):
            await handle.wait()
        with pytest.raises(PullConflictError, match="already"):
            await manager.pause(handle.id)
        stalling.faults.clear()
        stalling.served.clear()
        await (await manager.resume(handle.id)).wait()
        with pytest.raises(PullConflictError, match="done"):
            await manager.resume(handle.id)
    assert sum(served.end - served.start for served in stalling.served) < len(DATA)
    assert final_files(tmp_path) == {f"{REPO}/{NAME}": DATA}


async def test_a_cancelled_pull_leaves_nothing(stalling: StubHub, tmp_path: Path) -> None:
    async with managing(stalling, tmp_path) as manager:
        handle = await begun(manager)
        assert hidden_files(tmp_path) != []
        await manager.cancel(handle.id)
        events = [event async for event in handle.events()]
    assert events[-1] == Stopped(state="cancelled")
    assert hidden_files(tmp_path) == []
    assert final_files(tmp_path) == {}


async def test_another_process_may_pause_it(stalling: StubHub, tmp_path: Path) -> None:
    async with managing(stalling, tmp_path) as runner, managing(stalling, tmp_path) as other:
        handle = await begun(runner)
        (status,) = await other.list_pulls()
        assert (status.is_alive, status.record.state) == (True, "running")
        with pytest.raises(PullConflictError, match="another process"):
            await other.resume(handle.id)
        await other.pause(handle.id)
        async with asyncio.timeout(10):
            events = [event async for event in handle.events()]
        assert events[-1] == Stopped(state="paused")


async def test_what_ran_when_the_process_ended_goes_on(stalling: StubHub, tmp_path: Path) -> None:
    async with managing(stalling, tmp_path) as manager:
        await begun(manager)
    stalling.faults.clear()
    num_asked = sum("/api/" in seen.path for seen in stalling.seen)
    async with managing(stalling, tmp_path) as manager:
        (status,) = await manager.list_pulls()
        assert status.is_interrupted
        (resumed,) = await manager.resume_interrupted()
        await resumed.wait()
    assert sum("/api/" in seen.path for seen in stalling.seen) == num_asked, "the plan and its commit were stored"
    assert final_files(tmp_path) == {f"{REPO}/{NAME}": DATA}


async def test_a_failure_is_kept_with_its_reason_and_may_be_tried_again(hub: StubHub, tmp_path: Path) -> None:
    hub.faults[REPO, NAME] = [Fault("status", status=403, is_forever=True)]
    async with managing(hub, tmp_path) as manager:
        handle = await manager.start(REPO)
        events = [event async for event in handle.events()]
        record = (await manager.get(handle.id)).record
        assert (record.state, record.error_code) == ("failed", "hub_unauthorized")
        assert record.error is not None
        assert "HF_TOKEN" in record.error
        assert events[-1].__struct_config__.tag == "failed"
        hub.faults.clear()
        await (await manager.resume(handle.id)).wait()


async def test_too_many_pulls_and_unknown_numbers_are_refused(stalling: StubHub, tmp_path: Path) -> None:
    async with managing(stalling, tmp_path, max_running=1, max_waiting=0) as manager:
        handle = await manager.start(REPO)
        with pytest.raises(PullConflictError, match="wait already"):
            await manager.start("org/other")
        with pytest.raises(PullNotFoundError):
            await manager.pause(99)
        await manager.cancel(handle.id)


async def test_orphans_are_what_no_pull_comes_back_for(stalling: StubHub, tmp_path: Path) -> None:
    async with managing(stalling, tmp_path) as manager:
        handle = await begun(manager)
        await manager.pause(handle.id)
    folder = PullFolder(tmp_path / "models")
    (folder.partial_dir / "stage-old").mkdir()
    (folder.partial_dir / "stage-old" / "x").write_bytes(b"x" * 5_000)
    later = time.time() + 7_200
    with Registry(tmp_path / "registry.sqlite3") as store:
        assert find_orphans(folder, store, now=time.time()) == ()
        assert [orphan.kind for orphan in find_orphans(folder, store, now=later)] == ["stage"]
        store.pulls.forget(handle.id)
        orphans = find_orphans(folder, store, now=later)
        assert sorted(orphan.kind for orphan in orphans) == ["partial", "stage", "stage"]
        assert remove_orphans(orphans) >= 5_000
    assert hidden_files(tmp_path) == []


async def test_a_pull_that_waits_for_its_turn_is_not_taken_for_interrupted(stalling: StubHub, tmp_path: Path) -> None:
    async with managing(stalling, tmp_path, max_running=1) as runner, managing(stalling, tmp_path) as other:
        first = await begun(runner)
        second = await runner.start(REPO, Wishes(engine=PullEngines.LLAMACPP))
        async with asyncio.timeout(10):
            while not all(status.is_alive for status in await other.list_pulls()):
                pass
        assert await other.resume_interrupted() == ()
        with pytest.raises(PullConflictError, match="pause or cancel"):
            await other.forget(second.id)
        await other.cancel(second.id)
        assert [event async for event in second.events()][-1] == Stopped(state="cancelled")
        await runner.cancel(first.id)
        await runner.forget(first.id)
        assert [status.record.id for status in await runner.list_pulls()] == [second.id]


async def test_whoever_waits_for_anothers_transfer_is_told(stalling: StubHub, tmp_path: Path) -> None:
    async with managing(stalling, tmp_path) as one, managing(stalling, tmp_path) as other:
        first = await begun(one)
        second = await other.start(REPO)
        async with asyncio.timeout(10):
            async for event in second.events():
                if isinstance(event, Waiting):
                    break
        stalling.faults.clear()
        await one.pause(first.id)
        await second.wait()
    assert final_files(tmp_path) == {f"{REPO}/{NAME}": DATA}


def test_a_replaced_folder_is_no_orphan_while_the_new_one_is_not_in_its_place(tmp_path: Path) -> None:
    folder = PullFolder(tmp_path / "models")
    for name in ("stage-1", "replaced-1", "replaced-2"):
        (folder.partial_dir / name).mkdir(parents=True)
    with Registry(tmp_path / "registry.sqlite3") as store:
        orphans = find_orphans(folder, store, now=time.time() + 7_200)
    assert [Path(orphan.path).name for orphan in orphans] == ["replaced-2"]
