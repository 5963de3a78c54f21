"""The machine's sleep on macOS: IOKit's notices (`backends.machine.apple_power`), brought to the event loop.

Not run on a Mac.
"""

import asyncio
import logging
import threading
from collections.abc import Callable

from backends.machine.apple_power import ANSWER_WITHIN_S, PowerNotices
from router.sleep.base import PATIENCE_S, OnSleep, OnWake, SleepNotices

logger = logging.getLogger(__name__)

MakeNotices = Callable[[Callable[[threading.Event], object], Callable[[], object]], PowerNotices]


class AppleNotices(SleepNotices):
    """See the module.

    Args:
        on_sleep: As the base class has it; so is `on_wake`.
        make_notices: From what is called to what reads the system's notices; raises OSError where it has none.
    """

    def __init__(
        self,
        on_sleep: OnSleep,
        on_wake: OnWake,
        make_notices: MakeNotices = PowerNotices,
        *,
        patience_s: float = PATIENCE_S,
    ) -> None:
        super().__init__(on_sleep, on_wake, patience_s=patience_s)
        self._make_notices = make_notices
        self._may_sleep: threading.Event | None = None

    async def run(self) -> None:
        """Act on what the system tells until cancelled; return where it tells nothing."""
        loop = asyncio.get_running_loop()
        try:
            notices = self._make_notices(
                lambda may_sleep: loop.call_soon_threadsafe(self._on_will_sleep, may_sleep),
                lambda: loop.call_soon_threadsafe(self._news.put_nowait, False),
            )
        except OSError as exc:
            logger.info("the machine's sleep is not noticed: %s", exc)
            return
        # A thread that nobody waits for: it may be in the system's own loop when the gateway ends.
        threading.Thread(target=self._read, args=(notices, loop), name="sleep-notices", daemon=True).start()
        try:
            await self._act(ANSWER_WITHIN_S)
        finally:
            notices.stop()

    def _read(self, notices: PowerNotices, loop: asyncio.AbstractEventLoop) -> None:
        try:
            notices.run()
        except OSError as exc:
            logger.info("the machine's sleep is not noticed: %s", exc)
        try:
            loop.call_soon_threadsafe(self._news.put_nowait, None)
        except RuntimeError:  # the loop has ended before us
            logger.debug("the reader of the machine's sleep ends after the gateway")

    def _on_will_sleep(self, may_sleep: threading.Event) -> None:
        self._release()
        self._may_sleep = may_sleep
        self._news.put_nowait(True)

    async def _hold(self) -> None:
        """Nothing: the system waits for an answer to each notice."""

    def _release(self) -> None:
        if self._may_sleep is not None:
            self._may_sleep.set()
            self._may_sleep = None
