"""What the engine keeps of its sequences, live and retired, and whether there may be drafts for them."""

import dataclasses
from typing import Final

from backends.base import WHY_NO_DRAFTS
from backends.logits import LogitsEditor
from backends.mlx.caches import KeptCache
from backends.mlx.checkpoints import Cutting
from backends.mlx.sampler import EditedDraws, Sampler
from backends.sequence import Sequence

_WHY_NO_DRAFTS_BY_TOWER: Final = "models that see have no drafts on mlx"
_WHY_NO_DRAFTS_OVER_HOSTS: Final = "a model over several hosts has no drafts"


@dataclasses.dataclass(slots=True, eq=False)
class Live:
    """A sequence that was inserted and has not ended.

    Attributes:
        kept: Its cache while it is not in the generator; None = nothing is computed, or it is in there.
        uid: The generator's number for it; None while it is not in there.
        draws: Its edited draws since it was last given to the generator; None without an editor.
        num_single: Steps that it is yet to decode outside the generator, if there is no draft and it stays alone.
    """

    sequence: Sequence
    sampler: Sampler
    editor: LogitsEditor | None
    kept: KeptCache | None = None
    uid: int | None = None
    draws: EditedDraws | None = None
    num_single: int = 0


def why_no_drafts(cutting: Cutting, *, sees: bool, is_shared: bool) -> str | None:
    """Return why no tokens can be drafted; None = they can, for a sequence that is alone."""
    if is_shared:
        return _WHY_NO_DRAFTS_OVER_HOSTS
    if sees:
        return _WHY_NO_DRAFTS_BY_TOWER
    return None if cutting.is_free else WHY_NO_DRAFTS
