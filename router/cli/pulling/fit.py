"""What a model that is here takes in memory, for those who pull it. The sums are `memory_fit`'s.

Not here: models of which nothing but their files' sizes is known (`router.jobs.pulls.weights_budget`).
"""

from typing import NamedTuple

from registry.engines import EngineKind
from router.cli.terminal.catalogue import open_registry_for_reading
from router.cli.terminal.context import current_paths, read_config
from router.models.load_settings import load_settings_of
from router.models.load_spec import load_spec
from router.placement.memory import read_budget, this_machine
from router.placement.memory_need import memory_need


class PulledFit(NamedTuple):
    """How an artifact would be loaded.

    Attributes:
        context_length: Tokens, with the config's settings.
        limit_bytes: What this machine has for it when nothing else runs.
    """

    required_bytes: int
    context_length: int
    limit_bytes: int

    @property
    def is_fitting(self) -> bool:
        """Whether it can be loaded at all."""
        return self.required_bytes <= self.limit_bytes


def fit_of(path: str) -> PulledFit | None:
    """Look an artifact up and add up what it takes.

    Returns:
        The numbers; None when the catalogue does not know it.

    Raises:
        RegistryError: The catalogue cannot be read.
        ConfigError: The config cannot be used.
    """
    paths = current_paths()
    with open_registry_for_reading(paths) as registry:
        found = [(model, item) for model in registry.models.list() for item in model.artifacts if item.path == path]
    if not found:
        return None
    model, artifact = found[0]
    machine = this_machine()
    spec = load_spec(artifact.path, artifact.engine, read_config(paths), load_settings_of(model.settings))
    need = memory_need(artifact.facts, spec, machine)
    budget = read_budget(machine)
    is_wired = artifact.engine is EngineKind.MLX and budget.wired_limit_bytes is not None
    limit = budget.wired_limit_bytes if is_wired else budget.total_bytes
    return PulledFit(need.required_bytes, need.context_length, limit or budget.total_bytes)
