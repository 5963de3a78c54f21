"""Conversions of models: one at a time beside the event loop, and those that a server runs for its clients.

One at a time, because each takes all cores and the memory of a model. Nothing is stored: one that the server's end cut
off is begun anew by whoever wants it. Not here: the steps (`convert`), conversions that belong to a pull (`pulls.py`),
and HTTP.
"""

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final, Literal

import msgspec

from registry.engines import EngineKind
from registry.errors import ModelNotFoundError, RegistryError
from registry.pull.events import Converting, Failed
from registry.store import Registry
from registry.threads import with_registry
from router.conditions import Conditions
from router.errors import ConversionError, ConversionNotFoundError
from router.http.caller import current_caller
from router.jobs.convert.progress import ConversionSteps, OnProgress
from router.jobs.convert.report import ConversionOptions, ConversionReport
from router.jobs.convert.steps import ConversionPlan, convert, plan_conversion
from router.jobs.job import Follower, Job, JobKind
from router.jobs.jobs import Jobs
from router.placement.memory import this_machine

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


class Converter:
    """Converts models of the catalogue.

    Args:
        environment: Of the processes; no secrets.
        conditions: While they are bad no step is begun; None = they are always good.
    """

    def __init__(
        self, database: Path, models_dir: Path, environment: Mapping[str, str], conditions: Conditions | None = None
    ) -> None:
        self._database = database
        self._models_dir = models_dir
        self._environment = environment
        self._conditions = conditions or Conditions()
        self._turn = asyncio.Lock()

    async def plan(self, name: str, options: ConversionOptions) -> ConversionPlan:
        """Find out what a conversion would do, and do nothing.

        Raises:
            ConversionError: It cannot be done.
            ModelNotFoundError: There is no such model.
        """
        return await with_registry(self._database, lambda registry: self._plan(registry, name, options))

    async def convert(
        self, name: str, options: ConversionOptions, *, on_progress: OnProgress, is_forced: bool = False
    ) -> ConversionDone:
        """Convert and register, after those that were asked for before.

        Cancelling the task stops it and leaves nothing of it.

        Args:
            is_forced: Keep a result that the comparison speaks against.

        Raises:
            ConversionError: It cannot be done, or failed; nothing is left of it.
            RegistryError: There is no such model, or the result cannot be registered.
        """
        if self._turn.locked():
            on_progress(Converting(step="waiting for another conversion", share=None))
        async with self._turn:
            steps = ConversionSteps(on_progress, self._conditions)
            await steps.may_begin()
            plan = await self.plan(name, options)
            try:
                model, report = await convert(self._database, plan, self._environment, steps, is_forced=is_forced)
            except OSError as exc:
                raise ConversionError(f"{exc.filename or self._models_dir}: {exc.strerror or exc}.") from exc
        return ConversionDone(model=model.name, engines=model.engines, path=str(plan.folder), report=report)

    def _plan(self, registry: Registry, name: str, options: ConversionOptions) -> ConversionPlan:
        model = registry.models.get(name)
        return plan_conversion(registry, model, options, self._models_dir, has_metal=this_machine().has_metal)


class ModelConversions:
    """Those of a server; `jobs` runs them."""

    def __init__(self, converter: Converter, jobs: Jobs) -> None:
        self._converter = converter
        self._jobs = jobs

    async def start(self, name: str, options: ConversionOptions, *, is_forced: bool) -> Follower[ConversionEvent]:
        """Begin a conversion, or follow the one that makes the same.

        Args:
            name: Of the model itself, no alias.
            is_forced: Keep a result that the comparison speaks against.

        Raises:
            ConversionError: It cannot be done, or too many wait.
            ModelNotFoundError: There is no such model, or it is not for whoever asks.
            ModelNameNotAllowedError: The result's name is not.
            ShuttingDownError: The server is about to end, or just starts.
        """
        caller = current_caller()
        if not caller.may_use(name):
            raise ModelNotFoundError(name)
        if options.name is not None:
            caller.check_may_name(options.name)
        plan = await self._converter.plan(name, options)
        caller.check_may_name(plan.name, plan.taken)
        key = plan.model, plan.folder
        job = self._jobs.get(_CONVERSION, key)
        started = ConversionStarted(model=plan.model, path=str(plan.folder), is_joined=job is not None)
        if job is None:
            num_running = len(self._jobs.running(_CONVERSION))
            if num_running >= MAX_WAITING:
                raise ConversionError(f"{num_running} conversions run or wait; try again when one has ended.")
            work = partial(self._convert, plan.model, options, is_forced=is_forced)
            job = self._jobs.start(_CONVERSION, key, work, about=plan.model)
        job.share(caller.key_id)
        return job.follow(first=started)

    async def cancel(self, name: str) -> int:
        """Stop what is being made of a model; what others asked for as well goes on for them.

        Args:
            name: The model, as it is called.

        Returns:
            How many conversions were stopped for whoever asks; those that nobody else wants have ended.

        Raises:
            ConversionNotFoundError: There is none that belongs to whoever asks.
        """
        num_found = await self._jobs.cancel(_CONVERSION, ConversionStopped(state="cancelled"), about=name)
        if not num_found:
            raise ConversionNotFoundError(f"Nothing is being made of {name[:128]!a} by `mlxr models convert`.")
        return num_found

    async def _convert(
        self, model: str, options: ConversionOptions, job: Job[ConversionEvent], *, is_forced: bool
    ) -> ConversionEnd:
        try:
            return await self._converter.convert(model, options, on_progress=job.tell, is_forced=is_forced)
        except asyncio.CancelledError:
            return ConversionStopped(state="cancelled" if job.stop_reason == "cancelled" else "shutting_down")
        except (ConversionError, RegistryError) as exc:
            logger.info("the conversion of %s failed: %s", model, exc)
            return Failed(code=exc.code, message=str(exc))
