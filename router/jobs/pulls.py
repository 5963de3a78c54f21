"""The owner of all pulls of a process: their list, running them, and telling those who follow them.

A server has one for its whole life; a command without a server has one for its own. Every pull has a row in the
catalogue and, while a process runs it, a lock that goes with that process: a row that says `running` without a lock was
interrupted. Not here: the transfer (`registry.pull`), what follows it (`pulled.py`), HTTP and printing.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeVar

import msgspec
from msgspec.structs import replace

from registry.errors import (
    HubNotFoundError,
    InvalidReferenceError,
    NothingToPullError,
    PullConflictError,
    RegistryError,
)
from registry.hub import HubSettings
from registry.hub.references import LocalReference, parse_pull_reference
from registry.pull import PlannedPart, Puller, PullPlan, PullResult, PullSettings, Wishes, open_puller
from registry.pull.events import Converting, Done, Failed, Planned, Progress, PullEvent, Registered, Started, Stopped
from registry.pull.orphans import discard
from registry.pull.ownership import is_owned, owned
from registry.store import Registry
from registry.store.pulls import PullRecord, PullWish
from registry.threads import in_thread
from router.jobs.convert.converter import Converter
from router.jobs.job import Follower, Job, JobKind, Jobs
from router.jobs.pull_events import PullInfo, info_of
from router.jobs.pulled import PullConclusion
from router.placement.memory import MemoryBudget

logger = logging.getLogger(__name__)

WEIGHTS_SHARE: Final = 0.8
"""Of the memory that an engine may have at most; the rest is for the cache, buffers and the system."""

_T = TypeVar("_T")
Conclude = Callable[[Job[PullEvent], Wishes, PullResult], Awaitable[None]]
"""What follows when all files are in their places, while the pull still counts as running: it may tell events; an error
of the registry's fails the pull; it is cancelled when the pull is stopped, and done anew when that goes on."""

_StoppedState = Literal["paused", "cancelled"]
_WANTED: Final[dict[_StoppedState, PullWish]] = {"paused": "pause", "cancelled": "cancel"}
_MISTAKES: Final = (InvalidReferenceError, NothingToPullError, HubNotFoundError)
"""What was asked for is not there: there is nothing to go on with, and the list is kept clear of it."""


def _slot_of(event: PullEvent) -> Hashable | None:
    match event:
        case Planned() | Progress() | Converting():
            return type(event)
        case Registered(path=path):
            return path
        case _:
            return None


_PULL: Final = JobKind[PullEvent](name="pull", slot_of=_slot_of)


def weights_budget(budget: MemoryBudget) -> int:
    """Tell how large weights may be on this machine, whatever is loaded now.

    Returns:
        Bytes.
    """
    return int(WEIGHTS_SHARE * (budget.wired_limit_bytes or budget.total_bytes))


@contextlib.asynccontextmanager
async def open_pulls(
    hub: HubSettings, models_dir: Path, database: Path, jobs: Jobs, *, converter: Converter, budget_bytes: int
) -> AsyncIterator["Pulls"]:
    """Open what pulls models; leaving it stops the pulls that run, to go on at the next start of a server.

    Args:
        converter: Makes the forms that no repository has.
        budget_bytes: Weights that fit into memory.

    Raises:
        HubUnreachableError: The settings make no sense.
    """
    async with open_puller(hub, models_dir, database, PullSettings(local_paths=False)) as puller:
        conclude = PullConclusion(database, models_dir, converter).conclude
        try:
            yield Pulls(puller, jobs, conclude=conclude, budget_bytes=budget_bytes)
        finally:
            await jobs.stop_all(_PULL)


