"""Classes of machines by their memory, and what each has as defaults: one table, and the config completed by it. Pure.

A default stands in only where the config says nothing (null, for pictures `auto`); what is set on a model or said by a
request goes before both. Not here: reading the machine (`backends.machine`).
"""

import enum
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from router.config.schema import Config
from router.status.memory import MemorySetting

_GIB: Final = 1 << 30
_MB: Final = 1_000_000


class Tier(enum.StrEnum):
    """How large a machine's memory is, from small to large."""

    ULTRA_LOW = "ultra_low"
    LOW = "low"
    STANDARD = "standard"
    HIGH = "high"
    DESKTOP = "desktop"


class TierDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """What holds on machines of a tier where nobody says otherwise.

    Attributes:
        largest_bytes: The most memory of such a machine; None = any.
        cache_limit_bytes: What MLX keeps for reuse; None = 5 % of Metal's working set, 256 MiB to 4 GiB.
        memory_limit_bytes: From where MLX waits for memory to be given back before it takes more; None = MLX's own.
        max_tokens: Longest answer; None = what the context leaves.
        image_side_px: Longest side of pictures; None = the model's own.
        checkpoint_bytes: What a worker's checkpoints may take.
        keep_alive_s: How long a model stays loaded after its last answer.
        unload_before_sleep: Whether the model goes before the machine sleeps.
        aggressive_cleanup: Whether workers give back what they keep after each answer.
    """

    largest_bytes: int | None
    cache_limit_bytes: int | None
    memory_limit_bytes: int | None
    max_tokens: int | None
    image_side_px: int | None
    checkpoint_bytes: int
    keep_alive_s: float
    aggressive_cleanup: bool = False
    unload_before_sleep: bool = True

    @property
    def keeps_loaded(self) -> bool:
        """Whether a model is to be there for the next request."""
        return self.keep_alive_s > NOT_KEPT_S


NOT_KEPT_S: Final = 1.0
"""How long a model that is not to be kept stays after its last answer."""

TIERS: Final[Mapping[Tier, TierDefaults]] = {
    Tier.ULTRA_LOW: TierDefaults(
        largest_bytes=2 * _GIB,
        cache_limit_bytes=3 * _MB,
        memory_limit_bytes=1500 * _MB,
        max_tokens=300,
        image_side_px=192,
        checkpoint_bytes=16 * _MB,
        keep_alive_s=NOT_KEPT_S,
        aggressive_cleanup=True,
    ),
    Tier.LOW: TierDefaults(
        largest_bytes=3 * _GIB,
        cache_limit_bytes=8 * _MB,
        memory_limit_bytes=2000 * _MB,
        max_tokens=500,
        image_side_px=256,
        checkpoint_bytes=32 * _MB,
        keep_alive_s=NOT_KEPT_S,
    ),
    Tier.STANDARD: TierDefaults(
        largest_bytes=6 * _GIB,
        cache_limit_bytes=20 * _MB,
        memory_limit_bytes=2500 * _MB,
        max_tokens=800,
        image_side_px=384,
        checkpoint_bytes=128 * _MB,
        keep_alive_s=300.0,
    ),
    Tier.HIGH: TierDefaults(
        largest_bytes=16 * _GIB,
        cache_limit_bytes=50 * _MB,
        memory_limit_bytes=None,
        max_tokens=1000,
        image_side_px=448,
        checkpoint_bytes=512 * _MB,
        keep_alive_s=900.0,
    ),
    Tier.DESKTOP: TierDefaults(
        largest_bytes=None,
        cache_limit_bytes=None,
        memory_limit_bytes=None,
        max_tokens=None,
        image_side_px=None,
        checkpoint_bytes=2000 * _MB,
        keep_alive_s=1800.0,
        unload_before_sleep=False,
    ),
}


_KEYS: Final[Mapping[str, str]] = {
    "mlx.cache_limit_bytes": "cache_limit_bytes",
    "mlx.memory_limit_bytes": "memory_limit_bytes",
    "generation.max_tokens": "max_tokens",
    "images.max_side_px": "image_side_px",
    "cache.checkpoint_bytes": "checkpoint_bytes",
    "limits.keep_alive_s": "keep_alive_s",
    "memory.aggressive_cleanup": "aggressive_cleanup",
    "lifecycle.unload_before_sleep": "unload_before_sleep",
}
"""Keys of the config -> what a tier has for them."""
_BY_MEMORY: Final = "images.max_side_px"
"""Stays `auto`: what is free counts as well (`placement.vision_need`)."""


def tier_of(num_bytes: int) -> Tier:
    """Return the tier of a machine, or of a container, with so much memory."""
    for tier, defaults in TIERS.items():
        if defaults.largest_bytes is None or num_bytes <= defaults.largest_bytes:
            return tier
    raise AssertionError("the last tier has no end")


def tier_for(config: Config, total_bytes: int) -> Tier:
    """Return whose defaults hold: the config's word, else by the memory."""
    return tier_of(total_bytes) if config.memory.tier == "auto" else Tier(config.memory.tier)


def completed(config: Config, tier: Tier) -> Config:
    """Return the config with the tier's defaults where it says nothing."""
    changes: dict[str, dict[str, Any]] = {}
    for key, name in _KEYS.items():
        section, _, field = key.partition(".")
        if key != _BY_MEMORY and getattr(getattr(config, section), field) is None:
            changes.setdefault(section, {})[field] = getattr(TIERS[tier], name)
    return replace(config, **{name: replace(getattr(config, name), **own) for name, own in changes.items()})


def settings_in_force(config: Config, tier: Tier) -> list[MemorySetting]:
    """Return every such setting with its origin.

    Args:
        config: As its file has it, not `completed`.
    """
    found = []
    for key, name in _KEYS.items():
        section, _, field = key.partition(".")
        said = getattr(getattr(config, section), field)
        is_said = said is not None and said != "auto"
        value = said if is_said else getattr(TIERS[tier], name)
        found.append(MemorySetting(name=key, value=value, origin="config" if is_said else "tier"))
    return found
