"""mlx-vlm's language model in the shape that mlx-lm calls: `(token ids, cache=) -> logits`, with pictures' rows.

Only what stands before the first layer is added here: where rows, positions and masks come from. mlx-vlm keeps such
things of the last prompt on the model; nothing of that is used, as a batch has many.

Source: mlx-vlm 0.7.10, models/*/language.py.
"""

from collections.abc import Callable
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx_lm.models.cache import KVCache, RotatingKVCache

from backends.errors import LoadError
from backends.mlx.inputs import PositionLayer, text_positions
from backends.mlx.vision.rows import RowTable


class VisionLanguageModel(nn.Module):  # type: ignore[misc]
    """See the module.

    Args:
        model: Of mlx-vlm, with its tower.
        rows: Where ids beyond the vocabulary are looked up.
        uses_mrope: Whether a place's position is one in time, height and width.
        is_bidirectional: Whether the rows of a picture see each other.

    Attributes:
        reads_rows: Whether ids beyond the vocabulary are in the next calls; text costs nothing more without them.
    """

    def __init__(self, model: Any, rows: RowTable, *, uses_mrope: bool, is_bidirectional: bool) -> None:
        super().__init__()
        self.language_model = model.language_model
        self.reads_rows = False
        self._embed: Callable[[mx.array], Any] = model.get_input_embeddings
        self._rows = rows
        self._uses_mrope = uses_mrope
        self._is_bidirectional = is_bidirectional
        # It cuts masks to the longest sequence's length, which is not that of a batch with padding before all of them,
        # and waits for the device to know it. Source: mlx-vlm 0.7.10, models/qwen3_vl_moe/language.py, `kv_seq_len`.
        self._cuts_masks = model.config.model_type == "qwen3_vl_moe"

    @property
    def layers(self) -> list[Any]:
        """The decoder's layers."""
        layers: list[Any] = self.language_model.layers
        return layers

    def make_cache(self) -> list[Any]:
        """Return one sequence's cache, of mlx-lm's kinds, as the generator cannot merge others.

        Raises:
            LoadError: The model remembers in a way that mlx-lm has no like of.
        """
        own = getattr(self.language_model, "make_cache", None)
        return [KVCache() for _ in self.layers] if own is None else [_like_mlx_lms(layer) for layer in own()]

    def __call__(self, token_ids: mx.array, cache: list[Any] | None = None) -> mx.array:
        """Return logits, shape (lines, places, vocabulary).

        Args:
            token_ids: Shape (lines, places); ids beyond the vocabulary only while `reads_rows`.
            cache: One for each layer, and where positions matter a `PositionLayer` behind them.
        """
        cache = cache or self.make_cache()
        positions = cache[-1] if isinstance(cache[-1], PositionLayer) else None
        layers = cache if positions is None else cache[:-1]
        arguments: dict[str, Any] = {}
        if self._uses_mrope:
            index = _index(token_ids, layers[0].offset)
            arguments["position_ids"] = text_positions(index) if positions is None else positions.at(index)
        if self._cuts_masks:
            layers = [_EndlessCache(layer) for layer in layers]
        if self.reads_rows:
            token_ids = token_ids.astype(mx.int32)  # drawn ones have no sign
            arguments |= self._embedded(token_ids)
            if self._is_bidirectional and token_ids.shape[1] > 1:
                block = _blocks(self._rows.owners(token_ids))
                layers = [_BlockCache(layer, block) for layer in layers]
        logits: mx.array = self.language_model(token_ids, cache=layers, **arguments).logits
        return logits

    def decoder(self, token_ids: mx.array, cache: list[Any]) -> mx.array:
        """Return the hidden states of a text after the last norm, shape (lines, places, width)."""
        decoder = getattr(self.language_model, "model", None)
        if decoder is not None:
            states: mx.array = decoder(token_ids, cache=cache)
            return states
        # Idefics 3: its language model has no part that ends there.
        head, self.language_model.lm_head = self.language_model.lm_head, nn.Identity()
        try:
            return self(token_ids, cache=cache)
        finally:
            self.language_model.lm_head = head

    def _embedded(self, token_ids: mx.array) -> dict[str, Any]:
        """Return what the first layer sees: the model's own embeddings of tokens, and in the places of rows these."""
        is_row = token_ids >= self._rows.first_id
        text = self._embed(mx.where(is_row, 0, token_ids))
        width = text.inputs_embeds.shape[-1]
        rows = mx.where(is_row[..., None], self._rows.take(token_ids), 0)
        embedded = mx.where(is_row[..., None], rows[..., :width], text.inputs_embeds)
        arguments: dict[str, Any] = {"inputs_embeds": embedded}
        if text.per_layer_inputs is not None:  # Gemma 4's smaller ones
            arguments["per_layer_inputs"] = text.per_layer_inputs
        if rows.shape[-1] > width:  # Qwen3-VL adds to the first layers' states; of tokens nothing
            deep = rows[..., width:].reshape(-1, rows.shape[-1] // width - 1, width)
            arguments["deepstack_visual_embeds"] = list(deep.transpose(1, 0, 2))
            arguments["visual_pos_masks"] = mx.ones(token_ids.shape, mx.bool_)
        return arguments


def _index(token_ids: mx.array, offset: mx.array | int) -> mx.array:
    """Return each place's index in its sequence, int32; that of padding before its start is of no matter."""
    num_lines, num_places = token_ids.shape
    start = mx.broadcast_to(mx.maximum(mx.array(offset, mx.int32), 0), (num_lines,))
    return start[:, None] + mx.arange(num_places, dtype=mx.int32)[None]


def _blocks(owners: mx.array) -> mx.array:
    """Return which places of a line are of one picture, bool, shape (lines, 1, places, places)."""
    return ((owners[:, :, None] == owners[:, None, :]) & (owners >= 0)[:, None, :])[:, None]


class _ChangedCache:
    """A layer's cache, but for what is changed of it."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)


class _EndlessCache(_ChangedCache):
    """A cache from whose length nothing can be cut; positions are told beside it."""

    offset = 1 << 30


class _BlockCache(_ChangedCache):
    """A cache whose mask lets the rows of a picture see each other, beside what it lets see otherwise.

    Args:
        block: As `_blocks` has it, of the places that are about to be evaluated.
    """

    def __init__(self, cache: Any, block: mx.array) -> None:
        super().__init__(cache)
        self._block = block

    def make_mask(self, num_places: int, *, return_array: bool = False, **options: Any) -> mx.array:
        """Return the cache's own mask, widened; its last columns are the places themselves."""
        del return_array
        mask = self._cache.make_mask(num_places, return_array=True, **options)
        mask = mx.broadcast_to(mask, (self._block.shape[0], 1, num_places, mask.shape[-1]))
        return mx.concatenate([mask[..., :-num_places], mask[..., -num_places:] | self._block], axis=-1)


def _like_mlx_lms(layer: Any) -> Any:
    match type(layer).__name__:
        case "KVCache":
            return KVCache()
        case "RotatingKVCache":
            return RotatingKVCache(layer.max_size, layer.keep)
        case name:
            raise LoadError(f"the model's memory is of a kind ({name}) that is not used with pictures on mlx")
