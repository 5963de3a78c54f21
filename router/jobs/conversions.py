"""The conversions that a server runs for clients: begun, followed by any number of them, stopped on request.

They are the server's: a client that leaves stops nothing. Nothing is stored: one that the server's end cut off is begun
anew by whoever wants it. Not here: the work (`converter.py`), conversions that belong to a pull (`pulls.py`), and HTTP.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, Literal

import msgspec

from registry.catalogue import EngineName
from registry.errors import RegistryError
from registry.pull.events import Converting, Failed
from router.errors import ShuttingDownError
from router.jobs.convert.converter import Converter
from router.jobs.convert.report import ConversionReport, ConversionWish
from router.work_errors import ConversionError, ConversionNotFoundError, ConversionStoppedError

logger = logging.getLogger(__name__)

MAX_WAITING: Final = 16
"""Conversions that run or wait; more are refused."""


class ConversionStarted(msgspec.Struct, frozen=True, kw_only=True, tag="started"):
    """The first event."""

    model: str
    path: str
    is_joined: bool = False


class ConversionDone(msgspec.Struct, frozen=True, kw_only=True, tag="done"):
    """The result can be used now."""

    model: str
    engines: tuple[EngineName, ...]
    path: str
    report: ConversionReport


class ConversionStopped(msgspec.Struct, frozen=True, kw_only=True, tag="stopped"):
    """It was stopped; nothing of it is left.

    Attributes:
        state: On request, or because the server ends.
    """

    state: Literal["cancelled", "shutting_down"]


ConversionEnd = ConversionDone | Failed | ConversionStopped
ConversionEvent = ConversionStarted | Converting | ConversionEnd
CONVERSION_END: Final = (ConversionDone, Failed, ConversionStopped)


class Conversions:
    """Those of a server. `run` is its task."""

    def __init__(self, converter: Converter) -> None:
        self._converter = converter
        self._running: dict[Path, _Conversion] = {}
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Let conversions be started, until cancelled; what runs then is stopped."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self.close()

    def close(self) -> None:
        """Take no more, and stop what runs; those who follow are told so."""
        self._group = None
        for conversion in self._running.values():
            conversion.stop("shutting_down")

    async def start(self, name: str, wish: ConversionWish, *, is_forced: bool) -> AsyncIterator[ConversionEvent]:
        """Begin a conversion, or follow the one that makes the same.

        Args:
            is_forced: Keep a result that the comparison speaks against.

        Returns:
            Its events, a final one last. Whether anybody follows them changes nothing.

        Raises:
            ConversionError: It cannot be done, or too many wait.
            ModelNotFoundError: There is no such model.
            ShuttingDownError: The server is about to end, or just starts.
        """
        plan = await self._converter.plan(name, wish)
        if self._group is None:
            raise ShuttingDownError
        conversion = self._running.get(plan.folder)
        is_joined = conversion is not None
        if conversion is None:
            if len(self._running) >= MAX_WAITING:
                raise ConversionError(f"{len(self._running)} conversions run or wait; try again when one has ended.")
            conversion = self._running[plan.folder] = _Conversion(plan.model)
            work = self._convert(plan.folder, conversion, wish, is_forced=is_forced)
            conversion.task = self._group.create_task(work)
        started = ConversionStarted(model=plan.model, path=str(plan.folder), is_joined=is_joined)
        return conversion.events(started)

    async def cancel(self, name: str) -> int:
        """Stop what is being made of a model.

        Args:
            name: The model, as it is called.

        Returns:
            How many conversions were stopped; they have ended.

        Raises:
            ConversionNotFoundError: There is none.
        """
        found = [conversion for conversion in self._running.values() if conversion.model == name]
        if not found:
            raise ConversionNotFoundError(f"Nothing is being made of {name[:128]!a} by `mlxr models convert`.")
        for conversion in found:
            conversion.stop("cancelled")
        await asyncio.wait([conversion.task for conversion in found if conversion.task is not None])
        return len(found)

    async def _convert(self, key: Path, conversion: "_Conversion", wish: ConversionWish, *, is_forced: bool) -> None:
        end: ConversionEnd
        try:
            made = await self._converter.convert(
                conversion.model, wish, on_progress=conversion.tell, is_forced=is_forced
            )
        except (asyncio.CancelledError, ConversionStoppedError):
            # Cancelled by `stop` only: the group's own end comes after `close`.
            end = ConversionStopped(state=conversion.stop_state or "shutting_down")
        except (ConversionError, RegistryError) as exc:
            logger.info("the conversion of %s failed: %s", conversion.model, exc)
            end = Failed(code=exc.code, message=str(exc))
        else:
            new = made.registered
            end = ConversionDone(model=new.model, engines=new.engines, path=new.path, report=made.report)
        del self._running[key]
        conversion.end(end)


class _Conversion:
    """One conversion and those who follow it; a slow one misses steps that newer ones replaced, never the end."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.task: asyncio.Task[None] | None = None
        self.stop_state: Literal["cancelled", "shutting_down"] | None = None
        self._step: Converting | None = None
        self._end: ConversionEnd | None = None
        self._changed = asyncio.Event()

    def stop(self, state: Literal["cancelled", "shutting_down"]) -> None:
        if self.stop_state is None and self.task is not None:
            self.stop_state = state
            self.task.cancel()

    def tell(self, step: str, share: float | None) -> None:
        self._step = Converting(step=step, share=share)
        self._wake()

    def end(self, event: ConversionEnd) -> None:
        self._end = event
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def events(self, started: ConversionStarted) -> AsyncIterator[ConversionEvent]:
        yield started
        told: Converting | None = None
        while True:
            if self._step is not told:
                told = self._step
                assert told is not None
                yield told
            elif self._end is not None:
                yield self._end
                return
            else:
                await self._changed.wait()
