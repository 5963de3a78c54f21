"""The owner of all pulls of a process: runs them, registers what they bring, and tells those who follow them.

A form that was wished for and that no repository has is made from what came, as the pull's last part. The server
has one for its whole life; a command without a server has one for its own. Not here: the transfer
(`registry.pull`), HTTP (`control/pulls.py`) and printing.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

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
from registry.pull import (
    PlannedPart,
    Puller,
    PullHandle,
    PullManager,
    PullPlan,
    PullSettings,
    Wishes,
    open_puller,
)
from registry.pull.folder import PullFolder
from router.errors import ShuttingDownError
from router.jobs.convert.converter import Converter
from router.jobs.pull_conclusion import PullConclusion
from router.jobs.pull_events import ModelPullEvent, PullInfo, Started, info_of
from router.placement.memory import MemoryBudget

logger = logging.getLogger(__name__)

MAX_RUNNING: Final = 2
"""Pulls at a time; others wait. One alone fills most lines, two hide each other's pauses."""

WEIGHTS_SHARE: Final = 0.8
"""Of the memory that an engine may have at most; the rest is for the cache, buffers and the system."""


def weights_budget(budget: MemoryBudget) -> int:
    """Tell how large weights may be on this machine, whatever is loaded now.

    Returns:
        Bytes.
    """
    return int(WEIGHTS_SHARE * (budget.wired_limit_bytes or budget.total_bytes))


_MISTAKES: Final = (InvalidReferenceError, NothingToPullError, HubNotFoundError)
"""What was asked for is not there: there is nothing to go on with, and the list is kept clear of it."""


