"""Whose a pull is: who sees it, what one of several may do to it, and what a restart leaves of that."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from registry.errors import PullConflictError, PullNotFoundError
from registry.pull import PullOptions, PullResult
from registry.pull.events import Done, Progress, PullEvent, Started, Stopped
from registry.store import Registry
from router.http.caller import OWNER, Caller, Scope, acting_for
from router.jobs.job import Follower, Job
from router.jobs.jobs import Jobs
from router.jobs.pulls import Pulls
from tests.support.hub_faults import Fault
from tests.support.pull_bench import payload, small_puller
from tests.support.stub_hub import StubHub
from tests.support.waiting import WITHIN_S

REPO, NAME = "org/m-GGUF", "m-Q4_K_M.gguf"
DATA = payload(1, 300_000)
STALL = Fault("stall", after=20_000, is_forever=True)
ONE, OTHER, THIRD = (Caller(key_id=f"key_{name}", name=name, scope=Scope.MODELS) for name in ("a", "b", "c"))
ADMIN = Caller(key_id="key_admin", name="admin", scope=Scope.ADMIN)


@pytest.fixture
def hub() -> Iterator[StubHub]:
    with StubHub({REPO: {NAME: DATA}}) as hub:
        hub.faults[REPO, NAME] = [STALL]
        yield hub


async def nothing(job: Job[PullEvent], options: PullOptions, result: PullResult) -> None:
    """Conclude a pull that is not registered."""


@asynccontextmanager
async def pulling(hub: StubHub, root: Path) -> AsyncIterator[Pulls]:
    async with small_puller(hub, root, stall_s=WITHIN_S) as puller, Jobs() as jobs:
        yield Pulls(puller, jobs, conclude=nothing, budget_bytes=1 << 40, poll_s=0.01)


async def begun(pulls: Pulls, *callers: Caller) -> tuple[int, list[Follower[PullEvent]]]:
    """Let each of them ask for the same; return the pull's number, when bytes have come, and who follows it."""
    followers = []
    for caller in callers:
        with acting_for(caller):
            followers.append(await pulls.start(REPO, PullOptions()))
    started = await anext(followers[0])
    assert isinstance(started, Started)
    async with asyncio.timeout(WITHIN_S):
        async for event in followers[0]:
            if isinstance(event, Progress) and event.done_bytes:
                break
    return started.id, followers


async def heard(follower: Follower[PullEvent]) -> list[PullEvent]:
    async with asyncio.timeout(WITHIN_S):
        return [event async for event in follower]


async def seen(pulls: Pulls, *callers: Caller) -> list[tuple[str, ...]]:
    """The states in each one's list."""
    found = list[tuple[str, ...]]()
    for caller in callers:
        with acting_for(caller):
            found.append(tuple(pull.state for pull in await pulls.list_pulls()))
    return found


async def test_for_another_key_there_is_no_such_pull(tmp_path: Path, hub: StubHub) -> None:
    async with pulling(hub, tmp_path) as pulls:
        number, _ = await begun(pulls, ONE)
        assert await seen(pulls, ONE, OTHER, ADMIN, OWNER) == [("running",), (), ("running",), ("running",)]
        words = set()
        with acting_for(OTHER):
            for act in (pulls.get, pulls.pause, pulls.resume, pulls.cancel):
                for one in (number, number + 1):
                    with pytest.raises(PullNotFoundError) as refused:
                        await act(one)
                    words.add(str(refused.value).replace(str(one), "N"))
        assert len(words) == 1
        with acting_for(ADMIN):
            assert (await pulls.cancel(number)).state == "cancelled"


async def test_what_two_asked_for_is_one_pull_that_ends_when_both_have_cancelled_it(
    tmp_path: Path, hub: StubHub
) -> None:
    async with pulling(hub, tmp_path) as pulls:
        number, (mine, theirs) = await begun(pulls, ONE, OTHER)
        assert await seen(pulls, ONE, OTHER, THIRD) == [("running",), ("running",), ()]
        with acting_for(ONE):
            with pytest.raises(PullConflictError, match="Others asked"):
                await pulls.pause(number)
            assert (await pulls.cancel(number)).state == "cancelled"
            with pytest.raises(PullNotFoundError):
                await pulls.cancel(number)
        assert (await heard(mine))[-1] == Stopped(state="cancelled")
        assert await seen(pulls, ONE, OTHER, ADMIN) == [(), ("running",), ("running",)]
        assert (tmp_path / "models" / ".partial").exists()
        with acting_for(OTHER):
            assert (await pulls.cancel(number)).state == "cancelled"
        assert (await heard(theirs))[-1] == Stopped(state="cancelled")


async def test_one_who_was_left_alone_gets_all_of_it(tmp_path: Path, hub: StubHub) -> None:
    async with pulling(hub, tmp_path) as pulls:
        number, (_, theirs) = await begun(pulls, ONE, OTHER)
        with acting_for(ONE):
            await pulls.cancel(number)
        with acting_for(OTHER):
            await pulls.pause(number)
            hub.faults.clear()
            assert isinstance((await heard(await pulls.resume(number)))[-1], Done)
        assert (await heard(theirs))[-1] == Stopped(state="paused")


async def test_it_is_whose_it_was_after_a_restart(tmp_path: Path, hub: StubHub) -> None:
    async with pulling(hub, tmp_path) as pulls:
        number, _ = await begun(pulls, ONE, OTHER)
    async with pulling(hub, tmp_path) as pulls:
        await pulls.resume_interrupted()
        assert [len(states) for states in await seen(pulls, ONE, OTHER, THIRD, OWNER)] == [1, 1, 0, 1]
        with acting_for(ONE):
            assert (await pulls.cancel(number)).state == "cancelled"
        hub.faults.clear()
        with acting_for(OTHER):
            await pulls.pause(number)
            assert isinstance((await heard(await pulls.resume(number)))[-1], Done)


async def test_an_ended_pull_stays_in_the_other_ones_list(tmp_path: Path, hub: StubHub) -> None:
    hub.faults.clear()
    async with pulling(hub, tmp_path) as pulls:
        for caller in (ONE, ONE, OTHER, OTHER):
            with acting_for(caller):
                await heard(await pulls.start(REPO, PullOptions()))
        assert await seen(pulls, ONE, OTHER, OWNER) == [("done",), ("done",), ("done", "done")]


def test_rows_of_before_belong_to_the_servers_owner(tmp_path: Path) -> None:
    with Registry(tmp_path / "registry.sqlite3") as registry:
        number = registry.pulls.add(REPO, PullOptions()).id
        assert registry.pulls.owners_of(number) == {None}
        assert registry.pulls.add_owner(number, "key_a") == {None, "key_a"}
        assert registry.pulls.owners() == {number: {None, "key_a"}}
        assert registry.pulls.remove_owner(number, None)
        assert not registry.pulls.remove_owner(number, "key_a")
        assert registry.pulls.owners_of(number) == {"key_a"}
