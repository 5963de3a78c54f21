"""The owner of what `engine: auto` has learned: the history's figures per model, and how the last requests went.

Lives on the event loop's thread. The decision itself is pure (`decision`). Of the history only the newest runs are
read, and only when there are others than before. Where it cannot be read, the rule without history holds.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Protocol

import msgspec

from registry.bench_record import BenchRecord
from registry.catalogue import Artifact
from registry.engines import EngineKind
from registry.errors import RegistryError
from registry.store.benches import BenchHead
from router.models.auto.decision import AutoDecision, Standing, decide, expect, new_credit_s
from router.models.auto.speeds import EngineSpeeds, EngineState, learn
from router.models.size import RequestSize

logger = logging.getLogger(__name__)

ENGINE_PACKAGES: Final[Mapping[EngineKind, tuple[str, ...]]] = {
    EngineKind.LLAMACPP: ("llama-cpp-python",),
    EngineKind.MLX: ("mlx", "mlx-lm"),
}
"""Distributions whose versions make figures old."""
MAX_RUNS: Final = 12
"""Runs that are read: reading them is work for the thread that serves requests."""
MAX_BEGINNINGS: Final = 512
"""Conversations' beginnings that are remembered, to know what the resident engine need not compute again."""
UNKNOWN_SIZE: Final = RequestSize(512, 256)
"""Of a request that did not say; a short chat's."""


class BenchHistory(Protocol):
    """Where the runs are kept: the registry's `benches`."""

    def list(self, model: str | None = None, *, limit: int = 50) -> tuple[BenchHead, ...]:
        """List runs, newest first."""

    def get(self, bench_id: str) -> BenchRecord:
        """Give one run."""


class Resident(msgspec.Struct, frozen=True):
    """What is loaded of a model.

    Attributes:
        engine: On which engine, or being loaded there; None = on none.
    """

    engine: EngineKind | None = None
    is_busy: bool = False


class AutoLearning:
    """See the module.

    Args:
        resident_of: Tells what is loaded of a model.
        engine_versions: Per engine, library name to version; None = those that are installed.
        wall_clock: Seconds since 1970.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        history: BenchHistory,
        *,
        machine_id: str,
        resident_of: Callable[[str], Resident] = lambda _model: Resident(),
        engine_versions: Mapping[EngineKind, Mapping[str, str]] | None = None,
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._history = history
        self._machine_id = machine_id
        self._engine_versions = installed_versions() if engine_versions is None else engine_versions
        self._wall_clock = wall_clock
        self._clock = clock
        self._speeds: dict[str, _Learned] = {}
        self._fresh: set[str] = set()
        self._credit_s: dict[str, float] = {}
        self._swapped_at: dict[str, float] = {}
        self._beginnings: OrderedDict[tuple[str, str, int], int] = OrderedDict()
        self.resident_of = resident_of

    def forget(self) -> None:
        """Look at the history again at the next request; what was learned from the last requests stays."""
        self._fresh.clear()

    def speeds(self, model: str, artifacts: Mapping[EngineKind, Artifact]) -> dict[EngineKind, EngineSpeeds]:
        """Return what was measured of each engine; engines without figures are left out.

        Args:
            artifacts: Per engine, what it would serve.
        """
        versions = {engine: artifact.version for engine, artifact in artifacts.items()}
        known = self._speeds.get(model)
        if known is not None and known.artifact_versions == versions and model in self._fresh:
            return known.speeds
        try:
            learned = self._learned(model, versions, known)
        except RegistryError as exc:
            logger.warning("the benchmark's history cannot be read: %s", exc)
            learned = known or _Learned((), versions, {})
        self._speeds[model] = learned
        self._fresh.add(model)
        return learned.speeds

    def decide(self, model: str, artifacts: Mapping[EngineKind, Artifact], size: RequestSize | None) -> AutoDecision:
        """Pick the engine for a request; nothing is remembered of it.

        Args:
            artifacts: Per engine, what it would serve; at least one.
            size: Of the request, None where it did not say.
        """
        size = size or UNKNOWN_SIZE
        speeds = self.speeds(model, artifacts)
        return decide(speeds, size, self._standing(model, size))

    def expected_s(
        self, model: str, artifacts: Mapping[EngineKind, Artifact], engine: EngineKind, size: RequestSize | None
    ) -> float | None:
        """Return how long one engine would take for a request, a load included, seconds; None = it was not measured."""
        size = size or UNKNOWN_SIZE
        speeds, standing = self.speeds(model, artifacts), self._standing(model, size)
        own = speeds.get(engine)
        resident = None if standing.resident is None else speeds.get(standing.resident)
        expectation = None if own is None else expect(own, size, standing, resident)
        return None if expectation is None else expectation.total_s

    def note(self, model: str, engine: EngineKind, size: RequestSize | None, decision: AutoDecision) -> None:
        """Take over that a request goes to an engine."""
        standing = self._standing(model, size or UNKNOWN_SIZE)
        if standing.resident is not None and engine != standing.resident:
            self._swapped_at[model] = self._clock()
        self._credit_s[model] = new_credit_s(standing, decision)
        for digest, num_tokens in (size or UNKNOWN_SIZE).beginnings:
            self._beginnings[model, engine, digest] = num_tokens
            self._beginnings.move_to_end((model, engine, digest))
        while len(self._beginnings) > MAX_BEGINNINGS:
            self._beginnings.popitem(last=False)

    def _standing(self, model: str, size: RequestSize) -> Standing:
        resident = self.resident_of(model)
        known = [self._beginnings.get((model, resident.engine or "", digest), 0) for digest, _ in size.beginnings]
        swapped_at = self._swapped_at.get(model)
        return Standing(
            resident=resident.engine,
            is_busy=resident.is_busy,
            num_cached_tokens=max(known, default=0),
            credit_s=self._credit_s.get(model, 0.0),
            since_swap_s=None if swapped_at is None else self._clock() - swapped_at,
        )

    def _learned(self, model: str, artifact_versions: dict[EngineKind, str], known: "_Learned | None") -> "_Learned":
        """Read the newest runs, unless they are those that are known."""
        heads = self._history.list(model, limit=MAX_RUNS)
        bench_ids = tuple(head.bench_id for head in heads)
        if known is not None and (known.bench_ids, known.artifact_versions) == (bench_ids, artifact_versions):
            return known
        states = {
            engine: EngineState(artifact_version=own, engine_versions=self._engine_versions.get(engine, {}))
            for engine, own in artifact_versions.items()
        }
        records = [self._history.get(head.bench_id) for head in heads if not head.is_void]
        speeds = learn(records, states, machine_id=self._machine_id, now=self._wall_clock())
        return _Learned(bench_ids, artifact_versions, speeds)


class _Learned(msgspec.Struct, frozen=True):
    """What the history says of one model.

    Attributes:
        bench_ids: The newest runs.
        artifact_versions: Per engine.
    """

    bench_ids: tuple[str, ...]
    artifact_versions: dict[EngineKind, str]
    speeds: dict[EngineKind, EngineSpeeds]


def installed_versions() -> dict[EngineKind, dict[str, str]]:
    """Return the versions of the engines' libraries, without importing them."""
    found: dict[EngineKind, dict[str, str]] = {}
    for engine, names in ENGINE_PACKAGES.items():
        found[engine] = {}
        for name in names:
            try:
                found[engine][name] = version(name)
            except PackageNotFoundError:
                continue
    return found
