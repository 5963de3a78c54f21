"""Jobs and those who follow them: what each hears, in which order, and how a job ends, whatever comes in between."""

import asyncio
import dataclasses
import random
from collections.abc import Hashable
from functools import partial

import pytest

from router.errors import ShuttingDownError
from router.http.caller import OWNER, Caller, Scope, acting_for
from router.jobs.job import Follower, Job, JobKind, JobShare
from router.jobs.jobs import Jobs


@dataclasses.dataclass(frozen=True)
class Lasting:
    """An event that is kept."""

    number: int


@dataclasses.dataclass(frozen=True)
class Share:
    """One that replaces the one before it."""

    number: int


@dataclasses.dataclass(frozen=True)
class Moment:
    """One for those who are there."""

    number: int


@dataclasses.dataclass(frozen=True)
class End:
    how: str


Event = Lasting | Share | Moment | End


def slot_of(event: Event) -> Hashable | None:
    match event:
        case Moment():
            return None
        case Share():
            return Share
        case _:
            return event


KIND = JobKind[Event](name="test", slot_of=slot_of)
LOG = JobKind[Event](name="log")
TO_THE_END = 10_000
OFTEN = 0.2
LATE = JobKind[Event](name="late", ends_late=True)


class Steps:
    """Work that goes one step for each `tell`, and ends when it is let or stopped."""

    def __init__(self) -> None:
        self._orders: asyncio.Queue[Event] = asyncio.Queue()
        self.told: list[Event] = []
        self.num_begun = 0
        self.num_ended = 0

    def tell(self, event: Event) -> None:
        self._orders.put_nowait(event)

    async def __call__(self, job: Job[Event]) -> Event:
        self.num_begun += 1
        try:
            while not isinstance(event := await self._orders.get(), End):
                self.told.append(event)
                job.tell(event)
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # what is noted of it takes a turn
            return End(str(job.stop_reason))
        finally:
            self.num_ended += 1
        return event


async def heard(follower: Follower[Event]) -> list[Event]:
    return [event async for event in follower]


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_one_who_comes_late_hears_what_is_kept_and_one_who_was_there_everything() -> None:
    steps = Steps()
    async with Jobs() as jobs:
        job = jobs.start(KIND, 1, steps)
        early = asyncio.ensure_future(heard(job.follow()))
        told: list[Event] = [Lasting(0), Moment(1), Share(2), Lasting(3), Share(4)]
        for event in told:
            steps.tell(event)
            await turns()
        late = job.follow(first=Lasting(-1))
        steps.tell(End("done"))
        assert await heard(late) == [Lasting(-1), Lasting(0), Share(4), Lasting(3), End("done")]
        assert await early == [*told, End("done")]
        assert await heard(job.follow()) == [Lasting(0), Share(4), Lasting(3), End("done")]


async def test_one_who_reads_slowly_misses_only_what_was_replaced() -> None:
    steps = Steps()
    async with Jobs() as jobs:
        job = jobs.start(KIND, 1, steps)
        slow = job.follow()
        for event in (Share(1), Share(2), Moment(3), Share(4), Share(5), End("done")):
            steps.tell(event)
        await job.wait()
        assert await slow.next_batch() == [Share(2), Moment(3), Share(5), End("done")]
        assert await slow.next_batch() == []


async def test_what_a_follower_knows_is_not_told_again() -> None:
    steps = Steps()
    async with Jobs() as jobs:
        job = jobs.start(LOG, 1, steps)
        told = [Share(number) for number in range(6)]
        for event in told:
            steps.tell(event)
        steps.tell(End("done"))
        await job.wait()
        assert await heard(job.follow(skip=4)) == [*told[4:], End("done")]
        assert await heard(job.follow(skip=99)) == []
        assert job.last(Share) == told[-1]
        assert job.last(Moment) is None


async def test_a_job_that_is_stopped_at_once_still_says_how_it_ends() -> None:
    async with Jobs() as jobs:
        job = jobs.start(KIND, 1, Steps())
        job.stop("cancelled")
        job.stop("paused")
        assert await heard(job.follow()) == [End("cancelled")]
        assert jobs.get(KIND, 1) is None


