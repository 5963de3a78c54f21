"""The config's section about the machine's heat; part of `schema`."""

from typing import Annotated

import msgspec
from msgspec import Meta

from router.config.background import Seconds


class HeatConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the machine's heat is looked at, and what is done about it.

    Attributes:
        interval_s: Between two looks.
        calm_s: How long the readings have to be cooler before the state falls.
        one_at_a_time: Whether only one answer at a time is let in while the heat is critical.
    """

    interval_s: Annotated[float, Meta(ge=0.05, le=3600)] = 10.0
    calm_s: Seconds = 30.0
    one_at_a_time: bool = True
