"""A tiny vision model on disk, and what a worker is told to load of it."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from backends.wire.load import LoadSpec, VisionSpec
from tests.support.tiny_vision.families import CONTEXT_LENGTH, TINY_FAMILIES, WIDTH
from tests.support.tiny_vision.folder import write_folder
from tests.support.tiny_vision.gguf_files import Metadata, clip_metadata, write_projector, write_text_model
from tests.support.tiny_vision.weights import text_weights, tower_weights

RGB = np.ndarray[Any, np.dtype[np.uint8]]


class VisionModel(NamedTuple):
    """A model in both formats.

    Attributes:
        family: Row of `backends.images.families.FAMILIES`.
        text_gguf: Its language model, for llama.cpp.
        projector: What makes rows for that.
        metadata: The projector's `clip.*` keys.
        folder: The same weights for MLX.
    """

    family: str
    text_gguf: Path
    projector: Path
    metadata: Metadata
    folder: Path
    text_width: int = WIDTH
    context_length: int = CONTEXT_LENGTH

    def path_for(self, engine: str) -> Path:
        """Return what an engine loads; the fake one takes the GGUF file's tokenizer from nowhere."""
        return self.folder if engine == "mlx" else self.text_gguf

    def vision_spec(self, engine: str, **changes: Any) -> VisionSpec:
        has_own_tower = engine == "mlx"
        said: dict[str, Any] = {
            "family": self.family,
            "projector_path": None if has_own_tower else str(self.projector),
            "projector_metadata": {} if has_own_tower else self.metadata,
            "text_width": self.text_width,
            "fingerprint": f"{self.family} {self.text_gguf.parent.name}",
        }
        return VisionSpec(**said | changes)

    def load_spec(self, engine: str, **settings: Any) -> LoadSpec:
        """Return a load of four sequences on one thread, with the tower, unless settings say otherwise."""
        said: dict[str, Any] = {
            "model_path": str(self.path_for(engine)),
            "context_length": 512,
            "max_sequences": 4,
            "kv_cells": 2048,
            "step_tokens": 64,
            "num_threads": 1,
            "vision": self.vision_spec(engine),
        }
        return LoadSpec(**said | settings)


def write_vision_model(folder: Path, family: str, seed: int = 0) -> VisionModel:
    """Write a random model of a family into a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    assert family in TINY_FAMILIES
    text, tower = text_weights(family, seed), tower_weights(family, seed)
    return VisionModel(
        family,
        write_text_model(folder / "text.gguf", family, text),
        write_projector(folder / "mmproj.gguf", family, tower),
        clip_metadata(family),
        write_folder(folder / "mlx", family, text, tower),
    )


def patchwork(seed: int, width: int = 64, height: int = 64) -> RGB:
    """Return a picture of 4 x 4 fields of random colours, shape (height, width, 3)."""
    fields = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    across, down = -(-width // 4), -(-height // 4)
    return np.ascontiguousarray(np.kron(fields, np.ones((down, across, 1), np.uint8))[:height, :width])
