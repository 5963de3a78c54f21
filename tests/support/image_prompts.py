"""Prompts with pictures as a worker makes them, for whoever steps an engine without one."""

import io
from typing import Any

import numpy as np
from PIL import Image

from backends.base import LoadedEngine
from backends.images.processor import ImageProcessor, tower_of
from backends.prompting.intake import Intake, PreparedPrompt
from backends.sequence import Tile
from backends.tile_cache import TileCache
from backends.wire.prompts import ChatPrompt, ImagePart, PromptMessage, TextPart
from tests.support.tiny_vision import VisionModel

RGB = np.ndarray[Any, np.dtype[np.uint8]]


def png(rgb: RGB) -> bytes:
    """Return a file whose pixels are these."""
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, format="PNG")
    return file.getvalue()


def user(*parts: str | RGB, max_side: int | None = None) -> PromptMessage:
    """Return a user's message of texts and pictures."""
    content = [
        TextPart(part) if isinstance(part, str) else ImagePart(png(part), "messages", max_side) for part in parts
    ]
    return {"role": "user", "content": content}


class ImagePrompts:
    """A model's intake, and the tiles that it has seen.

    Args:
        engine: What the model is loaded on, by its name.
    """

    def __init__(self, name: str, engine: LoadedEngine, model: VisionModel) -> None:
        spec = model.vision_spec(name)
        self.processor = ImageProcessor(tower_of(spec, str(model.path_for(name))), spec.fingerprint)
        self.tiles = TileCache()
        self._intake = Intake(engine.tokenizer, engine.model, self.processor.facts, self.tiles)

    def chat(self, *messages: PromptMessage) -> PreparedPrompt:
        parts = [part for message in messages if isinstance(message["content"], list) for part in message["content"]]
        shown = {
            part: self.processor.prepare(part).with_tiles(self.tiles.intern)
            for part in parts
            if isinstance(part, ImagePart)
        }
        return self._intake.prepare(ChatPrompt(list(messages)), shown)

    def tile(self, rgb: RGB) -> Tile:
        """Return the first tile of a picture, without rows."""
        return self.processor.prepare(ImagePart(png(rgb), "messages")).tiles[0]
