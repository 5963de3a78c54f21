"""What tells of the machine's sleep, on whatever system. Not here: what is done then (`router.suspension`)."""

import abc
import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from router.sleep.awake import AwakeTimer

logger = logging.getLogger(__name__)

OnSleep = Callable[[float], Awaitable[object]]
OnWake = Callable[[], Awaitable[object]]

ENDING_SHARE: Final = 0.4
"""Of the time that the system waits, kept for ending the worker and for giving its memory back."""

PATIENCE_S: Final = 60.0
"""A machine that is let go sleeps within seconds, and its clock stands still then."""


class SleepNotices(abc.ABC):
    """One task of the gateway.

    Args:
        on_sleep: Called before the machine sleeps, with the seconds that running answers may take; cancelled where it
            stays awake after all.
        on_wake: Called after that, also where the machine stays awake after all, or tells nothing any more.
        patience_s: How long a machine that was let go may stay awake before it is taken to have changed its mind.
    """

    def __init__(
        self,
        on_sleep: OnSleep,
        on_wake: OnWake,
        *,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._on_sleep = on_sleep
        self._on_wake = on_wake
        self._patience_s = patience_s
        self._news: asyncio.Queue[bool | None] = asyncio.Queue()

    @abc.abstractmethod
    async def run(self) -> None:
        """Act on what the system tells until cancelled; return where it tells nothing."""

    @abc.abstractmethod
    async def _hold(self) -> None:
        """Let the system wait for us before its next sleep."""

    @abc.abstractmethod
    def _release(self) -> None:
        """Let the machine sleep; does nothing when it was let go already."""

    async def _act(self, waits_s: float) -> None:
        """Act on news: the machine is going to sleep, it is awake, or (None) there will be no more.

        Args:
            waits_s: How long the system waits for us.
        """
        going: asyncio.Task[None] | None = None
        try:
            await self._hold()
            while (is_going := await self._news.get()) is not None:
                await _ended(going)
                if is_going:
                    logger.info("the machine is about to sleep")
                    going = asyncio.create_task(self._go(waits_s * (1 - ENDING_SHARE)))
                elif going is not None:
                    going = None
                    logger.info("the machine is awake")
                    await self._told(self._on_wake())
                    await self._hold()
        finally:
            await _ended(going)
            self._release()
            if going is not None:
                await self._told(self._on_wake())

    async def _go(self, budget_s: float) -> None:
        """Do what is to be done before the sleep, let the machine sleep, and wait for it to be awake."""
        try:
            await self._told(self._on_sleep(budget_s))
        finally:
            self._release()
        timer = AwakeTimer(self._patience_s, self._on_impatience)
        try:
            await asyncio.Event().wait()
        finally:
            timer.cancel()

    def _on_impatience(self) -> None:
        logger.warning("the machine was about to sleep, and is still awake: work is taken up again")
        self._news.put_nowait(False)

    async def _told(self, work: Awaitable[object]) -> None:
        try:
            await work
        except Exception:  # a defect must not keep the machine awake, nor end the notices
            logger.exception("what is done for the machine's sleep has failed")


async def _ended(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
