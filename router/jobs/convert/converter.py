"""Conversions beside an event loop, one at a time: in a thread that waits for its processes, stopped with its task.

One at a time, because each takes all cores and the memory of a model. Not here: the steps (`conversion.py`), and who
follows them (`pulls.py`, `conversions.py`).
"""

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from backends.wire.messages import LoadSpec
from registry.facts import ModelFacts
from registry.pull.events import Registered
from registry.store import Registry
from registry.threads import in_thread, with_registry
from router.jobs.convert.conversion import ConversionMeans, ConversionPlan, OnProgress, convert, plan_conversion
from router.jobs.convert.process import Stopper
from router.jobs.convert.report import ConversionReport, ConversionWish
from router.placement.fit import check_fit
from router.placement.memory import read_budget, this_machine
from router.placement.memory_need import memory_need
from router.work_errors import ConversionError

_PARITY_CONTEXT_LENGTH = 512


class Converted(msgspec.Struct, frozen=True, kw_only=True):
    """What came out.

    Attributes:
        registered: The model that has it, and where it lies.
    """

    registered: Registered
    report: ConversionReport


class Converter:
    """Converts models of the catalogue.

    Args:
        environment: Of the processes; no secrets.
    """

    def __init__(self, database: Path, models_dir: Path, environment: Mapping[str, str]) -> None:
        self._database = database
        self._models_dir = models_dir
        self._environment = environment
        self._turn = asyncio.Lock()

    async def plan(self, name: str, wish: ConversionWish) -> ConversionPlan:
        """Find out what a conversion would do, and do nothing.

        Raises:
            ConversionError: It cannot be done.
            ModelNotFoundError: There is no such model.
        """
        return await with_registry(self._database, lambda registry: self._plan(registry, name, wish))

    async def convert(
        self, name: str, wish: ConversionWish, *, on_progress: OnProgress, is_forced: bool = False
    ) -> Converted:
        """Convert, after those that were asked for before. Cancelling the task stops it and leaves nothing of it.

        Args:
            on_progress: Told where it stands, in the event loop.
            is_forced: Keep a result that the comparison speaks against.

        Returns:
            What came out; it is registered.

        Raises:
            ConversionError: It cannot be done, or failed; nothing is left of it.
            RegistryError: There is no such model, or the result cannot be registered.
        """
        if self._turn.locked():
            on_progress("waiting for another conversion", None)
        async with self._turn:
            stopper = Stopper()
            loop = asyncio.get_running_loop()

            def tell(step: str, share: float | None) -> None:
                loop.call_soon_threadsafe(on_progress, step, share)

            means = ConversionMeans(
                environment=self._environment, on_progress=tell, can_load=_can_load, stopper=stopper
            )
            work = asyncio.ensure_future(in_thread(lambda: self._convert(name, wish, means, is_forced=is_forced)))
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                stopper.stop()
                while not work.done():
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.wait([work])
                if not work.cancelled():
                    work.exception()  # Looked at, so that the loop does not report it.
                raise

    def _convert(self, name: str, wish: ConversionWish, means: ConversionMeans, *, is_forced: bool) -> Converted:
        try:
            with Registry(self._database) as registry:
                plan = self._plan(registry, name, wish)
                model, report = convert(registry, plan, means, is_forced=is_forced)
        except OSError as exc:
            raise ConversionError(f"{exc.filename or self._models_dir}: {exc.strerror or exc}.") from exc
        return Converted(
            registered=Registered(model=model.name, engines=model.engines, path=str(plan.folder)), report=report
        )

    def _plan(self, registry: Registry, name: str, wish: ConversionWish) -> ConversionPlan:
        model = registry.models.get(name)
        return plan_conversion(registry, model, wish, self._models_dir, has_metal=this_machine().has_metal)


def _can_load(facts: ModelFacts) -> bool:
    machine = this_machine()
    spec = LoadSpec(model_path="", context_length=_PARITY_CONTEXT_LENGTH, max_sequences=1, cache_slots=0)
    need = memory_need(facts, spec, machine)
    budget = read_budget(machine)
    return check_fit(need, available_bytes=budget.available_for(need.engine)).is_fitting
