"""The config's section about the machine's memory; part of `schema`."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from router.config.background import Seconds

Share = Annotated[float, Meta(gt=0, le=1)]


class MemoryConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What memory is looked at, and what is done when it gets short.

    Attributes:
        tier: Whose defaults hold where the config says nothing; `auto` = that of this machine's memory.
        aggressive_cleanup: Whether a worker gives back what it keeps after each answer; None = by the tier.
        budget_bytes: What mlxr's own processes are to have together, mapped weights included; None = no ceiling.
        interval_s: Between two looks.
        warning_share: Share of the memory, or of the budget, from which memory counts as getting short.
        critical_share: The same for being short.
        calm_s: How long the readings have to be better before the level falls.
        emergency_after_s: How long the level may be critical before the loaded model has to go.
        load_wait_s: How long a request that needs a load waits in an emergency, before it is answered 503.
    """

    tier: Literal["auto", "ultra_low", "low", "standard", "high", "desktop"] = "auto"
    aggressive_cleanup: bool | None = None
    budget_bytes: Annotated[int, Meta(ge=1 << 20)] | None = None
    interval_s: Annotated[float, Meta(ge=0.05, le=3600)] = 5.0
    warning_share: Share = 0.70
    critical_share: Share = 0.85
    calm_s: Seconds = 30.0
    emergency_after_s: Seconds = 60.0
    load_wait_s: Seconds = 30.0

    def __post_init__(self) -> None:
        """Refuse what only the two keys together make wrong.

        Raises:
            ValueError: The levels are not in order.
        """
        if self.warning_share > self.critical_share:
            raise ValueError(
                f"memory.warning_share {self.warning_share} is above memory.critical_share {self.critical_share}; "
                "a warning comes first"
            )
