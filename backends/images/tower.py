"""What a model's files say of its vision tower, as one Struct whatever the format.

Not here: what follows from it for a picture (`geometry.py`), opening files.
"""

import enum
import math
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from PIL import Image

from backends.errors import UnsupportedByModelError

_T = TypeVar("_T")
Side = Annotated[int, msgspec.Meta(ge=1, le=8192)]
"""Pixels."""
Small = Annotated[int, msgspec.Meta(ge=1, le=4096)]
NumPixels = Annotated[int, msgspec.Meta(ge=1, le=1 << 30)]
Channels = tuple[float, float, float]
"""One value for each of red, green, blue, of pixels from 0 to 1."""


class Fit(enum.StrEnum):
    """How a picture of other proportions becomes a tower's square."""

    SQUASH = "squash"
    PAD = "pad"  # with the mean colour, the picture in the middle


class Tower(msgspec.Struct, frozen=True, kw_only=True):
    """A vision tower and what belongs to it, as far as pictures are prepared for it.

    Attributes:
        family: Row of `families.FAMILIES`.
        image_size: Side of the square the tower sees at once; None for those that take any size.
        merge: Patches along a side that become one row.
        resampling: The filter with which the family's own processor changes sizes.
        longest_edge: Tiled towers: to what the longer side is scaled before it is cut into tiles.
        is_split: Tiled towers: whether pictures are cut into tiles at all.
        min_pixels: Towers of any size: smaller pictures are scaled up.
        max_pixels: Towers of any size: larger pictures are scaled down.
        max_rows: Towers with a budget: at most so many rows for a picture.
        is_bidirectional: Whether the language model lets the rows of a picture see each other.
    """

    family: str
    image_size: Side | None = None
    patch_size: Annotated[int, msgspec.Meta(ge=1, le=256)]
    merge: Annotated[int, msgspec.Meta(ge=1, le=64)]
    mean: Channels
    std: Channels
    resampling: Image.Resampling
    fit: Fit = Fit.SQUASH
    longest_edge: Side | None = None
    is_split: bool = False
    min_pixels: int | None = None
    max_pixels: int | None = None
    max_rows: int | None = None
    is_bidirectional: bool = False

    @property
    def step(self) -> int:
        """Pixels along a side that one row stands for."""
        return self.patch_size * self.merge


def converted(values: Mapping[str, Any], kind: type[_T], where: str) -> _T:
    """Return what is read of a file's values, each of its type and within its range.

    Raises:
        UnsupportedByModelError: One is not.
    """
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as exc:
        raise unsupported(f"{where} does not describe a vision tower ({exc}); use another model") from exc


def checked(tower: Tower) -> Tower:
    """Return a tower whose sizes fit together.

    Raises:
        UnsupportedByModelError: They would divide by zero, or give no row.
    """
    sides = [side for side in (tower.image_size, tower.longest_edge) if side is not None]
    # Only LLaVA's towers leave out what is beyond their last whole patch.
    is_whole = tower.image_size is None or tower.image_size % tower.step == 0 or tower.merge == 1
    is_ordered = (tower.min_pixels or 0) <= (tower.max_pixels or math.inf)
    if (
        any(side < tower.step for side in sides)
        or not (is_whole and is_ordered)
        or any(not math.isfinite(value) for value in (*tower.mean, *tower.std))
        or any(value <= 0 for value in tower.std)
    ):
        raise unsupported("the sizes in its files contradict each other; use another model")
    return tower


def unsupported(reason: str) -> UnsupportedByModelError:
    """Return the refusal of images by a model whose tower is not used here."""
    return UnsupportedByModelError(f"the model cannot see images: {reason}")
