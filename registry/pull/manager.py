"""The list of pulls and those that this process runs: start, pause, resume, cancel, go on after a crash.

Every pull has a row in the catalogue and, while a process runs it, a lock that goes with that process; a row that says
`running` without a lock was interrupted. Not here: what a pull does (`puller.py`).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Final, Self, TypeVar

import msgspec

from registry.errors import PullConflictError, RegistryError
from registry.pull.disk import Lock, locked, make_folder, translate_os_errors
from registry.pull.events import Done, Failed, PullEvent, Stopped
from registry.pull.handle import PullHandle, StopState
from registry.pull.orphans import discard
from registry.pull.plan import PullPlan, Wishes
from registry.pull.puller import Puller, PullResult
from registry.store import Registry
from registry.store.pulls import PullRecord, PullWish
from registry.threads import in_thread

_LOCK_TIMEOUT_S: Final = 2.0
"""Others hold a pull's lock for a moment when they look whether it runs."""

_STOPS: Final[dict[str, StopState]] = {"pause": "paused", "cancel": "cancelled"}
_T = TypeVar("_T")

Conclude = Callable[[PullHandle, PullResult], Awaitable[None]]
"""What follows when all files are in their places, while the pull still counts as running: it may tell events; an error
of the registry's fails the pull; it is cancelled when the pull is stopped, and done anew when that goes on."""


class PullStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A pull in the list.

    Attributes:
        is_alive: A process works on it or has it in its queue.
    """

    record: PullRecord
    is_alive: bool

    @property
    def is_interrupted(self) -> bool:
        """Whether the process that ran it is gone; it can be resumed."""
        return self.record.state in {"queued", "running"} and not self.is_alive


class PullManager:
    """Runs pulls; use as an async context manager. Leaving it stops them, to go on at the next start.

    Args:
        max_running: At the same time; others wait.
        poll_s: Between two looks at what other processes want.
        conclude: What follows the transfer; others' transfers do not wait for it.
    """

    def __init__(
        self,
        puller: Puller,
        *,
        max_running: int = 2,
        max_waiting: int = 32,
        poll_s: float = 1.0,
        conclude: Conclude | None = None,
    ) -> None:
        self._puller = puller
        self._conclude = conclude
        self._slots = asyncio.Semaphore(max_running)
        self._max_pulls = max_running + max_waiting
        self._poll_s = poll_s
        self._handles: dict[int, PullHandle] = {}
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for handle in list(self._handles.values()):
            handle.stop("queued")
        await self._group.__aexit__(kind, error, traceback)

    async def start(self, reference: str, wishes: Wishes | None = None) -> PullHandle:
        """Begin a pull, or join the one of this process that does the same.

        Raises:
            PullConflictError: Too many wait already.
        """
        wishes = wishes or Wishes()
        for handle in self._handles.values():
            if (handle.reference, handle.wishes, handle.stop_state) == (reference, wishes, None):
                return handle
        self._check_room()
        text = msgspec.json.encode(wishes).decode()
        record = await self._with_store(lambda registry: registry.pulls.add(reference, text))
        return self._launch(record)

    async def resume(self, pull_id: int) -> PullHandle:
        """Go on with a pull that is paused, failed, cancelled or interrupted.

        Returns:
            The pull; the running one if it runs here.

        Raises:
            PullNotFoundError: There is none.
            PullConflictError: It is done, or another process runs it.
        """
        if pull_id in self._handles and self._handles[pull_id].stop_state is None:
            return self._handles[pull_id]
        await self._until_stopped(pull_id)
        status = await self.get(pull_id)
        if status.record.state == "done":
            raise PullConflictError(f"Pull {pull_id} is done; pull {status.record.reference} again to look for news.")
        if status.is_alive:
            raise PullConflictError(f"Pull {pull_id} runs in another process.")
        self._check_room()
        record = await self._with_store(lambda registry: registry.pulls.set_state(pull_id, "queued"))
        return self._launch(record)

    async def resume_interrupted(self) -> tuple[PullHandle, ...]:
        """Go on with what ran when its process ended; for the start of a server."""
        return tuple([await self.resume(item.record.id) for item in await self.list_pulls() if item.is_interrupted])

    async def pause(self, pull_id: int) -> None:
        """Stop a pull; what came is kept.

        Raises:
            PullNotFoundError: There is none.
            PullConflictError: It has ended.
        """
        await self._stop(pull_id, "pause")

    async def cancel(self, pull_id: int) -> None:
        """Stop a pull and throw away what came.

        Raises:
            PullNotFoundError: There is none.
            PullConflictError: It has ended.
        """
        await self._stop(pull_id, "cancel")

    async def list_pulls(self) -> tuple[PullStatus, ...]:
        """List all pulls, oldest first."""
        records = await self._with_store(lambda registry: registry.pulls.list())
        return tuple([await self._status(record) for record in records])

    async def get(self, pull_id: int) -> PullStatus:
        """Give one pull.

        Raises:
            PullNotFoundError: There is none.
        """
        return await self._status(await self._with_store(lambda registry: registry.pulls.get(pull_id)))

    async def forget(self, pull_id: int) -> None:
        """Take a pull out of the list; its files stay.

        Raises:
            PullNotFoundError: There is none.
            PullConflictError: It runs.
        """
        if (await self.get(pull_id)).is_alive:
            raise PullConflictError(f"Pull {pull_id} runs; pause or cancel it first.")
        await self._with_store(lambda registry: registry.pulls.forget(pull_id))

    def handle_of(self, pull_id: int) -> PullHandle | None:
        """Give a pull that this process runs.

        Returns:
            The pull, or None.
        """
        return self._handles.get(pull_id)

    # --- running ----------------------------------------------------------------------------------------------------

    def _check_room(self) -> None:
        if len(self._handles) >= self._max_pulls:
            raise PullConflictError(f"{len(self._handles)} pulls run or wait already; try again when one has ended.")

    def _launch(self, record: PullRecord) -> PullHandle:
        wishes = msgspec.json.decode(record.wishes, type=Wishes)
        handle = self._handles[record.id] = PullHandle(record.id, record.reference, wishes)
        plan = msgspec.json.decode(record.plan, type=PullPlan) if record.plan is not None else None
        handle.task = self._group.create_task(self._run(handle, plan))
        return handle

    async def _run(self, handle: PullHandle, plan: PullPlan | None) -> None:
        event: PullEvent
        result: PullResult | RegistryError | None = None
        is_foreign = False
        try:
            async with self._owning(handle.id), self._hearing_wishes(handle):
                async with self._slots:
                    fetched = await self._work(handle, plan)
                if self._conclude is not None:
                    await self._conclude(handle, fetched)
                await self._with_store(lambda registry: registry.pulls.set_state(handle.id, "done"))
                result = fetched
            event = Done(paths=tuple(map(str, result.paths)))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            is_foreign = handle.stop_state is None
            handle.stop_state = handle.stop_state or "queued"
            task.uncancel()
            event = await self._stopped(handle.id, handle.stop_state)
        except RegistryError as exc:
            result = exc
            event = await self._failed(handle.id, exc)
        # Told last, so that whoever hears of the end finds the catalogue and the locks as they stay.
        del self._handles[handle.id]
        handle.end(event, result)
        if is_foreign:
            raise asyncio.CancelledError

    async def _work(self, handle: PullHandle, plan: PullPlan | None) -> PullResult:
        await self._with_store(lambda registry: registry.pulls.set_state(handle.id, "running"))
        if plan is None:
            plan = await self._puller.plan(handle.reference, handle.wishes)
            text = msgspec.json.encode(plan).decode()
            total_bytes, done_bytes = plan.total_bytes, plan.done_bytes
            await self._with_store(
                lambda registry: registry.pulls.set_plan(
                    handle.id, text, total_bytes=total_bytes, done_bytes=done_bytes
                )
            )

        def tell(event: PullEvent) -> None:
            if not isinstance(event, Done):  # Told when the catalogue has it, too.
                handle.tell(event)

        result = await self._puller.fetch(plan, tell)
        await self._with_store(lambda registry: registry.pulls.set_done_bytes(handle.id, result.plan.total_bytes))
        return result

    async def _failed(self, pull_id: int, error: RegistryError) -> Failed:
        with contextlib.suppress(RegistryError):  # What failed may be the catalogue itself.
            await self._with_store(
                lambda registry: registry.pulls.set_state(pull_id, "failed", error_code=error.code, error=str(error))
            )
        return Failed(code=error.code, message=str(error))

    async def _stopped(self, pull_id: int, state: StopState) -> Stopped:
        with contextlib.suppress(RegistryError):
            record = await self._with_store(lambda registry: registry.pulls.set_state(pull_id, state))
            if state == "cancelled" and record.plan is not None:
                plan = msgspec.json.decode(record.plan, type=PullPlan)
                await in_thread(lambda: discard(plan, self._puller.folder))
        return Stopped(state=state)

    @asynccontextmanager
    async def _owning(self, pull_id: int) -> AsyncIterator[None]:
        folder = self._puller.folder
        with translate_os_errors(folder.partial_dir):
            folder.models_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            make_folder(folder.partial_dir, folder.models_dir)
        async with contextlib.AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(_LOCK_TIMEOUT_S):
                    await stack.enter_async_context(locked(folder.pull_lock(pull_id)))
            except TimeoutError as exc:
                raise PullConflictError(f"Pull {pull_id} runs in another process.") from exc
            yield

    @asynccontextmanager
    async def _hearing_wishes(self, handle: PullHandle) -> AsyncIterator[None]:
        """While the body runs, note progress and look whether another process wants it to stop."""
        task = asyncio.create_task(self._look_for_wishes(handle))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _look_for_wishes(self, handle: PullHandle) -> None:
        def look(registry: Registry) -> PullWish | None:
            return registry.pulls.set_done_bytes(
                handle.id, handle.progress.done_bytes if handle.progress is not None else None
            )

        while True:
            await asyncio.sleep(self._poll_s)
            with contextlib.suppress(RegistryError):  # A busy catalogue stops no pull; the next look comes soon.
                wanted = await self._with_store(look)
                if wanted is not None:
                    handle.stop(_STOPS[wanted])

    async def _stop(self, pull_id: int, wish: str) -> None:
        if (handle := self._handles.get(pull_id)) is not None:
            handle.stop(_STOPS[wish])
            await self._until_stopped(pull_id)
            return
        status = await self.get(pull_id)
        state = status.record.state
        if status.is_alive:
            await self._with_store(
                lambda registry: registry.pulls.want(pull_id, "pause" if wish == "pause" else "cancel")
            )
            return
        if state in {"done", "cancelled"} or (state == "paused" and wish == "pause"):
            raise PullConflictError(f"Pull {pull_id} is {state} already.")
        record = await self._with_store(lambda registry: registry.pulls.set_state(pull_id, _STOPS[wish]))
        if wish == "cancel" and record.plan is not None:
            plan = msgspec.json.decode(record.plan, type=PullPlan)
            await in_thread(lambda: discard(plan, self._puller.folder))

    async def _until_stopped(self, pull_id: int) -> None:
        handle = self._handles.get(pull_id)
        if handle is not None:
            async for _ in handle.events():
                pass

    async def _status(self, record: PullRecord) -> PullStatus:
        is_open = record.state in {"queued", "running"}
        is_alive = record.id in self._handles or (is_open and self._is_locked(record.id))
        return PullStatus(record=record, is_alive=is_alive)

    def _is_locked(self, pull_id: int) -> bool:
        lock = Lock(self._puller.folder.pull_lock(pull_id))
        try:
            is_free = lock.try_acquire()
        except OSError:
            return False  # Without a folder for locks nothing runs.
        lock.release()
        return not is_free

    async def _with_store(self, work: Callable[[Registry], _T]) -> _T:
        def run() -> _T:
            with Registry(self._puller.database) as registry:
                return work(registry)

        return await in_thread(run)
