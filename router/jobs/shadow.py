"""Live shadowing: some requests are repeated on the other engine while nobody waits, so that the history stays fresh.

Off by default. A request that ended well may be remembered, in memory only; when no request has come for a while, it is
sent to the other engine as background work, its answer is thrown away, its times become a run in the history
(`source="shadow"`), and the first engine is loaded again. As soon as somebody asks for anything, the repeat is given
up.
Not here: what the figures mean (`speeds`).
"""

import asyncio
import logging
import random
import secrets
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from backends.errors import BackendError
from backends.wire.messages import SequenceTimings, Usage
from backends.wire.request import Priority
from registry.bench_record import BenchContestant, BenchLoad, BenchMachine, BenchRecord, BenchSample, BenchScenario
from registry.engines import EngineKind, EngineSetting
from registry.errors import RegistryError
from registry.store.benches import Benches
from router.bench.machine.machine import bench_machine
from router.conditions import Conditions
from router.config import CurrentConfig, ShadowConfig
from router.context.summarising import PROTOCOL
from router.errors import RouterError
from router.models.auto.learning import installed_versions
from router.models.directory import ModelDirectory
from router.models.engine_choice import usable_artifacts
from router.models.model_request import ModelRequest
from router.models.targets import Purpose, Target
from router.requests.generation import Generation
from router.requests.register import RequestRegister, RunningRequest
from router.requests.request import GenerationRequest
from router.version import VERSION
from router.workers.supervisor import Supervisor

logger = logging.getLogger(__name__)

MAX_REMEMBERED: Final = 4
"""Requests that wait to be repeated; the oldest go."""
MAX_TOKENS: Final = 256
"""Of a repeated answer: enough for a rate, and it ends."""
POLL_S: Final = 0.25
"""How often it is looked whether anybody has come; a request that comes meanwhile waits as long at most."""
OFF_POLL_S: Final = 5.0
"""The same while it is switched off: how soon it notices that it is not any more."""
_HOUR_S: Final = 3600.0
_SCENARIO: Final = "real-request"


class Measured(msgspec.Struct, frozen=True):
    """What one engine took for a request."""

    target: Target
    usage: Usage
    timings: SequenceTimings
    load_ms: float


class Remembered(msgspec.Struct, frozen=True):
    """A request that may be repeated, and what it took the first time."""

    request: GenerationRequest
    first: Measured


