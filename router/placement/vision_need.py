"""What seeing takes, and how large pictures may be for it: pure arithmetic on what a model's files say of its tower.

A tower that sees squares takes the same for every picture. One that sees any size takes memory by the square of the
number of patches, that is by the fourth power of a picture's side: there the side is bounded by what is free.
"""

import math
from typing import Final

import msgspec

from registry.engines import EngineKind
from registry.vision import VISION_FAMILIES, VisionFacts
from router.config import ImagesConfig

COUNTED_SIDE_PX: Final = 448
"""What a load is counted with where the config leaves the side to mlxr: it then shows no larger pictures than fit."""

_GIB: Final = 1 << 30
_TIERS: Final = ((4, 192), (8, 256), (12, 384), (16, 448))
"""GiB of the machine up to which -> longest side, pixels; larger machines leave it to the model."""
_FREE_SHARE: Final = 4
"""A tier is for machines that have a quarter of its memory free after the load; with less a lower one counts."""
_USED_SHARE: Final = 2
"""Of what is free after the load, a picture may take the half."""

_LEAST_COMPUTE_BYTES: Final = 100_000_000
"""Beside the projector's file, whatever the picture. Measured on Linux with libmtmd, towers of 93 and 670 million
weights."""
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


def vision_need(vision: VisionFacts, engine: EngineKind, family: str, side_px: int, *, has_metal: bool) -> int:
    """Return what seeing takes beside the weights, bytes.

    Args:
        family: Row of `VISION_FAMILIES`.
        side_px: Of the largest picture.
        has_metal: MLX computes on a GPU, whose attention keeps no scores.
    """
    projector_bytes = vision.size_bytes if engine is EngineKind.LLAMACPP else 0
    keeps_scores = engine is EngineKind.LLAMACPP or not has_metal
    scores_bytes = _scores_bytes(vision, family, side_px) if keeps_scores else 0
    return projector_bytes + max(_LEAST_COMPUTE_BYTES, scores_bytes)


def _scores_bytes(vision: VisionFacts, family: str, side_px: int) -> int:
    return (vision.num_heads or 0) * _num_patches(vision, family, side_px) ** 2 * _FLOAT_BYTES


def _num_patches(vision: VisionFacts, family: str, side_px: int) -> int:
    if not vision.patch_size:
        return 0
    most = VISION_FAMILIES[family].most_patches
    if most is None:
        return ((vision.image_size or 0) // vision.patch_size) ** 2
    return min(most, math.ceil(side_px / vision.patch_size) ** 2)


def image_sides(
    vision: VisionFacts, family: str, images: ImagesConfig, *, total_bytes: int, free_bytes: int
) -> ImageSides:
    """Return how large a model is shown pictures: by the machine's memory, where the config leaves it to mlxr.

    Args:
        total_bytes: The machine's memory.
        free_bytes: What is free of it after the load.
    """
    bearable = _largest_side(vision, family, max(0, free_bytes) // _USED_SHARE)
    high = images.high_side_px if bearable is None else min(images.high_side_px, bearable)
    if images.max_side_px != "auto":
        return ImageSides(images.max_side_px, max(high, min(images.max_side_px, images.high_side_px)))
    tiers = [tier for tier in (_tier(total_bytes), _tier(_FREE_SHARE * free_bytes)) if tier is not None]
    if VISION_FAMILIES[family].most_patches is not None:
        tiers.append(high)  # its own would be a photo of 12 megapixels, minutes of computing
    return ImageSides(min(tiers, default=None), high)


def _tier(num_bytes: int) -> int | None:
    return next((side for gib, side in _TIERS if num_bytes <= gib * _GIB), None)


def _largest_side(vision: VisionFacts, family: str, free_bytes: int) -> int | None:
    """Return the side up to which a picture's scores fit; None = those of every picture do."""
    row = VISION_FAMILIES[family]
    if row.most_patches is None or not vision.patch_size or not vision.num_heads:
        return None
    num_patches = max(1, math.isqrt(free_bytes // (vision.num_heads * _FLOAT_BYTES)))
    if num_patches >= row.most_patches:
        return None
    return max(_TIERS[0][1], math.isqrt(num_patches) * vision.patch_size)
