"""The part of a sequence's cache that mlx-lm cannot cut: layers that go round in a window, or keep a state only.

No model is called in here. Layers with all tokens are not copied: whoever begins at a checkpoint shares and cuts them.
"""

import copy
from typing import Any, NamedTuple

import mlx.core as mx
from mlx_lm.models.cache import ArraysCache, KVCache, RotatingKVCache


class LayerCopies(NamedTuple):
    """A checkpoint.

    Attributes:
        layers: Those that cannot be cut, by their index.
        num_tokens: First tokens that they are the state after.
        num_bytes: What they take.
    """

    layers: dict[int, Any]
    num_tokens: int
    num_bytes: int


class Cutting(NamedTuple):
    """What can be cut of a model's caches.

    Attributes:
        is_free: Any cache at any place.
        num_tokens: The most tokens of a cache that can be cut at any place; None = any.
    """

    is_free: bool
    num_tokens: int | None


def cutting_of(layers: list[Any]) -> Cutting:
    """Tell what can be cut of caches of such layers; they are empty.

    Source: mlx-lm, models/cache.py, `RotatingKVCache.is_trimmable`: "self.offset < self.max_size".
    """
    others = [layer for layer in layers if not isinstance(layer, KVCache)]
    if not others:
        return Cutting(is_free=True, num_tokens=None)
    if all(isinstance(layer, RotatingKVCache) for layer in others):
        return Cutting(is_free=False, num_tokens=min(layer.max_size for layer in others) - 1)
    return Cutting(is_free=False, num_tokens=0)


def copy_of(layers: list[Any], num_tokens: int) -> LayerCopies:
    """Return a copy of what cannot be cut, in memory of its own.

    Args:
        layers: mlx-lm's cache of one sequence, perhaps not computed yet.
        num_tokens: First tokens that it covers.
    """
    return with_places(layers, [_shortened(layer) for layer in layers if not isinstance(layer, KVCache)], num_tokens)


def with_places(layers: list[Any], copies: list[Any], num_tokens: int) -> LayerCopies:
    """Return a checkpoint of copies, in memory of their own.

    Args:
        layers: A cache of the same model.
        copies: Of those layers that cannot be cut, in order.
    """
    mx.eval([layer.state for layer in copies])
    indices = [index for index, layer in enumerate(layers) if not isinstance(layer, KVCache)]
    return LayerCopies(dict(zip(indices, copies, strict=True)), num_tokens, sum(layer.nbytes for layer in copies))


def go_back(layers: list[Any], num_tokens: int, checkpoint: LayerCopies) -> None:
    """Bring a cache to the state of a checkpoint, which stays as it is.

    Args:
        num_tokens: First tokens that the cache covers, not fewer than the checkpoint.
    """
    for index, layer in enumerate(layers):
        if index in checkpoint.layers:
            layers[index] = copy.deepcopy(checkpoint.layers[index])
        else:
            layer.trim(num_tokens - checkpoint.num_tokens)


def in_own_memory(layer: Any) -> None:
    """Let the state of one sequence be no part of its batch's arrays, which would stay with it as a whole."""
    if isinstance(layer, ArraysCache):
        layer.cache = [None if array is None else mx.contiguous(array) for array in layer.cache]


def _shortened(layer: Any) -> Any:
    """Return a copy of a layer without what has left its window."""
    layer = copy.deepcopy(layer)
    in_own_memory(layer)
    if isinstance(layer, RotatingKVCache) and not layer.keep and layer.keys is not None:
        size = layer.size()
        # In order, as `merge` brings them; prefill leaves as many more as it had in its last step.
        layer.keys, layer.values = (
            mx.contiguous(layer._temporal_order(each)[..., -size:, :])  # noqa: SLF001 - its `merge` is all that has it
            for each in (layer.keys, layer.values)
        )
        layer._idx = size  # noqa: SLF001 - as above
    return layer
