"""From a GGUF projector's metadata to a `Tower`.

A projector of a family that is not prepared here, or whose tower llama.cpp computes wrongly, is refused by name: the
model is a text model then. Not here: opening files, finding the family.

Source: llama.cpp, tools/mtmd/clip-impl.h (keys) and clip.cpp (what is a default).
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from backends.images.families import family_of
from backends.images.tower import Channels, NumPixels, Side, Small, Tower, checked, converted, unsupported

_CAUSAL_GEMMA4_WIDTHS: Final = (1536, 2560)
"""E2B and E4B. Source: llama.cpp, tools/mtmd/mtmd.cpp, mtmd_decode_use_non_causal."""


class _Clip(msgspec.Struct, rename=lambda name: "clip." + name.replace("__", ".")):
    vision__image_mean: Channels
    vision__image_std: Channels
    vision__image_size: Side
    vision__patch_size: Small
    vision__projector__scale_factor: Small | None = None
    vision__spatial_merge_size: Small | None = None
    vision__preproc_image_size: Side | None = None
    vision__image_min_pixels: NumPixels | None = None
    vision__image_max_pixels: NumPixels | None = None
    vision__image_grid_pinpoints: list[int] = []


def tower_of_projector(name: str, metadata: Mapping[str, Any], *, text_width: int, has_class_token: bool) -> Tower:
    """Read a tower from a projector's metadata.

    Args:
        name: Its family's, a key of `FAMILIES`.
        metadata: Its keys and values, arrays as lists.
        text_width: `embedding_length` of the language model.
        has_class_token: Whether the file has a tensor `v.class_embd`, as CLIP's towers do.

    Raises:
        UnsupportedByModelError: The family is not one of the table, or its tower is computed wrongly by llama.cpp.
    """
    family = family_of(name)
    clip = converted(metadata, _Clip, "the projector")
    if has_class_token or clip.vision__image_grid_pinpoints:
        raise unsupported("LLaVA with a CLIP tower is computed wrongly by llama.cpp (#25814); use another model")
    merge = clip.vision__spatial_merge_size if family.takes_patches else clip.vision__projector__scale_factor
    tower = Tower(
        family=name,
        patch_size=clip.vision__patch_size,
        merge=merge or family.merge,
        mean=clip.vision__image_mean,
        std=clip.vision__image_std,
        resampling=family.resampling,
        max_rows=family.max_rows,
        is_bidirectional=name == "gemma3" or (name == "gemma4" and text_width not in _CAUSAL_GEMMA4_WIDTHS),
    )
    side = clip.vision__image_size
    if name == "idefics3":
        # Old files do not say the longest edge; all published models of the family have four tiles along it.
        longest = clip.vision__preproc_image_size or 4 * side
        tower = msgspec.structs.replace(tower, image_size=side, longest_edge=longest, is_split=True)
    elif name in ("gemma3", "llava"):
        tower = msgspec.structs.replace(tower, image_size=side)
    elif family.pixels is not None:
        least = clip.vision__image_min_pixels or family.pixels[0]
        most = clip.vision__image_max_pixels or family.pixels[1]
        tower = msgspec.structs.replace(tower, min_pixels=least, max_pixels=most)
    return checked(tower)
