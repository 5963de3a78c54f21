"""The owner of all pulls of a process: their list, who may change it, and who follows.

A server has one for its whole life; a command without a server has one for its own. Every pull has a row in the
catalogue and, while a process runs it, a lock that goes with that process: a row that says `running` without a lock was
interrupted. A pull belongs to the keys that asked for it: others do not see it, and it ends when the last of them has
cancelled it. Not here: what a pull does (`pull_work.py`), HTTP and printing.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Hashable, Iterable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec.structs import replace

from registry.errors import InvalidReferenceError, PullConflictError, PullNotFoundError, RegistryError
from registry.hub import HubSettings
from registry.hub.references import LocalReference, parse_pull_reference
from registry.pull import Puller, open_puller
from registry.pull.events import Converting, Planned, Progress, PullEvent, Registered, Started, Stopped
from registry.pull.ownership import as_it_is
from registry.pull_record import ENDED_STATES, PlannedPart, PullInfo, PullOptions, PullPlan
from registry.store import Registry
from registry.store.pulls import StopRequest
from registry.threads import with_registry
from router.errors import UnavailableError
from router.http.caller import Scope, current_caller
from router.jobs.conversions import Converter
from router.jobs.job import Follower, Job, JobKind
from router.jobs.jobs import Jobs
from router.jobs.pull_names import bounded
from router.jobs.pull_work import STOPPED_STATES, Conclude, PullWork
from router.jobs.pulled import conclude
from router.models.permission import check_may_name

logger = logging.getLogger(__name__)

_T = TypeVar("_T")


def _slot_of(event: PullEvent) -> Hashable | None:
    match event:
        case Planned() | Progress() | Converting():
            return type(event)
        case Registered(path=path):
            return path
        case _:
            return None


_PULL: Final = JobKind[PullEvent](name="pull", slot_of=_slot_of)


class PullList(msgspec.Struct, frozen=True):
    """Body of GET /v1/mlxr/models/pulls, oldest first."""

    pulls: tuple[PullInfo, ...]


class PullAccess:
    """A server's pulls, as long as there are any: it may just be starting, or have no hub that can be used."""

    def __init__(self) -> None:
        self._pulls: Pulls | None = None

    def get(self) -> "Pulls":
        """Return them.

        Raises:
            UnavailableError: Nothing can be pulled now.
        """
        if self._pulls is None:
            raise UnavailableError(
                "The server cannot pull now: it is starting, or its log says what is wrong with hub."
            )
        return self._pulls

    async def run(self, opening: AbstractAsyncContextManager["Pulls"]) -> None:
        """Let models be pulled, until cancelled; a hub that cannot be used must not keep models from being served."""
        try:
            async with opening as self._pulls:
                await self._pulls.resume_interrupted()
                await asyncio.get_running_loop().create_future()
        except RegistryError as exc:
            logger.warning("models cannot be pulled: %s", exc)
        finally:
            self._pulls = None


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
    async with open_puller(hub, models_dir, database) as puller:
        try:
            work = partial(conclude, database, models_dir, converter)
            yield Pulls(puller, jobs, conclude=work, budget_bytes=budget_bytes)
        finally:
            await jobs.stop_all(_PULL)


