"""How many models are loaded at a time, what each takes, and who would go next: a part of the status."""

import msgspec


class ResidentShare(msgspec.Struct, frozen=True, kw_only=True):
    """What one loaded model takes of the memory for models.

    Attributes:
        model: `name` or `name+adapter`.
        held_bytes: What it counts for: what it holds, or what was estimated where that is more; null = not known.
        read_bytes: What its workers hold, files that they have mapped once; null = not measured.
        is_pinned: Whether it stays, whoever else wants the memory.
        goes: Its place in the order in which models go for others, 1 = the first; null = it is pinned, or is ended now.
        why: Why it has this place, in words.
    """

    model: str
    engine: str
    held_bytes: int | None
    read_bytes: int | None
    is_pinned: bool
    goes: int | None
    why: str


class ResidencyStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What `residency` comes to now.

    Attributes:
        mode: `exclusive`, `budget` or `groups`.
        limit_bytes: What all models may hold together now; null = one is loaded at a time, or it is not known.
        held_bytes: What they count for.
        groups: By their names, as the config has them.
        models: Those that are loaded, loading or ended, in the order in which they would go.
    """

    mode: str
    limit_bytes: int | None
    held_bytes: int
    groups: dict[str, list[str]]
    models: list[ResidentShare]
