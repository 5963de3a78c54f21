"""From an MLX folder's JSON to a `Tower`.

A family that is not prepared here, or a processor whose rules are not known, is refused by name: the model is a text
model then. Not here: opening files, finding the family.

Source: transformers 5.23, the attributes that its image processors and configurations save.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from PIL import Image

from backends.images.families import Family, family_of
from backends.images.tower import Channels, Fit, NumPixels, Side, Small, Tower, checked, converted, unsupported


class _Edges(msgspec.Struct):
    height: Side | None = None
    width: Side | None = None
    shortest_edge: NumPixels | None = None  # of Qwen: pixels, not sides
    longest_edge: NumPixels | None = None


class _Preprocessor(msgspec.Struct):
    size: _Edges = msgspec.field(default_factory=_Edges)
    max_image_size: _Edges = msgspec.field(default_factory=_Edges)
    image_mean: Channels | None = None
    image_std: Channels | None = None
    resample: Annotated[int, msgspec.Meta(ge=0, le=5)] | None = None
    do_normalize: bool | None = None
    do_image_splitting: bool = True
    do_center_crop: bool | None = None
    do_pad: bool | None = None
    min_pixels: NumPixels | None = None
    max_pixels: NumPixels | None = None
    patch_size: Small | None = None
    merge_size: Small | None = None
    pooling_kernel_size: Small | None = None
    max_soft_tokens: Small | None = None


class _VisionConfig(msgspec.Struct):
    model_type: str | None = None
    image_size: Side | None = None
    patch_size: Small | None = None
    spatial_merge_size: Small | None = None
    pooling_kernel_size: Small | None = None


class _TextConfig(msgspec.Struct):
    use_bidirectional_attention: Any = None


class _Config(msgspec.Struct):
    vision_config: _VisionConfig
    text_config: _TextConfig = msgspec.field(default_factory=_TextConfig)
    scale_factor: Small | None = None
    mm_tokens_per_image: Small | None = None
    vision_feature_select_strategy: str = "full"


def tower_of_folder(name: str, config: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> Tower:
    """Read a tower from config.json and preprocessor_config.json (or processor_config.json, which may contain it).

    Args:
        name: Its family's, a key of `FAMILIES`.

    Raises:
        UnsupportedByModelError: The family is not one of the table, or the files say what it cannot be.
    """
    family = family_of(name)
    inner = preprocessor.get("image_processor")
    said = inner if isinstance(inner, Mapping) else preprocessor
    settings = converted(said, _Preprocessor, "preprocessor_config.json")
    whole = converted(config, _Config, "config.json")
    patch_size = settings.patch_size or whole.vision_config.patch_size
    if patch_size is None:
        raise unsupported("neither config.json nor preprocessor_config.json says the patch_size; pull the model anew")
    mean, std = _colours(settings, is_normalized=name != "gemma4")
    tower = Tower(
        family=name,
        patch_size=patch_size,
        merge=family.merge,
        mean=mean,
        std=std,
        resampling=family.resampling if settings.resample is None else Image.Resampling(settings.resample),
    )
    match name:
        case "idefics3":
            return checked(_tiled(tower, whole, settings))
        case "gemma3":
            return checked(_gemma3(tower, whole, settings))
        case "gemma4":
            return checked(_gemma4(tower, whole, settings, family))
        case "llava":
            return checked(_llava(tower, whole, settings))
        case _:
            return checked(_of_any_size(tower, whole.vision_config, settings, family))


def _colours(settings: _Preprocessor, *, is_normalized: bool) -> tuple[Channels, Channels]:
    if not (is_normalized if settings.do_normalize is None else settings.do_normalize):
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if settings.image_mean is None or settings.image_std is None:
        raise unsupported("preprocessor_config.json lacks image_mean or image_std; pull the model anew")
    return settings.image_mean, settings.image_std


def _tiled(tower: Tower, config: _Config, settings: _Preprocessor) -> Tower:
    tile = settings.max_image_size.longest_edge or config.vision_config.image_size
    longest = settings.size.longest_edge
    if tile is None or longest is None or config.scale_factor is None:
        raise unsupported("config.json or preprocessor_config.json lacks max_image_size, size or scale_factor")
    return msgspec.structs.replace(
        tower, image_size=tile, longest_edge=longest, merge=config.scale_factor, is_split=settings.do_image_splitting
    )


def _square(tower: Tower, config: _Config, settings: _Preprocessor) -> Tower:
    is_silent = settings.size == _Edges()
    side = config.vision_config.image_size if is_silent else settings.size.height
    if side is None or not (is_silent or settings.size.width == side) or settings.do_center_crop:
        raise unsupported("its image processor cuts off or stretches by rules that are not known; use another model")
    return msgspec.structs.replace(tower, image_size=side, fit=Fit.PAD if settings.do_pad else Fit.SQUASH)


def _gemma3(tower: Tower, config: _Config, settings: _Preprocessor) -> Tower:
    tower = msgspec.structs.replace(_square(tower, config, settings), is_bidirectional=True)
    if config.mm_tokens_per_image is None:
        return tower
    assert tower.image_size is not None
    merge = tower.image_size // tower.patch_size // math.isqrt(config.mm_tokens_per_image)
    return msgspec.structs.replace(tower, merge=max(1, merge))


def _gemma4(tower: Tower, config: _Config, settings: _Preprocessor, family: Family) -> Tower:
    return msgspec.structs.replace(
        tower,
        merge=settings.pooling_kernel_size or config.vision_config.pooling_kernel_size or family.merge,
        max_rows=settings.max_soft_tokens or family.max_rows,
        is_bidirectional=config.text_config.use_bidirectional_attention == "vision",
    )


def _llava(tower: Tower, config: _Config, settings: _Preprocessor) -> Tower:
    kind = config.vision_config.model_type
    if kind != "siglip_vision_model":
        raise unsupported(f"of LLaVA only models with a SigLIP tower see, not with {kind!r}; use another model")
    if config.vision_feature_select_strategy != "full":
        raise unsupported("it leaves out a row of a tower that has no class token; use another model")
    return _square(tower, config, settings)


def _of_any_size(tower: Tower, vision: _VisionConfig, settings: _Preprocessor, family: Family) -> Tower:
    assert family.pixels is not None
    return msgspec.structs.replace(
        tower,
        merge=settings.merge_size or vision.spatial_merge_size or family.merge,
        min_pixels=settings.min_pixels or settings.size.shortest_edge or family.pixels[0],
        max_pixels=settings.max_pixels or settings.size.longest_edge or family.pixels[1],
    )
