"""How long contexts are here: what was planned, what fitted, and which loads hold what a request asks for at least.

Readings and memory around the pure `placement.context`.
"""

from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace

from registry.catalogue import Artifact
from router.config import Config, CurrentConfig
from router.models.adapters import facts_with
from router.models.load_settings import config_for
from router.models.model_request import ModelRequest
from router.models.targets import Choice, Target
from router.placement.context import is_planned, planned_spec
from router.placement.lifecycle import WorkerState
from router.placement.memory import MemoryBudget, this_machine
from router.workers.residency import ManagedWorker

_MAX_NOTED: Final = 256
_STAYS: Final = {WorkerState.STARTING, WorkerState.LOADING, WorkerState.READY}


class ContextLengths:
    """Owned by the event loop.

    Args:
        resolve: Request to choice, whatever context it asks for at least.
        artifact_of: Target to its artifact, None when the registry has lost it.
        workers: Gives those that have a model.
        read: Reads what the machine has; only what never changes counts.
    """

    def __init__(
        self,
        current: CurrentConfig,
        *,
        resolve: Callable[[ModelRequest], Choice],
        artifact_of: Callable[[Target], Artifact | None],
        workers: Callable[[], Sequence[ManagedWorker]],
        read: Callable[[], MemoryBudget],
    ) -> None:
        self._current = current
        self._resolve = resolve
        self._artifact_of = artifact_of
        self._workers = workers
        self._read = read
        self._machine = this_machine()
        self._budget: MemoryBudget | None = None
        self._planned: dict[tuple[Target, str], int] = {}
        self._fitted: dict[Target, int] = {}
        self._config: Config | None = None

    def of(self, target: Target) -> int | None:
        """Return the context that a load of a target has, tokens, before the model's own limit; None = unknown."""
        config = self._current.config
        if target.is_remote:
            return None
        if not is_planned(config, target.load):
            return config_for(config, target.load).generation.context_length
        planned, fitted = self.planned(target), self._fitted.get(target)
        return planned if planned is None or fitted is None else min(planned, fitted)

    def planned(self, target: Target) -> int | None:
        """Return what is planned for a target of whose context nobody says anything; None = unknown."""
        config = self._current.config
        if config is not self._config:  # another one may leave other memory
            self._config = config
            self._planned.clear()
        key = target, target.local.version
        if key not in self._planned:
            artifact = self._artifact_of(target)
            if artifact is None:
                return None
            if self._budget is None:
                self._budget = self._read()
            if len(self._planned) >= _MAX_NOTED:
                self._planned.clear()
            facts = facts_with(artifact.facts, target.adapter)
            spec = planned_spec(artifact, config, target.load, machine=self._machine, budget=self._budget, facts=facts)
            self._planned[key] = spec.context_length
        return self._planned[key]

    def note_fitted(self, target: Target, context_length: int) -> None:
        """Note what of the planned context fitted at the last look before a load."""
        if len(self._fitted) >= _MAX_NOTED:
            self._fitted.clear()
        self._fitted[target] = context_length

    def resolve(self, request: ModelRequest) -> Choice:
        """Return what serves a request: where a context is asked for at least, a load that holds it if there is one."""
        choice = self._resolve(request)
        if request.min_context is None or choice.target.is_remote:
            return choice
        target, wanted = choice.target, request.min_context
        artifact = self._artifact_of(target)
        if artifact is not None and artifact.facts.context_length is not None:
            wanted = min(wanted, artifact.facts.context_length)
        holding = next((loaded for loaded in self._loads_like(target) if (self._in_force(loaded) or 0) >= wanted), None)
        if holding is not None:
            return replace(choice, target=holding)
        if (self.of(target) or 0) >= wanted:
            return choice
        return replace(choice, target=_with_context(target, wanted))

    def _loads_like(self, target: Target) -> list[Target]:
        """Return what is loaded, or being loaded, and differs in its context alone."""
        loaded = [worker.target for worker in self._workers() if worker.target is not None and worker.state in _STAYS]
        return [each for each in loaded if _with_context(each, target.load.context_length) == target]

    def _in_force(self, target: Target) -> int | None:
        for worker in self._workers():
            if worker.target == target and worker.client is not None and worker.client.loaded is not None:
                return worker.client.loaded.context_length
        return self.of(target)


def _with_context(target: Target, context_length: int | None) -> Target:
    return replace(target, load=replace(target.load, context_length=context_length))
