"""The pulls of a process: their list, one transfer for all who want it, stopping and going on, here and elsewhere."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from registry.engines import EngineKind, PullEngines
from registry.errors import PullConflictError, PullNotFoundError, PullUnfinishedError
from registry.pull import PullOptions, PullResult, find_orphans, remove_orphans
from registry.pull.events import (
    Converting,
    Done,
    Failed,
    FileStarted,
    Planned,
    Progress,
    PullEvent,
    Registered,
    Started,
    Stopped,
    Waiting,
)
from registry.pull.folder import PullFolder
from registry.store import Registry
from router.errors import ShuttingDownError
from router.jobs.conversions import Converter
from router.jobs.job import Follower, Job
from router.jobs.jobs import Jobs
from router.jobs.pull_work import Conclude
from router.jobs.pulled import conclude
from router.jobs.pulls import Pulls
from tests.support.hub_faults import Fault
from tests.support.pull_bench import final_files, hidden_files, num_served, payload, small_puller
from tests.support.stub_hub import StubHub

REPO = "org/m-GGUF"
NAME = "m-Q4_K_M.gguf"
DATA = payload(1, 300_000)
STALL = Fault("stall", after=20_000, is_forever=True)
BUDGET = 1 << 40
WITHIN_S = 60


class Conclusion:
    """Tells three events, then waits until it is let go on."""

    def __init__(self) -> None:
        self.num_begun = 0
        self.is_reached = asyncio.Event()
        self.goes_on = asyncio.Event()
        self.error: PullUnfinishedError | None = None

    async def __call__(self, job: Job[PullEvent], options: PullOptions, result: PullResult) -> None:
        self.num_begun += 1
        job.tell(Registered(model=options.name or "m", engines=(EngineKind.LLAMACPP,), path=str(result.paths[0])))
        for share in (0.0, 0.5):
            job.tell(Converting(step="converting", share=share))
        self.is_reached.set()
        await self.goes_on.wait()
        if self.error is not None:
            raise self.error


async def nothing(job: Job[PullEvent], options: PullOptions, result: PullResult) -> None:
    """Conclude a pull that is not registered."""


@asynccontextmanager
async def pulling(hub: StubHub, root: Path, *, conclude: Conclude = nothing, **options: Any) -> AsyncIterator[Pulls]:
    """Act as one process."""
    async with small_puller(hub, root, stall_s=WITHIN_S) as puller, Jobs() as jobs:
        yield Pulls(puller, jobs, conclude=conclude, budget_bytes=BUDGET, poll_s=0.01, **options)


async def begun(pulls: Pulls) -> Follower[PullEvent]:
    """A pull of which bytes have come."""
    follower = await pulls.start(REPO, PullOptions())
    async with asyncio.timeout(WITHIN_S):
        async for event in follower:
            if isinstance(event, Progress) and event.done_bytes:
                break
    return follower


async def heard(follower: Follower[PullEvent]) -> list[PullEvent]:
    async with asyncio.timeout(WITHIN_S):
        return [event async for event in follower]


async def the_one(pulls: Pulls) -> int:
    (info,) = await pulls.list_pulls()
    return info.id


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
    async with pulling(hub, tmp_path) as pulls:
        events = await heard(await pulls.start(REPO, PullOptions()))
        assert isinstance(events[0], Started)
        assert isinstance(events[1], Planned)
        assert any(isinstance(event, FileStarted) for event in events)
        assert events[-1] == Done(paths=(str(tmp_path / "models" / REPO / NAME),))
        info = await pulls.get(events[0].id)
        assert (info.state, info.done_bytes, info.error) == ("done", len(DATA), None)


async def test_the_same_pull_many_times_at_once_is_one_transfer(hub: StubHub, tmp_path: Path) -> None:
    hub.held_after = 0
    async with pulling(hub, tmp_path) as pulls:
        followers = await asyncio.gather(*(pulls.start(REPO, PullOptions()) for _ in range(20)))
        hub.held_after = None
        stories = await asyncio.gather(*map(heard, followers))
        assert len(await pulls.list_pulls()) == 1
    firsts = [story[0] for story in stories]
    assert all(isinstance(story[-1], Done) for story in stories)
    assert sum(isinstance(first, Started) and not first.is_joined for first in firsts) == 1
    assert num_served(hub) == len(DATA)


async def test_two_processes_share_one_transfer(hub: StubHub, tmp_path: Path) -> None:
    async with pulling(hub, tmp_path) as one, pulling(hub, tmp_path) as other:
        followers = [
            await one.start(REPO, PullOptions()),
            await other.start(REPO, PullOptions(engine=PullEngines.LLAMACPP)),
        ]
        for follower in followers:
            assert isinstance((await heard(follower))[-1], Done)
    assert num_served(hub) == len(DATA)
    assert final_files(tmp_path) == {f"{REPO}/{NAME}": DATA}


async def test_a_paused_pull_goes_on_where_it_was(stalling: StubHub, tmp_path: Path) -> None:
    async with pulling(stalling, tmp_path) as pulls:
        follower = await begun(pulls)
        number = await the_one(pulls)
        assert (await pulls.pause(number)).state == "paused"
        assert (await heard(follower))[-1] == Stopped(state="paused")
        with pytest.raises(PullConflictError, match="already"):
            await pulls.pause(number)
        stalling.faults.clear()
        stalling.served.clear()
        again = await heard(await pulls.start(REPO, PullOptions()))
        assert again[0] == Started(id=number, reference=REPO, is_joined=True)
        with pytest.raises(PullConflictError, match="done"):
            await pulls.resume(number)
    assert num_served(stalling) < len(DATA)
    assert final_files(tmp_path) == {f"{REPO}/{NAME}": DATA}


async def test_a_cancelled_pull_leaves_nothing(stalling: StubHub, tmp_path: Path) -> None:
    async with pulling(stalling, tmp_path) as pulls:
        follower = await begun(pulls)
        assert hidden_files(tmp_path) != []
        assert (await pulls.cancel(await the_one(pulls))).state == "cancelled"
        assert (await heard(follower))[-1] == Stopped(state="cancelled")
    assert hidden_files(tmp_path) == []
    assert final_files(tmp_path) == {}


async def test_another_process_may_pause_it_but_not_run_it(stalling: StubHub, tmp_path: Path) -> None:
    async with pulling(stalling, tmp_path) as runner, pulling(stalling, tmp_path) as other:
        follower = await begun(runner)
        (info,) = await other.list_pulls()
        assert info.state == "running"
        with pytest.raises(PullConflictError, match="another process"):
            await other.resume(info.id)
        await other.pause(info.id)
        assert (await heard(follower))[-1] == Stopped(state="paused")
        assert (await other.get(info.id)).state == "paused"


async def test_what_ran_when_the_process_ended_goes_on(stalling: StubHub, tmp_path: Path) -> None:
    async with pulling(stalling, tmp_path) as pulls:
        follower = await begun(pulls)
    assert (await heard(follower))[-1] == Stopped(state="queued")
    stalling.faults.clear()
    num_asked = sum("/api/" in seen.path for seen in stalling.seen)
    async with pulling(stalling, tmp_path) as pulls:
        number = await the_one(pulls)
        assert (await pulls.get(number)).state == "interrupted"
        await pulls.resume_interrupted()
        await heard(await pulls.resume(number))
        assert (await pulls.get(number)).state == "done"
    assert sum("/api/" in seen.path for seen in stalling.seen) == num_asked, "the plan and its commit were stored"
    assert final_files(tmp_path) == {f"{REPO}/{NAME}": DATA}


async def test_a_failure_is_kept_with_its_reason_and_may_be_tried_again(hub: StubHub, tmp_path: Path) -> None:
    hub.faults[REPO, NAME] = [Fault("status", status=403, is_forever=True)]
    async with pulling(hub, tmp_path) as pulls:
        events = await heard(await pulls.start(REPO, PullOptions()))
        info = await pulls.get(await the_one(pulls))
        assert (info.state, info.error_code) == ("failed", "hub_unauthorized")
        assert info.error is not None
        assert "HF_TOKEN" in info.error
        assert events[-1] == Failed(code="hub_unauthorized", message=info.error)
        hub.faults.clear()
        assert isinstance((await heard(await pulls.resume(info.id)))[-1], Done)


async def test_a_pull_of_what_is_not_there_is_not_kept(hub: StubHub, tmp_path: Path) -> None:
    async with pulling(hub, tmp_path) as pulls:
        events = await heard(await pulls.start("org/none", PullOptions()))
        assert isinstance(events[-1], Failed)
        assert events[-1].code == "hub_not_found"
        assert await pulls.list_pulls() == ()


async def test_too_many_pulls_and_unknown_numbers_are_refused(stalling: StubHub, tmp_path: Path) -> None:
    async with pulling(stalling, tmp_path, max_running=1, max_waiting=0) as pulls:
        await begun(pulls)
        with pytest.raises(PullConflictError, match="wait already"):
            await pulls.start("org/other", PullOptions())
        with pytest.raises(PullNotFoundError):
            await pulls.pause(99)
    with pytest.raises(ShuttingDownError):
        await pulls.start(REPO, PullOptions())


async def test_a_pull_that_waits_for_its_turn_is_not_taken_for_interrupted(stalling: StubHub, tmp_path: Path) -> None:
    async with pulling(stalling, tmp_path, max_running=1) as runner, pulling(stalling, tmp_path) as other:
        await begun(runner)
        follower = await runner.start(REPO, PullOptions(engine=PullEngines.LLAMACPP))
        async with asyncio.timeout(WITHIN_S):
            while [info.state for info in await other.list_pulls()] != ["running", "queued"]:
                pass
        await other.resume_interrupted()
        _, second = await other.list_pulls()
        await other.cancel(second.id)
        assert (await heard(follower))[-1] == Stopped(state="cancelled")


async def test_whoever_waits_for_anothers_transfer_is_told(stalling: StubHub, tmp_path: Path) -> None:
    async with pulling(stalling, tmp_path) as one, pulling(stalling, tmp_path) as other:
        await begun(one)
        first = await the_one(one)
        follower = await other.start(REPO, PullOptions(engine=PullEngines.LLAMACPP))
        async with asyncio.timeout(WITHIN_S):
            async for event in follower:
                if isinstance(event, Waiting):
                    break
        stalling.faults.clear()
        await one.pause(first)
        assert isinstance((await heard(follower))[-1], Done)
    assert final_files(tmp_path) == {f"{REPO}/{NAME}": DATA}


async def test_one_that_is_to_pause_when_left_does_so_with_its_last_follower(stalling: StubHub, tmp_path: Path) -> None:
    async with pulling(stalling, tmp_path) as pulls:
        one, other = [await pulls.start(REPO, PullOptions(), is_paused_when_left=True) for _ in range(2)]
        await one.aclose()
        number = await the_one(pulls)
        assert (await pulls.get(number)).state in {"queued", "running"}
        await other.aclose()
        async with asyncio.timeout(WITHIN_S):
            while (await pulls.get(number)).state != "paused":
                pass
        left = await pulls.start(REPO, PullOptions(), is_paused_when_left=True)
        kept = await pulls.start(REPO, PullOptions())
        await left.aclose()
        await kept.aclose()
        assert (await pulls.get(number)).state in {"queued", "running"}, "somebody wants it whoever follows"


# --- what follows the transfer ----------------------------------------------------------------------------------------


async def test_late_followers_hear_of_it_and_the_end_comes_after_it(hub: StubHub, tmp_path: Path) -> None:
    conclusion = Conclusion()
    async with pulling(hub, tmp_path, conclude=conclusion) as pulls:
        first = await pulls.start(REPO, PullOptions())
        await conclusion.is_reached.wait()
        number = await the_one(pulls)
        info = await pulls.get(number)
        assert (info.state, info.step, info.step_share, info.bytes_per_s) == ("running", "converting", 0.5, None)
        late = await pulls.resume(number)
        conclusion.goes_on.set()
        events = await heard(late)
        assert [type(event) for event in events] == [Started, Planned, Progress, Registered, Converting, Done]
        assert events[3:5] == [
            Registered(model="m", engines=(EngineKind.LLAMACPP,), path=str(tmp_path / "models" / REPO / NAME)),
            Converting(step="converting", share=0.5),
        ]
        assert (await pulls.get(number)).state == "done"
        assert isinstance((await heard(first))[-1], Done)


async def test_its_failure_has_its_own_code_and_keeps_the_files(hub: StubHub, tmp_path: Path) -> None:
    conclusion = Conclusion()
    conclusion.error = PullUnfinishedError("conversion_failed", "it was not converted")
    conclusion.goes_on.set()
    async with pulling(hub, tmp_path, conclude=conclusion) as pulls:
        events = await heard(await pulls.start(REPO, PullOptions()))
        (info,) = await pulls.list_pulls()
    assert events[-1] == Failed(code="conversion_failed", message="it was not converted")
    assert (info.state, info.error_code) == ("failed", "conversion_failed")
    assert final_files(tmp_path) == {f"{REPO}/{NAME}": DATA}


async def test_it_is_stopped_with_the_pull_and_done_anew_without_a_transfer(hub: StubHub, tmp_path: Path) -> None:
    conclusion = Conclusion()
    async with pulling(hub, tmp_path, conclude=conclusion) as pulls:
        follower = await pulls.start(REPO, PullOptions())
        await conclusion.is_reached.wait()
        number = await the_one(pulls)
        await pulls.pause(number)
        assert (await heard(follower))[-1] == Stopped(state="paused")
        hub.served.clear()
        conclusion.goes_on.set()
        await heard(await pulls.resume(number))
    assert hub.served == []
    assert conclusion.num_begun == 2


# --- what is left behind ----------------------------------------------------------------------------------------------


async def test_orphans_are_what_no_pull_comes_back_for(stalling: StubHub, tmp_path: Path) -> None:
    async with pulling(stalling, tmp_path) as pulls:
        await begun(pulls)
        number = await the_one(pulls)
        await pulls.pause(number)
    folder = PullFolder(tmp_path / "models")
    (folder.partial_dir / "stage-old").mkdir()
    (folder.partial_dir / "stage-old" / "x").write_bytes(b"x" * 5_000)
    later = time.time() + 7_200
    with Registry(tmp_path / "registry.sqlite3") as registry:
        assert find_orphans(folder, registry, now=time.time()) == ()
        assert [orphan.kind for orphan in find_orphans(folder, registry, now=later)] == ["stage"]
        registry.pulls.forget(number)
        orphans = find_orphans(folder, registry, now=later)
        assert sorted(orphan.kind for orphan in orphans) == ["partial", "stage", "stage"]
        assert remove_orphans(orphans) >= 5_000
    assert hidden_files(tmp_path) == []


def test_a_replaced_folder_is_no_orphan_while_the_new_one_is_not_in_its_place(tmp_path: Path) -> None:
    folder = PullFolder(tmp_path / "models")
    for name in ("stage-1", "replaced-1", "replaced-2"):
        (folder.partial_dir / name).mkdir(parents=True)
    with Registry(tmp_path / "registry.sqlite3") as registry:
        orphans = find_orphans(folder, registry, now=time.time() + 7_200)
    assert [Path(orphan.path).name for orphan in orphans] == ["replaced-2"]


async def test_a_file_that_ends_before_its_tensors_is_refused_when_it_has_come(tmp_path: Path, tiny_gguf: Path) -> None:
    """The hub's own file is cut: size and checksum are as it says."""
    cut = await asyncio.to_thread(tiny_gguf.read_bytes)
    with StubHub({REPO: {NAME: cut[:-1]}}) as hub:
        database, folder = tmp_path / "registry.sqlite3", tmp_path / "models"
        registering = partial(conclude, database, folder, Converter(database, folder, {}))
        async with pulling(hub, tmp_path, conclude=registering) as pulls:
            *_, last = await heard(await pulls.start(REPO, PullOptions()))
    assert isinstance(last, Failed)
    assert last.code == "data_past_end"
    assert "choose another file or repository" in last.message
    with Registry(database) as registry:
        assert registry.models.list() == ()
