"""One pull from its row in the list to its end, as the work of a job. Not here: the list, and who may change it."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Literal, TypeVar

from registry.errors import HubNotFoundError, InvalidReferenceError, NothingToPullError, RegistryError
from registry.pull import Puller, PullResult
from registry.pull.events import Done, Failed, Progress, PullEvent, Stopped
from registry.pull.orphans import discard
from registry.pull.ownership import owned
from registry.pull_record import PullInfo, PullOptions
from registry.store import Registry
from registry.store.pulls import StopRequest
from registry.threads import in_thread, with_registry
from router.jobs.job import Job

logger = logging.getLogger(__name__)

_T = TypeVar("_T")
Conclude = Callable[[Job[PullEvent], PullOptions, PullResult], Awaitable[None]]
"""What follows when all files are in their places, while the pull still counts as running: it may tell events; an error
of the registry's fails the pull; it is cancelled when the pull is stopped, and done anew when that goes on."""

STOPPED_STATES: Final[dict[StopRequest, Literal["paused", "cancelled"]]] = {"pause": "paused", "cancel": "cancelled"}
_MISTAKES: Final = (InvalidReferenceError, NothingToPullError, HubNotFoundError)
"""What was asked for is not there: there is nothing to go on with, and the list is kept clear of it."""


class PullWork:
    """Does it.

    Args:
        max_running: At a time; others wait. One alone fills most lines, two hide each other's pauses.
        poll_s: Between two looks at what other processes want.
    """

    def __init__(self, puller: Puller, conclude: Conclude, *, max_running: int, poll_s: float) -> None:
        self._puller = puller
        self._conclude = conclude
        self._slots = asyncio.Semaphore(max_running)
        self._poll_s = poll_s

    async def run(self, pull: PullInfo, job: Job[PullEvent]) -> PullEvent:
        """Go on with a pull that is queued, and return its last event; the list has its end before."""
        listening = asyncio.create_task(self._listen(job))
        try:
            async with owned(self._puller.folder, pull.id):
                options = await self._with_registry(lambda registry: registry.pulls.options_of(pull.id))
                async with self._slots:
                    result = await self._fetch(pull, options, job)
                await self._conclude(job, options, result)
                job.is_ending = True
                await self._with_registry(lambda registry: registry.pulls.set_state(pull.id, "done"))
        except asyncio.CancelledError:
            state = job.stop_reason if job.stop_reason in {"paused", "cancelled"} else "queued"
            with contextlib.suppress(RegistryError):
                await self.note_stopped(pull.id, state)
            return Stopped(state=state)
        except RegistryError as exc:
            job.is_ending = True
            logger.info("pull %d of %s failed: %s", pull.id, pull.reference, exc)
            with contextlib.suppress(RegistryError):  # What failed may be the catalogue itself.
                await self._note_failed(pull.id, exc)
            return Failed(code=exc.code, message=str(exc))
        finally:
            listening.cancel()
            await asyncio.wait([listening])
        logger.info("pull %d is done", pull.id)
        return Done(paths=tuple(map(str, result.paths)))

    async def note_stopped(self, pull_id: int, state: Literal["paused", "cancelled", "queued"]) -> None:
        """Record that a pull was stopped; what came of one that is cancelled is thrown away."""
        await self._with_registry(lambda registry: registry.pulls.set_state(pull_id, state))
        if state == "cancelled":
            plan = await self._with_registry(lambda registry: registry.pulls.plan_of(pull_id))
            if plan is not None:
                await in_thread(partial(discard, plan, self._puller.folder))

    async def _note_failed(self, pull_id: int, error: RegistryError) -> None:
        if isinstance(error, _MISTAKES):
            await self._with_registry(lambda registry: registry.pulls.forget(pull_id))
        else:
            code, text = error.code, str(error)
            await self._with_registry(
                lambda registry: registry.pulls.set_state(pull_id, "failed", error_code=code, error=text)
            )

    async def _fetch(self, pull: PullInfo, options: PullOptions, job: Job[PullEvent]) -> PullResult:
        await self._with_registry(lambda registry: registry.pulls.set_state(pull.id, "running"))
        plan = await self._with_registry(lambda registry: registry.pulls.plan_of(pull.id))
        if plan is None:
            plan = new = await self._puller.plan(pull.reference, options)
            await self._with_registry(lambda registry: registry.pulls.set_plan(pull.id, new))
        result = await self._puller.fetch(plan, job.tell)
        await self._with_registry(lambda registry: registry.pulls.set_done_bytes(pull.id, result.plan.total_bytes))
        return result

    async def _listen(self, job: Job[PullEvent]) -> None:
        """Note how far a pull is, and stop it when another process wants that."""

        def look(registry: Registry) -> StopRequest | None:
            progress = job.last(Progress)
            return registry.pulls.set_done_bytes(job.name, None if progress is None else progress.done_bytes)

        while True:
            await asyncio.sleep(self._poll_s)
            with contextlib.suppress(RegistryError):  # A busy catalogue stops no pull; the next look comes soon.
                if (request := await self._with_registry(look)) is not None:
                    job.stop(STOPPED_STATES[request])

    async def _with_registry(self, work: Callable[[Registry], _T]) -> _T:
        return await with_registry(self._puller.database, work)
