"""What one store tells others of that it keeps no longer."""

from collections.abc import Sequence

import msgspec


class Forgotten(msgspec.Struct, frozen=True):
    """Conversations of which something is kept no longer.

    Attributes:
        places: Ids of kept conversations, and of the first responses of stored chains.
        is_deleted: Whether somebody wanted it so; otherwise they were too old or too much.
    """

    places: Sequence[str]
    is_deleted: bool
