"""One answer of the doctor. Data only."""

from typing import Literal

import msgspec

State = Literal["ok", "note", "warning", "broken"]


class Check(msgspec.Struct, frozen=True):
    """One answer.

    Attributes:
        state: `ok`, `note` (nothing to judge), `warning` (works, but …) or `broken`.
        remedy: What mends it; None when nothing is to be done.
    """

    name: str
    state: State
    found: str
    remedy: str | None = None
