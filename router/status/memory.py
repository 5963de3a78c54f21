"""What a gateway tells of the machine's memory and heat, and of what was done about them."""

import msgspec


class MemorySetting(msgspec.Struct, frozen=True, kw_only=True):
    """A default that hangs on the machine's memory, and who has the say about it.

    Attributes:
        name: The config's key.
        value: null = no limit; for `mlx.cache_limit_bytes` 5 % of Metal's working set, for `images.max_side_px` the
            model's own.
        origin: `tier`, `config`, or `model` where a loaded model has its own.
        model: The loaded model whose own setting it is.
    """

    name: str
    value: float | int | str | bool | None
    origin: str
    model: str | None = None


class MemoryRelief(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker gave back because memory was short.

    Attributes:
        at: Seconds since 1970.
        pressure: The level that asked for it; `normal` = `memory.aggressive_cleanup` did.
        num_caches: Kept caches of ended answers that were dropped.
        freed_bytes: What its resident memory fell by; below 0 where it grew meanwhile.
    """

    at: float
    pressure: str
    model: str
    engine: str
    pid: int
    num_caches: int
    freed_bytes: int

    def log_line(self) -> str:
        """Return the record as one line for the log."""
        fields = {name: value for name, value in msgspec.structs.asdict(self).items() if name != "at"}
        return " ".join(["memory given back:", *(f"{name}={value}" for name, value in fields.items())])


class MemoryStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How short of memory the machine is, and what holds on it for that.

    Attributes:
        tier: Whose defaults hold: `ultra_low`, `low`, `standard`, `high` or `desktop`.
        pressure: `normal`, `warning`, `critical` or `emergency`.
        reason: The reading behind it.
        used_share: Share of the machine's memory, or of the container's, in use; null = not judged by it, or not read.
        stall_share: Share of the last 10 s in which everything waited for memory; null = the system does not tell.
        system_level: The system's own word: `normal`, `warning` or `critical`; null = it has none.
        own_bytes: What mlxr's processes have together; read where there is a budget.
        budget_bytes: What they are to have.
        reliefs: What workers gave back lately, newest last; unloads are among `swaps`.
    """

    tier: str
    pressure: str
    reason: str
    used_share: float | None
    stall_share: float | None
    system_level: str | None
    own_bytes: int | None
    budget_bytes: int | None
    settings: list[MemorySetting]
    reliefs: list[MemoryRelief] = []


class HeatStatus(msgspec.Struct, frozen=True):
    """How hot the machine is.

    Attributes:
        state: `nominal`, `fair`, `serious` or `critical`; null = the system does not tell.
        reason: The reading behind it.
    """

    state: str | None
    reason: str
