"""The conversions that a server runs for clients.

Nothing is stored: one that the server's end cut off is begun anew by whoever wants it. Not here: the work
(`converter.py`), conversions that belong to a pull (`pulls.py`), and HTTP.
"""

import asyncio
import logging
from functools import partial
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from registry.engines import EngineKind
from registry.errors import RegistryError
from registry.pull.events import Converting, Failed
from router.jobs.convert.converter import Converter
from router.jobs.convert.report import ConversionReport, ConversionWish
from router.jobs.job import Follower, Job, JobKind, Jobs
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
    engines: tuple[EngineKind, ...]
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

_CONVERSION: Final = JobKind[ConversionEvent](name="conversion", slot_of=type)


class _Name(NamedTuple):
    model: str
    folder: Path


class Conversions:
    """Those of a server; `jobs` runs them."""

    def __init__(self, converter: Converter, jobs: Jobs) -> None:
        self._converter = converter
        self._jobs = jobs

    async def start(self, name: str, wish: ConversionWish, *, is_forced: bool) -> Follower[ConversionEvent]:
        """Begin a conversion, or follow the one that makes the same.

        Args:
            is_forced: Keep a result that the comparison speaks against.

        Raises:
            ConversionError: It cannot be done, or too many wait.
            ModelNotFoundError: There is no such model.
            ShuttingDownError: The server is about to end, or just starts.
        """
        plan = await self._converter.plan(name, wish)
        key = _Name(plan.model, plan.folder)
        job = self._jobs.get(_CONVERSION, key)
        started = ConversionStarted(model=plan.model, path=str(plan.folder), is_joined=job is not None)
        if job is None:
            num_running = len(self._jobs.running(_CONVERSION))
            if num_running >= MAX_WAITING:
                raise ConversionError(f"{num_running} conversions run or wait; try again when one has ended.")
            work = partial(self._convert, plan.model, wish, is_forced=is_forced)
            job = self._jobs.start(_CONVERSION, key, work)
        return job.follow(first=started)

    async def cancel(self, name: str) -> int:
        """Stop what is being made of a model.

        Args:
            name: The model, as it is called.

        Returns:
            How many conversions were stopped; they have ended.

        Raises:
            ConversionNotFoundError: There is none.
        """
        found = [job for job in self._jobs.running(_CONVERSION) if job.name.model == name]
        if not found:
            raise ConversionNotFoundError(f"Nothing is being made of {name[:128]!a} by `mlxr models convert`.")
        for job in found:
            job.stop("cancelled")
        for job in found:
            await job.wait()
        return len(found)

    async def _convert(
        self, model: str, wish: ConversionWish, job: Job[ConversionEvent], *, is_forced: bool
    ) -> ConversionEnd:
        def tell(step: str, share: float | None) -> None:
            job.tell(Converting(step=step, share=share))

        try:
            made = await self._converter.convert(model, wish, on_progress=tell, is_forced=is_forced)
        except (asyncio.CancelledError, ConversionStoppedError):
            return ConversionStopped(state="cancelled" if job.stop_reason == "cancelled" else "shutting_down")
        except (ConversionError, RegistryError) as exc:
            logger.info("the conversion of %s failed: %s", model, exc)
            return Failed(code=exc.code, message=str(exc))
        new = made.registered
        return ConversionDone(model=new.model, engines=new.engines, path=new.path, report=made.report)
