"""Prompts with pictures for the tiny vision models, put together by hand: ids, and the spans of rows among them."""

import io
import re
from typing import NamedTuple

import numpy as np
from PIL import Image

from backends.images.processor import ImageProcessor, tower_of
from backends.row_ids import row_ids
from backends.sequence import EmbeddingSpan, Tile
from backends.tile_cache import TileCache
from backends.wire.prompts import ImagePart
from tests.support.tiny_vision.model import RGB, VisionModel
from tests.support.tiny_vision.vocabulary import CONTROL_TOKENS, MERGES, VOCABULARY

_TOKENS = re.compile("|".join(map(re.escape, CONTROL_TOKENS)) + "|.", re.DOTALL)


class VisionPrompt(NamedTuple):
    """What a sequence begins with.

    Attributes:
        parts: The same once more, as pieces: ids of tokens, and tiles.
    """

    token_ids: list[int]
    spans: tuple[EmbeddingSpan, ...]
    parts: tuple[int | Tile, ...]

    @property
    def tiles(self) -> list[Tile]:
        return [span.tile for span in self.spans]


class VisionPrompts:
    """Makes prompts for one model; equal pictures are one tile in all of them."""

    def __init__(self, model: VisionModel, engine: str) -> None:
        spec = model.vision_spec(engine)
        self.processor = ImageProcessor(tower_of(spec, str(model.path_for(engine))), spec.fingerprint)
        self._tiles = TileCache()

    def ask(self, *parts: str | RGB) -> VisionPrompt:
        """Return a turn of the user with texts and pictures, and the beginning of the answer."""
        return self.of("<|im_start|>user\n", *parts, "<|im_end|>\n<|im_start|>assistant\n")

    def of(self, *parts: str | RGB) -> VisionPrompt:
        """Return texts and pictures as they stand, each picture with what its family has around it."""
        ids: list[int] = []
        spans: list[EmbeddingSpan] = []
        pieces: list[int | Tile] = []
        for piece in self._pieces(parts):
            if isinstance(piece, str):
                text_ids = encode(piece)
                ids += text_ids
                pieces += text_ids
            else:
                tile = self._tiles.intern(piece)
                spans.append(EmbeddingSpan(len(ids), tile, self.processor.facts.is_whole))
                ids += row_ids(tile.digest, (tile.num_rows, tile.num_columns))
                pieces.append(tile)
        return VisionPrompt(ids, tuple(spans), tuple(pieces))

    def _pieces(self, parts: tuple[str | RGB, ...]) -> list[str | Tile]:
        pieces: list[str | Tile] = []
        for part in parts:
            pieces += [part] if isinstance(part, str) else self.processor.prepare(png(part)).pieces
        return pieces


def encode(text: str) -> list[int]:
    """Tokenize plain ASCII as tokenizer.json does: special tokens, single bytes, and two merges."""
    ids: list[int] = []
    for match in _TOKENS.finditer(text):
        token = match[0]
        written = token if token in CONTROL_TOKENS else token.replace(" ", "Ġ").replace("\n", "Ċ")
        merged = f"{VOCABULARY[ids[-1]]} {written}" if ids else ""
        if merged in MERGES:
            ids[-1] = VOCABULARY.index(merged.replace(" ", ""))
        else:
            ids.append(VOCABULARY.index(written))
    return ids


def png(rgb: RGB) -> ImagePart:
    file = io.BytesIO()
    Image.fromarray(np.asarray(rgb)).save(file, "PNG")
    return ImagePart(file.getvalue(), "image")