class Pulls:
    """Use as an async context manager. Leaving it stops what runs, to go on at the next start of a server.

    Args:
        converter: Makes the forms that no repository has.
    """

    def __init__(
        self,
        hub: HubSettings,
        models_dir: Path,
        database: Path,
        *,
        converter: Converter,
        budget_bytes: int,
        settings: PullSettings | None = None,
    ) -> None:
        self._conclusion = PullConclusion(database, models_dir, converter)
        self.budget_bytes = budget_bytes
        self._hub = hub
        self._models_dir = models_dir
        self._database = database
        self._settings = settings or PullSettings(local_paths=False)
        self._stack = contextlib.AsyncExitStack()
        self._watching: dict[int, asyncio.Task[None]] = {}
        self._left_alone: set[int] = set()
        """Pulls that are paused when nobody follows them any more."""
        self._is_open = False
        self._is_closing = False
        self._group: asyncio.TaskGroup
        self._puller: Puller
        self._manager: PullManager

    async def __aenter__(self) -> Self:
        async with self._stack:
            self._puller = await self._stack.enter_async_context(
                open_puller(self._hub, self._models_dir, self._database, self._settings)
            )
            self._group = await self._stack.enter_async_context(asyncio.TaskGroup())
            manager = PullManager(self._puller, max_running=MAX_RUNNING, conclude=self._conclusion.conclude)
            self._manager = await self._stack.enter_async_context(manager)
            self._stack = self._stack.pop_all()
        self._is_open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        # Without the error: each part ends by itself, and nothing is cut off in the middle of a registration.
        await self._stack.aclose()

    @property
    def is_open(self) -> bool:
        """Whether it was entered: pulls can be started and looked at."""
        return self._is_open

    async def run(self) -> None:
        """Be the task of a server: go on with what was interrupted, until cancelled."""
        async with self:
            try:
                await self._resume_interrupted()
                await asyncio.get_running_loop().create_future()
            finally:
                self.close()

    def close(self) -> None:
        """Take no more, and have what runs stop; those who follow are told so."""
        self._is_closing = True
        for pull_id in list(self._watching):
            if (handle := self._manager.handle_of(pull_id)) is not None:
                handle.stop("queued")

    async def plan(self, reference: str, wishes: Wishes) -> PullPlan:
        """Find out what a pull would do, and do nothing.

        Raises:
            RegistryError: It cannot be pulled.
        """
        return await self._puller.plan(reference, self._with_budget(wishes))

    def path_of(self, part: PlannedPart) -> Path:
        """Tell where a part of a plan will be: its folder, or its first file."""
        return PullFolder(self._models_dir).result(part)

    async def start(
        self, reference: str, wishes: Wishes, *, is_paused_when_left: bool = False
    ) -> AsyncGenerator[ModelPullEvent, None]:
        """Begin a pull, or follow the one that does the same: one that runs, or that was stopped on its way.

        Args:
            wishes: What of it; memory is looked at here.
            is_paused_when_left: When the last of its followers goes, it is paused, unless somebody started it who
                wants it to go on by itself.

        Returns:
            Its events, a final one last. Without `is_paused_when_left`, whether anybody follows them changes nothing.

        Raises:
            InvalidReferenceError: The reference means nothing, or a file on this machine.
            PullConflictError: Too many wait already.
            ShuttingDownError: The process is about to end.
        """
        self._check_open()
        if isinstance(parse_pull_reference(reference), LocalReference):
            raise InvalidReferenceError(
                f"{reference[:80]!a} is a path; files on this machine are registered with `mlxr models add PATH`."
            )
        wishes = self._with_budget(wishes)
        before = await self._find_open(reference, wishes)
        is_running = before is not None and self._manager.handle_of(before) is not None
        if before is not None:
            handle = await self._manager.resume(before)
        else:
            handle = await self._manager.start(reference, wishes)
        if not is_paused_when_left:
            self._left_alone.discard(handle.id)
        elif not is_running:
            self._left_alone.add(handle.id)
        return self._events(self._followed(handle), is_joined=before is not None)

    async def resume(self, pull_id: int) -> AsyncGenerator[ModelPullEvent, None]:
        """Go on with a pull that was stopped or failed, or follow it if it runs here.

        Returns:
            Its events, as `start` gives them.

        Raises:
            PullNotFoundError: There is none.
            PullConflictError: It is done, or another process runs it.
            ShuttingDownError: The process is about to end.
        """
        self._check_open()
        self._left_alone.discard(pull_id)
        return self._events(self._followed(await self._manager.resume(pull_id)), is_joined=True)

    async def pause(self, pull_id: int) -> PullInfo:
        """Stop a pull; what came is kept.

        Returns:
            The pull; its state may still be the old one when another process runs it.

        Raises:
            PullNotFoundError: There is none.
            PullConflictError: It has ended.
        """
        await self._manager.pause(pull_id)
        return await self.get(pull_id)

    async def cancel(self, pull_id: int) -> PullInfo:
        """Stop a pull and throw away what came.

        Returns:
            The pull, as `pause` gives it.

        Raises:
            PullNotFoundError: There is none.
            PullConflictError: It has ended.
        """
        await self._manager.cancel(pull_id)
        return await self.get(pull_id)

    async def get(self, pull_id: int) -> PullInfo:
        """Give one pull.

        Raises:
            PullNotFoundError: There is none.
        """
        return self._with_progress(info_of(await self._manager.get(pull_id)))

    async def list_pulls(self) -> tuple[PullInfo, ...]:
        """List all pulls, oldest first."""
        return tuple(self._with_progress(info_of(status)) for status in await self._manager.list_pulls())

    # --- following --------------------------------------------------------------------------------------------------

    def _followed(self, handle: PullHandle) -> PullHandle:
        """See to it that its end is noted, whoever else follows."""
        task = self._watching.get(handle.id)
        if task is None or (task.done() and not handle.is_ended):
            self._watching[handle.id] = self._group.create_task(self._watch(handle))
        return handle

    async def _watch(self, handle: PullHandle) -> None:
        try:
            await handle.wait()
        except PullConflictError:  # paused, cancelled, or stopped by the end of the process
            return
        except RegistryError as exc:
            logger.info("pull %d of %s failed: %s", handle.id, handle.reference, exc)
            if isinstance(exc, _MISTAKES):
                await self._forget(handle.id)
        else:
            logger.info("pull %d is done", handle.id)

    async def _events(self, handle: PullHandle, *, is_joined: bool) -> AsyncGenerator[ModelPullEvent, None]:
        yield Started(id=handle.id, reference=handle.reference, is_joined=is_joined)
        try:
            async with contextlib.aclosing(handle.events()) as events:
                async for event in events:
                    yield event
        finally:
            # One reader is `_watch`, which is no follower.
            if handle.id in self._left_alone and handle.num_readers <= 1:
                handle.stop("paused")

    # --- looking ----------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._is_closing:
            raise ShuttingDownError

    def _with_budget(self, wishes: Wishes) -> Wishes:
        return replace(wishes, budget_bytes=self.budget_bytes)

    async def _find_open(self, reference: str, wishes: Wishes) -> int | None:
        """Find a pull of the same that runs here, or that was stopped without having failed."""
        for status in await self._manager.list_pulls():
            info = info_of(status)
            same = (info.reference, info.engine, info.vision, info.name, info.called)
            if same != (reference, wishes.engine, wishes.vision, wishes.name, wishes.called):
                continue
            is_here = self._manager.handle_of(info.id) is not None
            if is_here or info.state in {"paused", "interrupted"}:
                return info.id
            if info.state in {"failed", "done", "cancelled"}:  # The new one finds what this one has fetched.
                await self._forget(info.id)
        return None

    async def _forget(self, pull_id: int) -> None:
        with contextlib.suppress(RegistryError):  # A row too many does no harm.
            await self._manager.forget(pull_id)

    def _with_progress(self, info: PullInfo) -> PullInfo:
        handle = self._manager.handle_of(info.id)
        if handle is None or handle.progress is None:
            return info
        now, step = handle.progress, handle.converting
        info = replace(info, done_bytes=now.done_bytes, bytes_per_s=now.bytes_per_s, eta_s=now.eta_s)
        return info if step is None else replace(info, step=step.step, step_share=step.share, bytes_per_s=None)

    async def _resume_interrupted(self) -> None:
        try:
            interrupted = [info for info in await self.list_pulls() if info.state == "interrupted"]
            for info in interrupted:
                self._followed(await self._manager.resume(info.id))
                logger.info("going on with pull %d of %s", info.id, info.reference)
        except RegistryError as exc:
            logger.warning("the pulls that were interrupted were left alone: %s", exc)