class Pulls:
    """See the module; `jobs` runs them.

    Args:
        budget_bytes: Weights that fit into memory.
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
        self._work = PullWork(puller, conclude, max_running=max_running, poll_s=poll_s)
        self._max_pulls = max_running + max_waiting
        self._changing = asyncio.Lock()

    # --- asking -----------------------------------------------------------------------------------------------------

    async def plan(self, reference: str, options: PullOptions) -> PullPlan:
        """Find out what a pull would do, and do nothing.

        Raises:
            RegistryError: It cannot be pulled.
        """
        return await self._puller.plan(reference, replace(options, budget_bytes=self.budget_bytes))

    def path_of(self, part: PlannedPart) -> Path:
        """Tell where a part of a plan will be: its folder, or its first file."""
        return self._puller.folder.result(part)

    async def get(self, pull_id: int) -> PullInfo:
        """Give one pull.

        Raises:
            PullNotFoundError: There is none, or it is another's.
        """
        await self._owners_of(pull_id)
        return self._as_it_is(await self._with_registry(lambda registry: registry.pulls.get(pull_id)))

    async def list_pulls(self) -> tuple[PullInfo, ...]:
        """List the pulls of whoever asks, oldest first."""
        may_see = current_caller().may_see_any
        owners = await self._with_registry(lambda registry: registry.pulls.owners())
        return tuple(pull for pull in await self._all() if may_see(owners.get(pull.id, ())))

    # --- changing ---------------------------------------------------------------------------------------------------

    async def start(
        self, reference: str, options: PullOptions, *, is_paused_when_left: bool = False
    ) -> Follower[PullEvent]:
        """Begin a pull, or follow the one that does the same: one that runs, or that was stopped on its way.

        Whoever asks has a part in it from then on, whoever asked before.

        Args:
            options: What of it; memory is looked at here.
            is_paused_when_left: When the last of its followers goes, it is paused, unless somebody started it who
                wants it to go on by itself.

        Raises:
            InvalidReferenceError: The reference means nothing, or a file on this machine.
            ModelNameNotAllowedError: What comes would have a name that is not for whoever asks.
            PullConflictError: Too many wait already.
            ShuttingDownError: The process is about to end.
        """
        if isinstance(parse_pull_reference(reference), LocalReference):
            raise InvalidReferenceError(
                f"{reference[:80]!a} is a path; files on this machine are registered with `mlxr models add PATH`."
            )
        self._jobs.check_open()
        caller, options = current_caller(), bounded(current_caller(), reference, options)
        if (name := options.name) is not None:
            await self._with_registry(lambda registry: check_may_name(registry, caller, name))
        async with self._changing:
            before = await self._find_open(reference, options)
            running = None if before is None else self._jobs.get(_PULL, before)
            try:
                job = await (self._begin(reference, options) if before is None else self._join(before))
            except PullConflictError:
                if before is None or await self._find_open(reference, options) == before:
                    raise
                before, job = None, await self._begin(reference, options)  # it ended while it was looked for
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
        await self._owners_of(pull_id)
        async with self._changing:
            job = await self._go_on(pull_id)
        job.on_abandoned = None
        info = await self.get(pull_id)
        return job.follow(first=Started(id=pull_id, reference=info.reference, is_joined=True))

    async def resume_interrupted(self) -> None:
        """Go on with what ran when its process ended; for the start of a server."""
        try:
            for info in await self._all():
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
            PullNotFoundError: There is none, or it is another's.
            PullConflictError: It has ended, or others want it as well.
        """
        caller, owners = current_caller(), await self._owners_of(pull_id)
        if caller.scope is not Scope.ADMIN and owners != {caller.key_id}:
            raise PullConflictError(
                f"Others asked for pull {pull_id} as well; cancelling it takes your part away alone."
            )
        return await self._stop(pull_id, "pause")

    async def cancel(self, pull_id: int) -> PullInfo:
        """Stop a pull and throw away what came; otherwise as `pause`.

        Where others asked for it as well, it goes on for them, and is cancelled for whoever asks alone.
        """
        async with self._changing:
            await self._owners_of(pull_id)
            left = await self._released(pull_id, current_caller().key_id)
        return await self._stop(pull_id, "cancel") if left is None else left

    async def _released(self, pull_id: int, owner: str | None) -> PullInfo | None:
        """Take one owner's part in a pull away; return it as it is for him, None where nobody else wants it."""
        info = await self.get(pull_id)
        if info.state in ENDED_STATES:
            return None
        if not await self._with_registry(lambda registry: registry.pulls.remove_owner(pull_id, owner)):
            return None
        job = self._jobs.get(_PULL, pull_id)
        if job is not None:
            job.release(owner, Stopped(state="cancelled"))
        return replace(info, state="cancelled", bytes_per_s=None, eta_s=None)

    async def _stop(self, pull_id: int, request: StopRequest) -> PullInfo:
        state = STOPPED_STATES[request]
        if (job := self._jobs.get(_PULL, pull_id)) is not None:
            job.stop(state)
            await job.wait()
            return await self.get(pull_id)
        async with self._changing:
            info = await self.get(pull_id)
            if info.state in {"queued", "running"}:  # in another process, which looks at this now and then
                await self._with_registry(lambda registry: registry.pulls.ask_to_stop(pull_id, request))
            elif info.state in {"done", "cancelled", state}:
                raise PullConflictError(f"Pull {pull_id} is {info.state} already.")
            else:
                await self._work.note_stopped(pull_id, state)
            return await self.get(pull_id)

    async def _find_open(self, reference: str, options: PullOptions) -> int | None:
        """Find a pull of the same that runs here, or was stopped without having failed; forget those that ended."""
        wanted = (reference, options.engine, options.vision, options.name, options.called)
        same = [
            info
            for info in await self._all()
            if (info.reference, info.engine, info.vision, info.name, info.called) == wanted
        ]
        here = {job.name for job in self._jobs.running(_PULL)}
        ended = [info.id for info in same if info.state in {"failed", "done", "cancelled"} and info.id not in here]
        with contextlib.suppress(RegistryError):  # A row too many does no harm; the new pull finds what came before.
            await self._with_registry(partial(_forget, pull_ids=ended, owner=current_caller().key_id))
        return next((info.id for info in same if info.id in here or info.state in {"paused", "interrupted"}), None)

    async def _begin(self, reference: str, options: PullOptions) -> Job[PullEvent]:
        self._check_room()
        options, owner = replace(options, budget_bytes=self.budget_bytes), current_caller().key_id
        pull = await self._with_registry(lambda registry: registry.pulls.add(reference, options, owner=owner))
        return self._launch(pull, frozenset({owner}))

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
        owners = await self._with_registry(lambda registry: registry.pulls.owners_of(pull_id))
        queued = await self._with_registry(lambda registry: registry.pulls.set_state(pull_id, "queued"))
        return self._launch(queued, owners)

    async def _join(self, pull_id: int) -> Job[PullEvent]:
        """Go on with a pull for whoever asks as well."""
        owner = current_caller().key_id
        await self._with_registry(lambda registry: registry.pulls.add_owner(pull_id, owner))
        job = await self._go_on(pull_id)
        job.share(owner)
        return job

    async def _owners_of(self, pull_id: int) -> frozenset[str | None]:
        """Return whose a pull is.

        Raises:
            PullNotFoundError: There is none, or it is another's.
        """
        owners = await self._with_registry(lambda registry: registry.pulls.owners_of(pull_id))
        if not current_caller().may_see_any(owners):
            raise PullNotFoundError.of(pull_id)
        return owners

    async def _all(self) -> tuple[PullInfo, ...]:
        return tuple(self._as_it_is(pull) for pull in await self._with_registry(lambda registry: registry.pulls.list()))

    def _check_room(self) -> None:
        num_pulls = len(self._jobs.running(_PULL))
        if num_pulls >= self._max_pulls:
            raise PullConflictError(f"{num_pulls} pulls run or wait already; try again when one has ended.")

    def _launch(self, pull: PullInfo, owners: frozenset[str | None]) -> Job[PullEvent]:
        return self._jobs.start(_PULL, pull.id, partial(self._work.run, pull), about=pull.reference, owners=owners)

    def _as_it_is(self, info: PullInfo) -> PullInfo:
        if (job := self._jobs.get(_PULL, info.id)) is None:
            return as_it_is(info, self._puller.folder)
        if (now := job.last(Progress)) is None:
            return info
        info = replace(info, done_bytes=now.done_bytes, bytes_per_s=now.bytes_per_s, eta_s=now.eta_s)
        step = job.last(Converting)
        return info if step is None else replace(info, step=step.step, step_share=step.share, bytes_per_s=None)

    async def _with_registry(self, work: Callable[[Registry], _T]) -> _T:
        return await with_registry(self._puller.database, work)


def _forget(registry: Registry, pull_ids: Iterable[int], owner: str | None) -> None:
    """Take pulls out of one owner's list, and out of the catalogue where they are in no other's."""
    for pull_id in pull_ids:
        if registry.pulls.owners_of(pull_id) == {owner}:
            registry.pulls.forget(pull_id)
        else:
            registry.pulls.remove_owner(pull_id, owner)
