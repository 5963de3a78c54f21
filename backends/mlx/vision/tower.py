"""From a tile's pixels to its rows, by mlx-vlm's own code of a model: no projector, pooling or scale is known here.

Source: mlx-vlm 0.7.10, `get_input_embeddings` in models/*/: what it puts in the places of the image's token.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final

import mlx.core as mx
import numpy as np
from mlx import nn
from mlx.utils import tree_flatten

from backends.embedding import Floats
from backends.images.families import family_of
from backends.images.preparing import Pixels, patch_grid, tower_input
from backends.images.tower import Tower
from backends.sequence import Tile

_OTHER_PARTS: Final = ("language_model.", "audio_tower.", "embed_audio.")
"""Of a model, by the beginnings of their parameters' names: what no picture needs."""


class VisionTower:
    """The part of a model that sees; its weights are read from their files when they are first needed.

    Args:
        model: Of mlx-vlm; the language model's parameters are in memory, the others need not be.
    """

    def __init__(self, model: Any, tower: Tower) -> None:
        self._model = model
        self._tower = tower
        self._unread = [array for name, array in tree_flatten(model.parameters()) if not name.startswith(_OTHER_PARTS)]
        self._layer_lists = [
            part
            for name, module in model.named_modules()
            if not f"{name}.".startswith(_OTHER_PARTS)
            for part in module.values()
            if isinstance(part, list) and all(isinstance(layer, nn.Module) for layer in part)
        ]

    def load(self, should_abort: Callable[[], bool]) -> bool:
        """Read the weights that have not been read; return whether that was not given up between two of them."""
        while self._unread:
            if should_abort():
                return False
            mx.eval(self._unread.pop())
        return True

    def encode(self, tile: Tile, should_abort: Callable[[], bool]) -> Floats | None:
        """Return a tile's rows as the language model's first layer is to see them, shape (size, width), float32.

        Qwen3-VL's have behind them what is added to the states of its first layers, each as wide.

        Args:
            should_abort: Asked before each layer, and while weights are read; True gives it up, and None is returned.
        """
        if not self.load(should_abort):
            return None
        try:
            with self._watched(should_abort):
                return self._rows(tile)
        except _GivenUpError:
            return None

    def _rows(self, tile: Tile) -> Floats:
        ids = mx.full((1, tile.size), self._image_id, mx.int32)
        seen = self._model.get_input_embeddings(ids, **self._inputs(tile))
        rows = [seen.inputs_embeds[0], *(seen.deepstack_visual_embeds if _has_deepstack(seen) else ())]
        whole = mx.concatenate([part.astype(mx.float32) for part in rows], axis=-1)
        mx.eval(whole)
        array: Floats = np.array(whole)
        return array

    @contextlib.contextmanager
    def _watched(self, should_abort: Callable[[], bool]) -> Iterator[None]:
        """Have the tower's layers computed one after the other, as they are called."""
        found = [layers.copy() for layers in self._layer_lists]
        for layers in self._layer_lists:
            layers[:] = [_WatchedLayer(layer, should_abort) for layer in layers]
        try:
            yield
        finally:
            for layers, own in zip(self._layer_lists, found, strict=True):
                layers[:] = own

    @property
    def _image_id(self) -> int:
        config = self._model.config
        token_id: int = config.image_token_index if hasattr(config, "image_token_index") else config.image_token_id
        return token_id

    def _inputs(self, tile: Tile) -> dict[str, Any]:
        """Return the tile in the words of the family's code."""
        pixels: Pixels = tower_input(tile.pixels, self._tower)
        inputs: dict[str, Any] = {"pixel_values": mx.array(pixels)}
        match self._tower.family:
            case "idefics3":
                inputs["pixel_values"] = inputs["pixel_values"][None]  # of one of several sequences
            case "gemma3":
                inputs["mask"] = mx.ones((1, tile.size))  # which it wants, for a mask that nobody uses
            case family if family_of(family).takes_patches:
                inputs["image_grid_thw"] = mx.array([patch_grid(tile.grid, self._tower)])
        return inputs


def _has_deepstack(seen: Any) -> bool:
    return getattr(seen, "deepstack_visual_embeds", None) is not None


class _GivenUpError(Exception):
    """Nobody wants the tile any more."""


class _WatchedLayer:
    """A layer of the tower that is computed when it is called: mlx would compute all of them at the end, at once."""

    def __init__(self, layer: Any, should_abort: Callable[[], bool]) -> None:
        self._layer = layer
        self._should_abort = should_abort

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._should_abort():
            raise _GivenUpError
        states = self._layer(*args, **kwargs)
        mx.eval(states)
        return states

    def __getattr__(self, name: str) -> Any:
        return getattr(self._layer, name)
