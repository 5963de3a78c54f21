"""What an MLX folder has to see with: VisionFacts of its config.json, tensors and file names.

Not here: whether an engine can use it (`registry.vision`), and how pictures are prepared for it.
"""

from collections.abc import Mapping
from typing import Any, Final

from registry.facts import clean_text
from registry.mlx.config import Config
from registry.mlx.safetensors import TensorInfo
from registry.vision import VisionFacts

PREPROCESSOR_NAMES: Final = ("preprocessor_config.json", "processor_config.json")
"""One of them says how pictures are prepared; the second may contain the first."""

_TOWER_PARTS: Final = frozenset(
    {"vision_tower", "vision_model", "visual", "multi_modal_projector", "connector", "embed_vision"}
)
"""Of the names of tensors, between dots. Source: mlx-vlm 0.7.10, models/*, attributes of the families' models."""


def tower_facts(config: Config, tensors: Mapping[str, TensorInfo], names: set[str]) -> VisionFacts | None:
    """Give what a folder has to see with; None for a text model.

    Args:
        tensors: All of the folder's.
        names: Of the folder's files.
    """
    vision, audio = _object(config, "vision_config"), _object(config, "audio_config")
    if vision is None and audio is None:
        return None
    found = Config(vision or {})
    return VisionFacts(
        kind=clean_text(config.text("model_type")),
        has_vision=vision is not None,
        has_audio=audio is not None,
        width=config.integer("hidden_size"),
        tower_type=clean_text(found.text("model_type")),
        image_size=found.integer("image_size"),
        patch_size=found.integer("patch_size"),
        num_heads=found.integer("num_attention_heads") or found.integer("num_heads"),
        # Qwen2-VL's `hidden_size` is the language model's.
        tower_width=found.integer("embed_dim") or found.integer("hidden_size"),
        size_bytes=sum(tensor.size_bytes for name, tensor in tensors.items() if is_of_tower(name)),
        missing=() if names & set(PREPROCESSOR_NAMES) else PREPROCESSOR_NAMES[:1],
    )


def is_of_tower(tensor: str) -> bool:
    """Tell by a tensor's name whether it belongs to what makes rows of pictures."""
    return not _TOWER_PARTS.isdisjoint(tensor.split("."))


def _object(config: Config, key: str) -> dict[str, Any] | None:
    # Of the model itself: its language model's config has no tower.
    value = config.values.get(key)
    return value if isinstance(value, dict) else None
