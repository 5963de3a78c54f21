"""The machine's sleep: what keeps it off while there is work, and deadlines for which it is no time.

On macOS the event loop's clock goes on while the machine is asleep, and `time.monotonic` does not: at its wake every
timer of the loop would be due, before anybody had a chance to be in time. Source: libuv, uv__hrtime
(mach_continuous_time).
"""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from backends.machine.current import current_platform

logger = logging.getLogger(__name__)

LOOK_INTERVAL_S: Final = 5.0
"""How often it is looked whether there is work; machines fall asleep after a minute or more without."""


class AwakeTimer:
    """Calls a function after some seconds in which the machine was awake; `cancel` may come late.

    Args:
        clock: Seconds in which the machine was awake.
        loop: None = the running one.
    """

    def __init__(
        self,
        delay_s: float,
        callback: Callable[[], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._loop = loop or asyncio.get_running_loop()
        self._callback = callback
        self._clock = clock
        self._due_at = clock() + delay_s
        self._handle = self._loop.call_later(delay_s, self._on_timer)

    def cancel(self) -> None:
        """Call nothing."""
        self._handle.cancel()

    def _on_timer(self) -> None:
        left_s = self._due_at - self._clock()
        if left_s > 0:
            self._handle = self._loop.call_later(left_s, self._on_timer)
        else:
            self._callback()


@asynccontextmanager
async def awake_timeout(delay_s: float) -> AsyncIterator[None]:
    """Do as `asyncio.timeout` does, by the time in which the machine is awake.

    Raises:
        TimeoutError: It took longer.
    """
    async with asyncio.timeout(None) as scope:
        timer = AwakeTimer(delay_s, lambda: scope.reschedule(asyncio.get_running_loop().time()))
        try:
            yield
        finally:
            timer.cancel()


async def keep_awake(
    is_busy: Callable[[], bool], argv: Sequence[str] | None = None, interval_s: float = LOOK_INTERVAL_S
) -> None:
    """Keep the machine from falling asleep by itself while there is work, until cancelled.

    Args:
        argv: The command that does it as long as it runs; None = this system's, if it needs one.
    """
    argv = current_platform().awake_argv(os.getpid()) if argv is None else argv
    if argv is None:
        return
    process: asyncio.subprocess.Process | None = None
    try:
        while True:
            is_held = process is not None and process.returncode is None
            if is_busy() and not is_held:
                process = await asyncio.create_subprocess_exec(*argv, stdin=asyncio.subprocess.DEVNULL)
            elif process is not None and is_held and not is_busy():
                process.terminate()
                await process.wait()
            await asyncio.sleep(interval_s)
    except OSError as exc:
        logger.warning("the machine may fall asleep while there is work: %s", exc)
    finally:
        if process is not None and process.returncode is None:
            process.terminate()