class Shadow:
    """See the module; on the event loop's thread.

    Args:
        engine_versions: Per engine, library name to version.
        conditions: Under which nothing may be repeated; None = they are always good.
        clock: Monotonic seconds.
        seed: Of which requests are taken; None = another one each time.
    """

    def __init__(
        self,
        current_config: CurrentConfig,
        models: ModelDirectory,
        supervisor: Supervisor,
        requests: RequestRegister,
        *,
        machine: BenchMachine,
        engine_versions: dict[EngineKind, dict[str, str]],
        keep: Callable[[BenchRecord], object],
        conditions: Conditions | None = None,
        clock: Callable[[], float] = time.monotonic,
        seed: int | None = None,
    ) -> None:
        self._current_config = current_config
        self._models = models
        self._supervisor = supervisor
        self._requests = requests
        self._machine = machine
        self._engine_versions = engine_versions
        self._keep = keep
        self._conditions = conditions or Conditions()
        self._clock = clock
        self._random = random.Random(seed)  # noqa: S311 - not cryptography
        self._remembered: deque[Remembered] = deque(maxlen=MAX_REMEMBERED)
        self._busy_at = clock()
        self._repeated_at: deque[float] = deque()

    def observe(self, running: RunningRequest) -> None:
        """Take over that a request has ended; it is remembered now and then."""
        self._busy_at = self._clock()
        share = self._settings.share if running.facts.protocol != PROTOCOL else 0.0
        if not share or self._random.random() >= share:
            return
        remembered = self._memory_of(running.generation)
        if remembered is not None:
            self._remembered.append(remembered)

    async def run(self) -> None:
        """Repeat what is remembered whenever nobody has come for a while, until cancelled."""
        while True:
            await asyncio.sleep(POLL_S if self._settings.share else OFF_POLL_S)
            if self._is_anybody_here():
                self._busy_at = self._clock()
            if not self._settings.share:
                self._remembered.clear()  # it was switched off: nothing is kept of anybody
            elif not self._conditions.is_background_paused and self._may_repeat():
                await self._repeat(self._remembered.popleft())

    @property
    def _settings(self) -> ShadowConfig:
        return self._current_config.config.shadow

    def _is_anybody_here(self) -> bool:
        return any(True for _ in self._requests)

    def _may_repeat(self) -> bool:
        now = self._clock()
        while self._repeated_at and self._repeated_at[0] <= now - _HOUR_S:
            self._repeated_at.popleft()
        has_room = len(self._repeated_at) < self._settings.max_per_hour
        return bool(self._remembered) and has_room and now - self._busy_at >= self._settings.idle_s

    def _memory_of(self, generation: Generation) -> Remembered | None:
        """Return a request that ended well and means the same on the other engine, or None."""
        request, choice = generation.request, generation.choice
        wanted = request.model_request  # of pictures the tower's time would count as that of a long prompt
        is_plain = request.num_sequences == 1 and wanted.adapter is None and not wanted.has_images
        if (
            choice is None
            or choice.target.is_remote
            or not is_plain
            or request.spec.priority is not Priority.INTERACTIVE
        ):
            return None
        if choice.target.is_remote or self._other_engine(choice.target) is None:
            return None
        first = _measured(generation)
        return None if first is None else Remembered(request, first)

    def _other_engine(self, target: Target) -> EngineKind | None:
        try:
            engines = usable_artifacts(self._models.get(target.model), Purpose.GENERATE)
        except RegistryError:
            return None
        return next((engine for engine in engines if engine is not target.engine.kind), None)

    async def _repeat(self, remembered: Remembered) -> None:
        """Send the request to the other engine, keep what it took, and put the first engine back."""
        first = remembered.first
        other = self._other_engine(first.target)
        if other is None:
            return
        self._repeated_at.append(self._clock())
        try:
            second = await self._generate(remembered.request, other)
            if second is not None:
                self._keep(self._record(first, second))
            await self._put_back(first.target)
        except (RouterError, BackendError, RegistryError) as exc:
            logger.info("a request was not repeated on %s: %s", other, exc)

    async def _generate(self, request: GenerationRequest, engine: EngineKind) -> Measured | None:
        """Return what the other engine takes; None when somebody came meanwhile, or the machine got short or hot."""
        bound = MAX_TOKENS if request.spec.max_tokens is None else min(MAX_TOKENS, request.spec.max_tokens)
        model_request = msgspec.structs.replace(
            request.model_request, engine=EngineSetting(engine), keep_alive_s=None, worker_id=None
        )
        spec = msgspec.structs.replace(request.spec, max_tokens=bound, priority=Priority.BACKGROUND, session_id=None)
        repeated = msgspec.structs.replace(request, model_request=model_request, spec=spec)
        generation = Generation(self._supervisor, repeated)
        reading = asyncio.ensure_future(_read_to_end(generation))
        try:
            while not reading.done():
                await asyncio.wait({reading}, timeout=POLL_S)
                if self._is_anybody_here() or self._conditions.is_background_paused:
                    return None
            reading.result()
            return _measured(generation)
        finally:
            reading.cancel()
            await asyncio.wait({reading})
            generation.close()

    async def _put_back(self, target: Target) -> None:
        """Load the first engine again, so that the next request does not wait for it."""
        if self._is_anybody_here() or self._conditions.is_background_paused:
            return  # what they asked for is being loaded, or nothing is to be
        model_request = ModelRequest(target.model, EngineSetting(str(target.engine)), load=target.load)
        lease = await self._supervisor.lease(model_request, 0, Priority.BACKGROUND)
        lease.release()

    def _record(self, first: Measured, second: Measured) -> BenchRecord:
        both = (first, second)
        return BenchRecord(
            bench_id=f"s-{secrets.token_hex(4)}",
            model=first.target.model,
            created_at=time.time(),
            duration_s=0.0,
            version=VERSION,
            seed=0,
            repeats=1,
            is_complete=True,
            machine=self._machine,
            contestants=tuple(self._contestant(each.target) for each in both),
            scenarios=(BenchScenario(name=_SCENARIO, what="a user's request, repeated while the machine was idle"),),
            samples=tuple(_sample(index, each) for index, each in enumerate(both)),
            loads=tuple(
                BenchLoad(contestant=index, is_swap=True, load_ms=each.load_ms)
                for index, each in enumerate(both)
                if each.load_ms > 0
            ),
            source="shadow",
        )

    def _contestant(self, target: Target) -> BenchContestant:
        return BenchContestant(
            label=str(target.engine),
            model=target.model,
            engine=str(target.engine),
            artifact_path=target.local.path,
            artifact_version=target.local.version,
            engine_versions=self._engine_versions.get(target.engine.kind, {}),
        )


def shadow_into(
    history: Benches,
    current_config: CurrentConfig,
    models: ModelDirectory,
    supervisor: Supervisor,
    requests: RequestRegister,
    conditions: Conditions,
) -> Shadow:
    """Return a Shadow of this machine and its engines, whose runs are added to `history`."""

    def keep(record: BenchRecord) -> None:
        history.add(record)
        models.forget()  # a write of our own is not noticed as another process's is

    return Shadow(
        current_config,
        models,
        supervisor,
        requests,
        machine=bench_machine(),
        engine_versions=installed_versions(),
        keep=keep,
        conditions=conditions,
    )


async def _read_to_end(generation: Generation) -> None:
    while await generation.next() is not None:
        pass


def _measured(generation: Generation) -> Measured | None:
    """Return what a request took; None when it did not end by itself."""
    choice = generation.choice
    if choice is None or len(generation.progress) != 1:
        return None
    (progress,) = generation.progress
    if progress.timings is None or progress.num_prompt_tokens is None or progress.num_cached is None:
        return None
    usage = Usage(progress.num_prompt_tokens, progress.num_cached, progress.num_output_tokens)
    return Measured(choice.target, usage, progress.timings, generation.load_ms)


def _sample(contestant: int, measured: Measured) -> BenchSample:
    usage, timings = measured.usage, measured.timings
    return BenchSample(
        contestant=contestant,
        scenario=_SCENARIO,
        round=0,
        started_s=0.0,
        num_prompt_tokens=usage.num_prompt_tokens,
        num_cached_tokens=usage.num_cached_tokens,
        num_output_tokens=usage.num_output_tokens,
        prefill_ms=timings.prefill_ms,
        decode_ms=timings.decode_ms,
        queue_ms=timings.queue_ms,
        load_ms=measured.load_ms,
    )
