"""What seeing takes, and how large pictures may be for it: pure arithmetic on what a model's files say of its tower.

A tower that sees squares takes the same for every picture. One that sees any size takes memory by the number of
patches, and without flash attention by the square of that: there the side is bounded by what is free.

The constants were measured on Linux with libmtmd, random towers of real widths and 4 or 12 layers (peak resident memory
of a worker, without the file, MB): Qwen2-VL's, 1,280 wide, at 448, 560 and 840 pixels with flash attention 52, 98 and
217, without 115, 238 and 1,004; SmolVLM's, 768 wide, at 512 pixels without 80. Estimated: 63, 98, 221; 130, 262, 1,051;
88.
"""

import math
from typing import Final

import msgspec

from registry.engines import EngineKind
from registry.vision import VISION_FAMILIES, VisionFacts
from router.config import ImagesConfig
from router.config.tiers import TIERS, tier_of

COUNTED_SIDE_PX: Final = 448
"""What a load is counted with where the config leaves the side to mlxr: it then shows no larger pictures than fit."""

_LEAST_SIDE_PX: Final = 192
"""However little is free."""
_FREE_SHARE: Final = 2
"""A tier is for machines that have half of its memory free after the load; with less a lower one counts."""
_USED_SHARE: Final = 2
"""Of what is free after the load, a picture may take the half."""

_LEAST_COMPUTE_BYTES: Final = 100_000_000
"""Beside the projector's file, whatever the picture: it is decoded in that, too."""
_ACTIVATION_ROWS: Final = 12
"""As wide as the hidden states, for each patch: what is live at the widest place of a layer."""
_DEFAULT_WIDTH: Final = 1280
_FLOAT_BYTES: Final = 4


class ImageSides(msgspec.Struct, frozen=True):
    """How large a model is shown pictures, by their longer side, pixels.

    Attributes:
        usual: Where a request says nothing; None = as large as the model takes them.
        high: What a request may ask for.
    """

    usual: int | None
    high: int


def counted_side_px(images: ImagesConfig) -> int:
    """Return with which side of pictures a load is counted."""
    return COUNTED_SIDE_PX if images.max_side_px == "auto" else images.max_side_px


def vision_need(vision: VisionFacts, engine: EngineKind, family: str, side_px: int, *, keeps_scores: bool) -> int:
    """Return what seeing takes beside the weights, bytes.

    Args:
        family: Row of `VISION_FAMILIES`.
        side_px: Of the largest picture.
        keeps_scores: Its attention has no fused kernel.
    """
    projector_bytes = vision.size_bytes if engine is EngineKind.LLAMACPP else 0
    linear, square = _bytes_by_patches(vision, keeps_scores=keeps_scores)
    num_patches = _num_patches(vision, family, side_px)
    return projector_bytes + max(_LEAST_COMPUTE_BYTES, linear * num_patches + square * num_patches**2)


def _bytes_by_patches(vision: VisionFacts, *, keeps_scores: bool) -> tuple[int, int]:
    """Return bytes for each patch, and for each pair of patches."""
    linear = _ACTIVATION_ROWS * (vision.tower_width or _DEFAULT_WIDTH) * _FLOAT_BYTES
    return linear, (vision.num_heads or 0) * _FLOAT_BYTES if keeps_scores else 0


def _num_patches(vision: VisionFacts, family: str, side_px: int) -> int:
    if not vision.patch_size:
        return 0
    most = VISION_FAMILIES[family].most_patches
    if most is None:
        return ((vision.image_size or 0) // vision.patch_size) ** 2
    return min(most, math.ceil(side_px / vision.patch_size) ** 2)


def image_sides(
    vision: VisionFacts,
    family: str,
    images: ImagesConfig,
    *,
    keeps_scores: bool,
    total_bytes: int,
    free_bytes: int,
) -> ImageSides:
    """Return how large a model is shown pictures: by the machine's memory, where the config leaves it to mlxr.

    Args:
        keeps_scores: Its attention has no fused kernel.
        total_bytes: The machine's memory.
        free_bytes: What is free of it after the load.
    """
    bearable = _largest_side(vision, family, max(0, free_bytes) // _USED_SHARE, keeps_scores=keeps_scores)
    high = images.high_side_px if bearable is None else min(images.high_side_px, bearable)
    if images.max_side_px != "auto":
        return ImageSides(images.max_side_px, max(high, min(images.max_side_px, images.high_side_px)))
    tiers = [tier for tier in (_tier(total_bytes), _tier(_FREE_SHARE * free_bytes)) if tier is not None]
    if VISION_FAMILIES[family].most_patches is not None:
        tiers.append(high)  # its own would be a photo of 12 megapixels, minutes of computing
    return ImageSides(min(tiers, default=None), high)


def _tier(num_bytes: int) -> int | None:
    return TIERS[tier_of(int(num_bytes))].image_side_px


def _largest_side(vision: VisionFacts, family: str, free_bytes: int, *, keeps_scores: bool) -> int | None:
    """Return the side up to which a picture fits; None = every picture does."""
    most = VISION_FAMILIES[family].most_patches
    if most is None or not vision.patch_size:
        return None
    linear, square = _bytes_by_patches(vision, keeps_scores=keeps_scores)
    # The larger root of square * n² + linear * n = free_bytes.
    root = math.isqrt(linear**2 + 4 * square * free_bytes)
    num_patches = (root - linear) // (2 * square) if square else free_bytes // linear
    if num_patches >= most:
        return None
    return max(_LEAST_SIDE_PX, math.isqrt(num_patches) * vision.patch_size)