async def test_a_stop_that_comes_too_late_changes_nothing() -> None:
    goes_on = asyncio.Event()

    async def work(job: Job[Event]) -> Event:
        job.is_ending = True
        await goes_on.wait()
        return End("done")

    async with Jobs() as jobs:
        job = jobs.start(KIND, 1, work)
        job.stop("cancelled")
        await turns()
        job.stop("paused")
        await turns()
        goes_on.set()
        assert await heard(job.follow()) == [End("done")]


async def test_nobody_hears_of_the_end_before_the_job_is_gone() -> None:
    steps = Steps()
    async with Jobs() as jobs:
        job = jobs.start(KIND, 1, steps)
        assert jobs.get(KIND, 1) is job
        assert jobs.running(KIND) == [job]
        steps.tell(End("done"))
        async for _ in job.follow():
            assert jobs.get(KIND, 1) is None
            assert jobs.running(KIND) == []


async def test_the_last_follower_who_leaves_is_noticed() -> None:
    abandoned: list[int] = []
    async with Jobs() as jobs:
        job = jobs.start(KIND, 1, Steps())
        job.on_abandoned = partial(abandoned.append, 1)
        one, other = job.follow(), job.follow()
        await one.aclose()
        await one.aclose()
        assert abandoned == []
        await other.aclose()
        assert abandoned == [1]
        last = job.follow()
        job.stop("paused")
        await job.wait()
        await last.aclose()
        assert abandoned == [1], "it had ended by itself"


async def test_a_job_that_has_ended_is_found_for_a_while() -> None:
    steps = Steps()
    async with Jobs() as jobs:
        job = jobs.start(KIND, 1, steps, about="this", kept_s=30.0)
        steps.tell(Lasting(1))
        steps.tell(End("done"))
        await job.wait()
        assert jobs.get(KIND, 1) is job
        assert job.about == "this"
        assert jobs.running(KIND) == []
        assert await heard(job.follow()) == [Lasting(1), End("done")]
        again = jobs.start(KIND, 1, Steps())
        jobs.forget(job)
        assert jobs.get(KIND, 1) is again


