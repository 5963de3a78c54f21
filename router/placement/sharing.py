"""Which models may be loaded beside each other, by the config's `residency`, and what each counts for. Pure.

    exclusive: one target has workers; the next one is loaded when they are gone and their memory is back.
    budget: as many as the memory holds.
    groups: those that one group of the config has together, as far as the memory holds them; others as in `exclusive`.

Two loads of one model, on two engines or with two settings, are together only where a group names both engines
(`m@mlx`, `m@llamacpp`): a comparison that somebody wants, and not twice the memory by accident. Not here: who goes so
that another one has room (`room`), and what is read of the memory (`router.workers.ledger`).
"""

import types
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from registry.engines import EngineKind
from router.config.memory import MemoryConfig
from router.config.residency import ResidencyMode
from router.models.targets import Target
from router.placement.memory import MemoryBudget


class LoadNeed(msgspec.Struct, frozen=True):
    """What a load takes, bytes.

    Attributes:
        least_bytes: With it, it runs at full context.
        full_bytes: What it grows to when it keeps the caches of ended answers; not below `least_bytes`.
    """

    least_bytes: int
    full_bytes: int


class Group(msgspec.Struct, frozen=True):
    """A set of models that may be loaded together.

    Attributes:
        members: Names of models, with an adapter (`name+adapter`), an engine (`name@mlx`), or both.
    """

    name: str
    members: frozenset[str]

    def has(self, target: Target) -> bool:
        """Tell whether it names a target, with its engine or without."""
        return not self.members.isdisjoint({target.model, target.label}) or self.has_on_engine(target)

    def has_on_engine(self, target: Target) -> bool:
        """Tell whether it names a target with its engine."""
        engine = target.engine
        return not self.members.isdisjoint({f"{target.model}@{engine}", f"{target.label}@{engine}"})


class Residency(msgspec.Struct, frozen=True, kw_only=True):
    """What placement is told of several models at a time.

    Attributes:
        limit_bytes: What all workers may hold together; None = it was never read, and nothing is loaded.
        is_fresh: Whether it was read since anything was loaded or has ended; nothing is loaded before that.
        wired_limit_bytes: What those of mlx may of that, where there is Metal; None = all.
        needs: What targets take that wait for their load; one that is missing is loaded alone.
    """

    mode: ResidencyMode = "exclusive"
    groups: tuple[Group, ...] = ()
    limit_bytes: int | None = None
    is_fresh: bool = True
    wired_limit_bytes: int | None = None
    needs: Mapping[Target, LoadNeed] = types.MappingProxyType({})

    @property
    def is_exclusive(self) -> bool:
        """Whether one target at a time has workers."""
        return self.mode == "exclusive"

    def may_share(self, targets: Sequence[Target]) -> bool:
        """Tell whether all of some targets may be loaded at a time, whatever they take."""
        return len(targets) <= 1 or any(self.allows(each, targets) for each in self.sets)

    @property
    def sets(self) -> Sequence[Group | None]:
        """The groups of which one has to have all that is loaded; None = whatever there is may be together."""
        match self.mode:
            case "exclusive":
                return ()
            case "budget":
                return (None,)
            case "groups":
                return self.groups

    def allows(self, group: Group | None, targets: Sequence[Target]) -> bool:
        """Tell whether some targets may be together by one of `sets`."""
        if group is not None and not all(group.has(target) for target in targets):
            return False
        comparing = self.groups if group is None else (group,)
        return all(
            _is_comparison(one, other, comparing)
            for number, one in enumerate(targets)
            for other in targets[:number]
            if one.label == other.label
        )

    def is_over(self, taken: "Taken") -> bool:
        """Tell whether so much is more than there is; so it is where that is not known."""
        if self.limit_bytes is None or taken.num_bytes > self.limit_bytes:
            return True
        return self.wired_limit_bytes is not None and taken.wired_bytes > self.wired_limit_bytes


def _is_comparison(one: Target, other: Target, groups: Sequence[Group]) -> bool:
    """Tell whether a group wants one model on both engines."""
    return one.engine != other.engine and any(
        group.has_on_engine(one) and group.has_on_engine(other) for group in groups
    )


class Taken(msgspec.Struct, frozen=True):
    """What some targets hold together, bytes.

    Attributes:
        wired_bytes: Those of mlx among them.
    """

    num_bytes: int = 0
    wired_bytes: int = 0

    def plus(self, target: Target, num_bytes: int) -> "Taken":
        """Return it with one target more."""
        wired = num_bytes if target.engine.kind is EngineKind.MLX else 0
        return Taken(self.num_bytes + num_bytes, self.wired_bytes + wired)


EXCLUSIVE: Final = Residency()


def workers_limit(
    budget: MemoryBudget,
    config: MemoryConfig,
    *,
    anonymous_bytes: int,
    others_bytes: int,
    has_own_level: bool,
) -> int:
    """Return what all workers that have a model may hold together, mapped weights included.

    What is loaded must not by itself make memory short (`router.memory.levels`), which would unload it again: so it
    stays below the share from which the machine's memory, or the budget, counts as critical.

    Args:
        budget: What the machine has; what it calls available has the workers' mapped weights in it.
        anonymous_bytes: What the workers hold beside those.
        others_bytes: What mlxr's other processes hold.
        has_own_level: The system says by itself how short memory is, and a share of it in use says nothing.

    Returns:
        Bytes, >= 0.
    """
    reserved_bytes = 0 if has_own_level else int((1 - config.critical_share) * budget.total_bytes)
    limits = [budget.available_bytes + anonymous_bytes - reserved_bytes]
    if config.budget_bytes is not None:
        limits.append(int(config.critical_share * config.budget_bytes) - others_bytes)
    return max(0, min(limits))
