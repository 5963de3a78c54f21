"""Caches of ended sequences, kept for others to begin with: as they were computed, or in 8 bits.

In 8 bits go the layers that keep all tokens, in groups of numbers that share a scale; the others (windows, states) are
small and stay. Whoever begins with such a cache gets it back in the model's own type, about a 250th of each group's
range off. Scales are float32: with bfloat16's own, errors grew with each turn that packed it anew (after 100 times 0.84
of a range of 8; with float32's 0.03 from the second time on).
"""

from typing import Any, NamedTuple

import mlx.core as mx
from mlx_lm.models.cache import KVCache

from backends.errors import EngineError
from backends.mlx.caches import KeptCache
from backends.mlx.library import mlx_errors
from backends.wire.load import kept_group_size


class Retired(NamedTuple):
    """An ended sequence's cache, and the tokens that it covers."""

    kept: KeptCache
    token_ids: list[int]


class RetiredCaches:
    """What a loaded model keeps of ended sequences.

    Args:
        bits: Per number; None = as computed.
    """

    def __init__(self, bits: int | None) -> None:
        self._bits = bits
        self._held: dict[int, tuple[list[Any], Retired]] = {}

    def put(self, sequence_id: int, retired: Retired) -> None:
        """Keep a cache, which is this object's from now on; where there is no memory to pack it, as it is."""
        layers = retired.kept.layers
        if self._bits is not None:
            try:
                with mlx_errors(EngineError, "pack a cache"):
                    packed = [_packed(layer, self._bits) for layer in layers]
            except EngineError:
                packed = layers
            retired = retired._replace(kept=KeptCache([], retired.kept.num_tokens))
            layers = packed
        self._held[sequence_id] = layers, retired

    def get(self, sequence_id: int) -> Retired | None:
        """Return what is kept of a sequence; the cache must not be changed."""
        held = self._held.get(sequence_id)
        if held is None or self._bits is None:
            return None if held is None else held[1]
        layers, retired = held
        whole = [layer.unpacked() if isinstance(layer, _PackedLayer) else layer for layer in layers]
        return retired._replace(kept=KeptCache(whole, retired.kept.num_tokens))

    def drop(self, sequence_id: int) -> None:
        """Forget a sequence; unknown ids are ignored."""
        self._held.pop(sequence_id, None)


class _PackedLayer(NamedTuple):
    """Keys and values as `mx.quantize` gives them, of shape (1, heads, tokens, ...)."""

    keys: Any
    values: Any
    sizes: tuple[int, int]
    bits: int
    dtypes: tuple[Any, Any]

    def unpacked(self) -> KVCache:
        layer = KVCache()
        keys, values = (
            mx.dequantize(numbers, scales, biases, group_size=size, bits=self.bits).astype(dtype)
            for (numbers, scales, biases), size, dtype in zip(
                (self.keys, self.values), self.sizes, self.dtypes, strict=True
            )
        )
        layer.state = keys, values, keys.shape[2]
        return layer


def _packed(layer: Any, bits: int) -> Any:
    """Return a layer in few bits; itself where it is of another kind, or a head has no whole groups."""
    if type(layer) is not KVCache or layer.keys is None or not layer.offset:
        return layer
    both = layer.keys_and_values()
    sizes = [kept_group_size(array.shape[-1]) for array in both]
    if not all(sizes):
        return layer
    keys, values = (
        mx.quantize(array.astype(mx.float32), group_size=size, bits=bits)
        for array, size in zip(both, sizes, strict=True)
    )
    mx.eval(keys, values)  # layer by layer: beside them are float32 copies
    return _PackedLayer(keys, values, (sizes[0], sizes[1]), bits, (both[0].dtype, both[1].dtype))