async def test_a_defect_costs_its_own_job_only(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(job: Job[Event]) -> Event:
        job.tell(Lasting(1))
        raise ValueError("a defect")

    steps = Steps()
    async with Jobs() as jobs:
        job, other = jobs.start(KIND, 1, broken), jobs.start(KIND, 2, steps)
        assert await heard(job.follow()) == [Lasting(1)]
        assert "a defect has ended the test 1" in caplog.text
        steps.tell(End("done"))
        assert await heard(other.follow()) == [End("done")]


async def test_closing_stops_what_belongs_to_no_request_and_leaving_stops_the_rest() -> None:
    jobs = Jobs()
    with pytest.raises(ShuttingDownError):
        jobs.start(KIND, 0, Steps())
    async with jobs:
        job, late = jobs.start(KIND, 1, Steps()), jobs.start(LATE, 1, Steps())
        jobs.close()
        await job.wait()
        await turns()
        assert not late.has_ended
        with pytest.raises(ShuttingDownError):
            jobs.start(LATE, 2, Steps())
    assert await heard(job.follow()) == await heard(late.follow()) == [End("shutting_down")]


async def test_one_kind_can_be_ended_alone() -> None:
    steps = Steps()
    async with Jobs() as jobs:
        job, other = jobs.start(KIND, 1, Steps()), jobs.start(LOG, 1, steps)
        await jobs.stop_all(KIND)
        assert job.has_ended
        assert not other.has_ended


def check_story(story: list[Event], told: list[Event], *, is_to_the_end: bool) -> None:
    """Check what one follower heard against all that was told, the end last."""
    end = told[-1]
    lasting = [event for event in story if isinstance(event, Lasting)]
    shares = [event.number for event in story if isinstance(event, Share)]
    assert lasting == [event for event in told if event in lasting], "in order, each once"
    assert shares == sorted(set(shares)), "a share never goes back"
    assert end not in story[:-1]
    if is_to_the_end:
        assert story[-1] == end
        assert lasting == [event for event in told if isinstance(event, Lasting)]
        assert shares[-1:] == [event.number for event in told if isinstance(event, Share)][-1:]


@pytest.mark.parametrize("seed", range(60))
async def test_whatever_comes_in_between_all_followers_hear_one_story_with_one_end(seed: int) -> None:
    """Followers that come, read, stall and leave, events and stops in random order."""
    rng = random.Random(seed)
    steps = Steps()
    stories: list[tuple[list[Event], bool]] = []

    async def follow(job: Job[Event], num_wanted: int) -> None:
        follower, story = job.follow(), list[Event]()
        stories.append((story, num_wanted == TO_THE_END))
        async for event in follower:
            story.append(event)
            if len(story) == num_wanted:
                break
            await turns(rng.choice((0, 0, 1, 7)))
        await follower.aclose()

    async with Jobs() as jobs, asyncio.TaskGroup() as group:
        job = jobs.start(KIND, seed, steps)
        for number in range(rng.randrange(5, 60)):
            match rng.randrange(8):
                case 0 | 1 | 2:
                    steps.tell(rng.choice((Lasting, Moment, Share))(number))
                case 3:
                    group.create_task(follow(job, rng.choice((1, 3, TO_THE_END))))
                case 4 if rng.random() < OFTEN:
                    job.stop(rng.choice(("paused", "cancelled")))
                case _:
                    await turns(rng.randrange(4))
        steps.tell(End("done"))
        group.create_task(follow(job, TO_THE_END))
        await job.wait()
        assert jobs.get(KIND, seed) is None
    assert steps.num_begun == steps.num_ended == 1
    end = job.last(End)
    assert end is not None
    assert end in {End("done"), End(str(job.stop_reason))}
    for story, is_to_the_end in stories:
        check_story(story, [*steps.told, end], is_to_the_end=is_to_the_end)


ONE, OTHER = (Caller(key_id=f"key_{name}", name=name, scope=Scope.MODELS) for name in ("one", "other"))


async def test_a_job_belongs_to_those_who_asked_for_it() -> None:
    async with Jobs() as jobs:
        with acting_for(ONE):
            job = jobs.start(KIND, 1, Steps())
        seen = []
        for caller in (ONE, OTHER, OWNER):
            with acting_for(caller):
                seen.append(job.is_seen)
        job.share(OTHER.key_id)
        with acting_for(OTHER):
            assert job.is_seen
    assert seen == [True, False, True]


async def test_one_of_several_owners_leaves_alone_and_the_last_one_does_not() -> None:
    steps, shares = Steps(), list[JobShare]()
    async with Jobs() as jobs:
        jobs.shared.add(shares.append)
        with acting_for(ONE):
            job = jobs.start(KIND, 1, steps)
            mine = job.follow()
        job.share(OTHER.key_id)
        job.share(OTHER.key_id)
        with acting_for(OTHER):
            theirs = job.follow()
        assert not job.release("key_none", End("left"))
        assert job.release(ONE.key_id, End("left"))
        assert await heard(mine) == [End("left")]
        assert not job.release(ONE.key_id, End("left"))
        assert not job.release(OTHER.key_id, End("left"))
        steps.tell(Lasting(1))
        steps.tell(End("done"))
        assert await heard(theirs) == [Lasting(1), End("done")]
    assert [(share.owner, share.end) for share in shares] == [("key_other", None), ("key_one", End("left"))]


async def test_what_others_asked_for_as_well_is_cancelled_for_whoever_asks_alone() -> None:
    async with Jobs() as jobs:
        with acting_for(ONE):
            both = jobs.start(KIND, 1, Steps(), about="m")
            mine = jobs.start(KIND, 2, Steps(), about="m")
            other = jobs.start(KIND, 3, Steps(), about="n")
            follower = both.follow()
        both.share(OTHER.key_id)
        with acting_for(ONE):
            assert await jobs.cancel(KIND, End("left"), about="m") == 2
            assert (both.has_ended, mine.end, other.has_ended) == (False, End("cancelled"), False)
            assert await heard(follower) == [End("left")]
            assert await jobs.cancel(KIND, End("left"), about="m") == 0, "which is no longer his"
        with acting_for(OTHER):
            assert await jobs.cancel(KIND, End("left")) == 1
        assert (both.end, other.has_ended) == (End("cancelled"), False)


async def test_a_job_that_is_left_by_the_last_owner_who_followed_it_is_abandoned() -> None:
    async with Jobs() as jobs:
        job = jobs.start(KIND, 1, Steps())
        job.share(ONE.key_id)
        with acting_for(ONE):
            follower = job.follow()
        job.on_abandoned = partial(job.stop, "paused")
        assert job.release(ONE.key_id, End("left"))
        assert await heard(follower) == [End("left")]
        await job.wait()
        assert job.end == End("paused")
