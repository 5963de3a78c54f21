"""What the published models of each family say of their vision towers, in both formats, and pictures of many sizes."""

import random
from typing import Any, NamedTuple

import numpy as np

from backends.images.decoding import Picture, Size
from backends.images.folder import tower_of_folder
from backends.images.projector import tower_of_projector
from backends.images.tower import Tower
from tests.support import tiny_projector

_HALF = [0.5, 0.5, 0.5]
_CLIP_MEAN, _CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


class Published(NamedTuple):
    """A family's files.

    Attributes:
        processor: Module and class of transformers' own image processor.
        config: What config.json says, as far as it is read.
        preprocessor: What preprocessor_config.json says.
    """

    processor: tuple[str, str]
    config: dict[str, Any]
    preprocessor: dict[str, Any]


def _qwen(kind: str, **preprocessor: Any) -> Published:
    vision = {"spatial_merge_size": 2, "temporal_patch_size": 2}
    processor = ("qwen2_vl", "Qwen2VLImageProcessorPil")
    return Published(processor, {"model_type": kind, "vision_config": vision}, {"merge_size": 2} | preprocessor)


_CLIP_COLOURS = {"image_mean": _CLIP_MEAN, "image_std": _CLIP_STD}
_HALF_COLOURS = {"image_mean": _HALF, "image_std": _HALF}
PUBLISHED = {
    # SmolVLM-256M.
    "idefics3": Published(
        ("smolvlm", "SmolVLMImageProcessorPil"),
        {"model_type": "smolvlm", "scale_factor": 4, "vision_config": {"patch_size": 16, "image_size": 512}},
        {
            "size": {"longest_edge": 2048},
            "max_image_size": {"longest_edge": 512},
            "do_image_splitting": True,
            "resample": 1,
        }
        | _HALF_COLOURS,
    ),
    "qwen2_vl": _qwen("qwen2_vl", patch_size=14, min_pixels=3136, max_pixels=12_845_056, **_CLIP_COLOURS),
    "qwen2_5_vl": _qwen("qwen2_5_vl", patch_size=14, min_pixels=3136, max_pixels=12_845_056, **_CLIP_COLOURS),
    "qwen3_vl": _qwen(
        "qwen3_vl", patch_size=16, size={"shortest_edge": 65_536, "longest_edge": 16_777_216}, **_HALF_COLOURS
    ),
    "gemma3": Published(
        ("gemma3", "Gemma3ImageProcessorPil"),
        {
            "model_type": "gemma3",
            "mm_tokens_per_image": 256,
            "vision_config": {"model_type": "siglip_vision_model", "image_size": 896, "patch_size": 14},
        },
        {"size": {"height": 896, "width": 896}, "resample": 2} | _HALF_COLOURS,
    ),
    "gemma4": Published(
        ("gemma4", "Gemma4ImageProcessorPil"),
        {
            "model_type": "gemma4",
            "text_config": {"use_bidirectional_attention": "vision"},
            "vision_config": {"patch_size": 16, "pooling_kernel_size": 3},
        },
        {"patch_size": 16, "pooling_kernel_size": 3, "max_soft_tokens": 280, "do_normalize": False},
    ),
    "llava": Published(
        ("siglip", "SiglipImageProcessorPil"),
        {
            "model_type": "llava",
            "vision_feature_select_strategy": "full",
            "vision_config": {"model_type": "siglip_vision_model", "image_size": 384, "patch_size": 14},
        },
        {"size": {"height": 384, "width": 384}, "resample": 3} | _HALF_COLOURS,
    ),
}


def folder_tower(family: str) -> Tower:
    published = PUBLISHED[family]
    return tower_of_folder(family, published.config, published.preprocessor)


def gguf_tower(family: str) -> Tower:
    return tower_of_projector(
        family, tiny_projector.metadata_of(family), text_width=tiny_projector.TEXT_WIDTH, has_class_token=False
    )


def sizes(num: int = 50, longest: int = 1300) -> list[Size]:
    """Return sizes at which rounding is hard, then others by chance, thin ones among them."""
    hard = [
        (1, 1),
        (2, 1),
        (200, 1),
        (1, 200),
        (13, 14),
        (28, 28),
        (70, 70),
        (42, 98),
        (512, 512),
        (513, 512),
        (512, 513),
        (384, 384),
        (1024, 1025),
        (1920, 1080),
        (1080, 1920),
        (600, 4),
    ]
    chance = random.Random(7)
    while len(hard) < num:
        width = chance.randint(1, longest)
        height = max(1, round(width * 2 ** chance.uniform(-3, 3)))
        if max(width, height) <= longest and max(width, height) <= 200 * min(width, height):
            hard.append((width, height))
    return [Size(*size) for size in hard[:num]]


def noise(size: Size) -> Picture:
    """Return a picture in which each pixel counts."""
    rng = np.random.default_rng(size.width * 10_000 + size.height)
    return Picture(rng.integers(0, 256, (size.height, size.width, 3), dtype=np.uint8), size)