class Pulls:
    """See the module; `jobs` runs them.

    Args:
        budget_bytes: Weights that fit into memory.
        max_running: At a time; others wait. One alone fills most lines, two hide each other's pauses.
        poll_s: Between two looks at what other processes want.
    """

    def __init__(
        self,
        puller: Puller,
        jobs: Jobs,
        *,
        conclude: Conclude,
        budget_bytes: int,
        max_running: int = 2,
        max_waiting: int = 32,
        poll_s: float = 1.0,
    ) -> None:
        self.budget_bytes = budget_bytes
        self._puller = puller
        self._jobs = jobs
        self._conclude = conclude
        self._slots = asyncio.Semaphore(max_running)
        self._max_pulls = max_running + max_waiting
        self._poll_s = poll_s
        self._changing = asyncio.Lock()

    # --- asking -----------------------------------------------------------------------------------------------------

    async def plan(self, reference: str, wishes: Wishes) -> PullPlan:
        """Find out what a pull would do, and do nothing.

        Raises:
            RegistryError: It cannot be pulled.
        """
        return await self._puller.plan(reference, replace(wishes, budget_bytes=self.budget_bytes))

    def path_of(self, part: PlannedPart) -> Path:
        """Tell where a part of a plan will be: its folder, or its first file."""
        return self._puller.folder.result(part)

    async def get(self, pull_id: int) -> PullInfo:
        """Give one pull.

        Raises:
            PullNotFoundError: There is none.
        """
        return self._info(await self._with_registry(lambda registry: registry.pulls.get(pull_id)))

    async def list_pulls(self) -> tuple[PullInfo, ...]:
        """List all pulls, oldest first."""
        return tuple(self._info(record) for record in await self._with_registry(lambda registry: registry.pulls.list()))

    # --- changing ---------------------------------------------------------------------------------------------------

    async def start(self, reference: str, wishes: Wishes, *, is_paused_when_left: bool = False) -> Follower[PullEvent]:
        """Begin a pull, or follow the one that does the same: one that runs, or that was stopped on its way.

        Args:
            wishes: What of it; memory is looked at here.
            is_paused_when_left: When the last of its followers goes, it is paused, unless somebody started it who
                wants it to go on by itself.

        Raises:
            InvalidReferenceError: The reference means nothing, or a file on this machine.
            PullConflictError: Too many wait already.
            ShuttingDownError: The process is about to end.
        """
        if isinstance(parse_pull_reference(reference), LocalReference):
            raise InvalidReferenceError(
                f"{reference[:80]!a} is a path; files on this machine are registered with `mlxr models add PATH`."
            )
        self._jobs.check_open()
        async with self._changing:
            before = await self._find_open(reference, wishes)
            running = None if before is None else self._jobs.get(_PULL, before)
            job = await (self._begin(reference, wishes) if before is None else self._go_on(before))
        if not is_paused_when_left:
            job.on_abandoned = None
        elif job is not running:
            job.on_abandoned = partial(job.stop, "paused")
        return job.follow(first=Started(id=job.name, reference=reference, is_joined=before is not None))

    async def resume(self, pull_id: int) -> Follower[PullEvent]:
        """Go on with a pull that was stopped or failed, or follow it if it runs here.

        Raises:
            PullNotFoundError: There is none.
            PullConflictError: It is done, or another process runs it.
            ShuttingDownError: The process is about to end.
        """
        self._jobs.check_open()
        async with self._changing:
            job = await self._go_on(pull_id)
        job.on_abandoned = None
        info = await self.get(pull_id)
        return job.follow(first=Started(id=pull_id, reference=info.reference, is_joined=True))

    async def resume_interrupted(self) -> None:
        """Go on with what ran when its process ended; for the start of a server."""
        try:
            for info in await self.list_pulls():
                if info.state == "interrupted":
                    async with self._changing:
                        await self._go_on(info.id)
                    logger.info("going on with pull %d of %s", info.id, info.reference)
        except RegistryError as exc:
            logger.warning("the pulls that were interrupted were left alone: %s", exc)

    async def pause(self, pull_id: int) -> PullInfo:
        """Stop a pull; what came is kept.

        Returns:
            The pull; its state may still be the old one when another process runs it.

        Raises:
            PullNotFoundError: There is none.
            PullConflictError: It has ended.
        """
        return await self._stop(pull_id, "paused")

    async def cancel(self, pull_id: int) -> PullInfo:
        """Stop a pull and throw away what came; otherwise as `pause`."""
        return await self._stop(pull_id, "cancelled")

    async def _stop(self, pull_id: int, state: _StoppedState) -> PullInfo:
        if (job := self._jobs.get(_PULL, pull_id)) is not None:
            job.stop(state)
            await job.wait()
            return await self.get(pull_id)
        async with self._changing:
            info = await self.get(pull_id)
            if info.state in {"queued", "running"}:  # in another process, which looks at this now and then
                await self._with_registry(lambda registry: registry.pulls.want(pull_id, _WANTED[state]))
            elif info.state in {"done", "cancelled", state}:
                raise PullConflictError(f"Pull {pull_id} is {info.state} already.")
            else:
                await self._note_stopped(pull_id, state)
            return await self.get(pull_id)

    async def _find_open(self, reference: str, wishes: Wishes) -> int | None:
        """Find a pull of the same that runs here, or was stopped without having failed; forget those that ended."""
        wanted = (reference, wishes.engine, wishes.vision, wishes.name, wishes.called)
        for info in await self.list_pulls():
            if (info.reference, info.engine, info.vision, info.name, info.called) != wanted:
                continue
            if self._jobs.get(_PULL, info.id) is not None or info.state in {"paused", "interrupted"}:
                return info.id
            if info.state in {"failed", "done", "cancelled"}:  # The new one finds what this one has fetched.
                await self._forget(info.id)
        return None

    async def _forget(self, pull_id: int) -> None:
        with contextlib.suppress(RegistryError):  # A row too many does no harm.
            await self._with_registry(lambda registry: registry.pulls.forget(pull_id))

    async def _begin(self, reference: str, wishes: Wishes) -> Job[PullEvent]:
        self._check_room()
        text = msgspec.json.encode(replace(wishes, budget_bytes=self.budget_bytes)).decode()
        return self._launch(await self._with_registry(lambda registry: registry.pulls.add(reference, text)))

    async def _go_on(self, pull_id: int) -> Job[PullEvent]:
        if (job := self._jobs.get(_PULL, pull_id)) is not None:
            if job.stop_reason is None:
                return job
            await job.wait()
        info = await self.get(pull_id)
        if info.state == "done":
            raise PullConflictError(f"Pull {pull_id} is done; pull {info.reference} again to look for news.")
        if info.state in {"queued", "running"}:
            raise PullConflictError(f"Pull {pull_id} runs in another process.")
        self._check_room()
        return self._launch(await self._with_registry(lambda registry: registry.pulls.set_state(pull_id, "queued")))

    def _check_room(self) -> None:
        num_pulls = len(self._jobs.running(_PULL))
        if num_pulls >= self._max_pulls:
            raise PullConflictError(f"{num_pulls} pulls run or wait already; try again when one has ended.")

    def _launch(self, record: PullRecord) -> Job[PullEvent]:
        return self._jobs.start(_PULL, record.id, partial(self._pull, record))

    # --- running ----------------------------------------------------------------------------------------------------

    async def _pull(self, record: PullRecord, job: Job[PullEvent]) -> PullEvent:
        wishes = msgspec.json.decode(record.wishes, type=Wishes)
        listening = asyncio.create_task(self._listen(job))
        try:
            async with owned(self._puller.folder, record.id):
                async with self._slots:
                    result = await self._fetch(record, wishes, job)
                await self._conclude(job, wishes, result)
                job.is_ending = True
                await self._with_registry(lambda registry: registry.pulls.set_state(record.id, "done"))
        except asyncio.CancelledError:
            state = job.stop_reason if job.stop_reason in {"paused", "cancelled"} else "queued"
            with contextlib.suppress(RegistryError):
                await self._note_stopped(record.id, state)
            return Stopped(state=state)
        except RegistryError as exc:
            job.is_ending = True
            logger.info("pull %d of %s failed: %s", record.id, record.reference, exc)
            await self._note_failed(record.id, exc)
            return Failed(code=exc.code, message=str(exc))
        finally:
            listening.cancel()
            await asyncio.wait([listening])
        logger.info("pull %d is done", record.id)
        return Done(paths=tuple(map(str, result.paths)))

    async def _fetch(self, record: PullRecord, wishes: Wishes, job: Job[PullEvent]) -> PullResult:
        await self._with_registry(lambda registry: registry.pulls.set_state(record.id, "running"))
        if record.plan is not None:
            plan = msgspec.json.decode(record.plan, type=PullPlan)
        else:
            plan = await self._puller.plan(record.reference, wishes)
            text, total_bytes, done_bytes = msgspec.json.encode(plan).decode(), plan.total_bytes, plan.done_bytes
            await self._with_registry(
                lambda registry: registry.pulls.set_plan(
                    record.id, text, total_bytes=total_bytes, done_bytes=done_bytes
                )
            )
        result = await self._puller.fetch(plan, job.tell)
        await self._with_registry(lambda registry: registry.pulls.set_done_bytes(record.id, result.plan.total_bytes))
        return result

    async def _listen(self, job: Job[PullEvent]) -> None:
        """Note how far a pull is, and stop it when another process wants that."""
        states = {wanted: state for state, wanted in _WANTED.items()}

        def look(registry: Registry) -> PullWish | None:
            progress = job.last(Progress)
            return registry.pulls.set_done_bytes(job.name, None if progress is None else progress.done_bytes)

        while True:
            await asyncio.sleep(self._poll_s)
            with contextlib.suppress(RegistryError):  # A busy catalogue stops no pull; the next look comes soon.
                if (wanted := await self._with_registry(look)) is not None:
                    job.stop(states[wanted])

    async def _note_failed(self, pull_id: int, error: RegistryError) -> None:
        if isinstance(error, _MISTAKES):
            await self._forget(pull_id)
            return
        with contextlib.suppress(RegistryError):  # What failed may be the catalogue itself.
            await self._with_registry(
                lambda registry: registry.pulls.set_state(pull_id, "failed", error_code=error.code, error=str(error))
            )

    async def _note_stopped(self, pull_id: int, state: Literal["paused", "cancelled", "queued"]) -> None:
        record = await self._with_registry(lambda registry: registry.pulls.set_state(pull_id, state))
        if state == "cancelled" and record.plan is not None:
            plan = msgspec.json.decode(record.plan, type=PullPlan)
            await in_thread(lambda: discard(plan, self._puller.folder))

    def _info(self, record: PullRecord) -> PullInfo:
        info, job = info_of(record), self._jobs.get(_PULL, record.id)
        if job is None:
            is_interrupted = info.state in {"queued", "running"} and not is_owned(self._puller.folder, record.id)
            return replace(info, state="interrupted") if is_interrupted else info
        if (now := job.last(Progress)) is None:
            return info
        info = replace(info, done_bytes=now.done_bytes, bytes_per_s=now.bytes_per_s, eta_s=now.eta_s)
        step = job.last(Converting)
        return info if step is None else replace(info, step=step.step, step_share=step.share, bytes_per_s=None)

    async def _with_registry(self, work: Callable[[Registry], _T]) -> _T:
        def run() -> _T:
            with Registry(self._puller.database) as registry:
                return work(registry)

        return await in_thread(run)
