"""Caches of sequences that are not in mlx-lm's generator: held, retired, or about to begin as a fork.

No model is called in here. The generator copies what it is given, so a cache in here changes only by `cut`.
"""

import copy
import hashlib
import io
import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.models.cache import load_prompt_cache, save_prompt_cache, trim_prompt_cache

from backends.cache_files import ExportedCache, read_cache
from backends.errors import EngineError, LoadError
from backends.mlx.checkpoints import LayerCopies, go_back, in_own_memory, with_places
from backends.mlx.inputs import PositionLayer
from backends.mlx.library import mlx_errors


def check_kv_type(kv_type: str | None) -> None:
    """Refuse to store the cache otherwise than the model's own code does.

    mlx-lm quantizes the caches of single sequences only: those of a batch are merged, and a quantized one has no
    `merge`. Source: mlx-lm, generate.py, `_merge_caches`; models/cache.py, `QuantizedKVCache`.

    Raises:
        LoadError: A type is wanted.
    """
    if kv_type is not None:
        raise LoadError(
            f"kv_type {kv_type}: on mlx the KV cache always has the type that the model computes with; take the "
            "setting away, or choose the engine llamacpp"
        )


class KeptCache:
    """What one sequence has computed; EngineError where there is no memory, or no room on disk, for it.

    Args:
        layers: mlx-lm's cache of one sequence, batch size 1; owned by this object from now on.
        num_tokens: How many of the sequence's first tokens it covers.
    """

    def __init__(self, layers: list[Any], num_tokens: int) -> None:
        self.layers = layers
        self.num_tokens = num_tokens

    @classmethod
    def of(cls, extracted: tuple[list[Any], list[int]]) -> Self:
        """Take over what the generator's `extract_cache` gives for one sequence."""
        layers, token_ids = extracted
        return cls([layer for layer in layers if not isinstance(layer, PositionLayer)], len(token_ids))

    def computed(self) -> Self:
        """Return itself, in memory of its own: until then it holds on to the batch's arrays."""
        with mlx_errors(EngineError, "take a cache out of the batch"):
            for layer in self.layers:
                in_own_memory(layer)
            mx.eval([layer.state for layer in self.layers])
        return self

    def copied(self) -> Self:
        """Return one that can be cut by itself; the arrays are shared until one of both writes to them."""
        return type(self)(copy.deepcopy(self.layers), self.num_tokens)

    def cut(self, num_tokens: int, checkpoint: LayerCopies | None = None) -> bool:
        """Keep the first tokens only; return whether that could be done, it is as it was otherwise.

        Args:
            checkpoint: The state after just so many, for caches that cannot be cut.
        """
        surplus = self.num_tokens - num_tokens
        if surplus < 0 or num_tokens < 1:
            return False
        if surplus and trim_prompt_cache(self.layers, surplus) != surplus:
            if checkpoint is None:
                return False
            go_back(self.layers, self.num_tokens, checkpoint)
        self.num_tokens = num_tokens
        return True

    def exported(self, token_ids: list[int], checkpoints: list[LayerCopies]) -> ExportedCache:
        """Return what is to be written of it: a part for each layer, as mlx-lm writes it, and for each checkpoint.

        Args:
            checkpoints: Of its text, in order.
        """
        arrays = [array for _, array in tree_flatten([layer.state for layer in self.layers])]
        num_bytes = sum(array.nbytes for array in arrays if isinstance(array, mx.array))
        num_bytes += sum(checkpoint.num_bytes for checkpoint in checkpoints)
        groups = [[layer] for layer in self.copied().layers]
        groups += [list(checkpoint.layers.values()) for checkpoint in checkpoints]
        places = tuple(checkpoint.num_tokens for checkpoint in checkpoints)
        return ExportedCache(token_ids[: self.num_tokens], num_bytes, _parts_of(groups), places)

    @classmethod
    def load(cls, path: Path, token_ids: list[int], fingerprint: str) -> tuple[Self, list[LayerCopies]] | None:
        """Read it back, with its checkpoints; None when the file is damaged, or of another model or text."""
        saved = read_cache(path, fingerprint, token_ids)
        if saved is None:
            return None
        try:
            with mlx_errors(EngineError, "read a saved cache"):
                layers = [layer for part in saved.parts for layer in load_prompt_cache(_Part(part))]
                mx.eval([layer.state for layer in layers])
                checkpoints = [
                    with_places(layers, load_prompt_cache(_Part(part)), place)
                    for place, part in saved.checkpoints.items()
                ]
        except EngineError:
            return None
        return cls(layers, saved.num_tokens), checkpoints


def _parts_of(groups: list[list[Any]]) -> Iterator[memoryview]:
    for layers in groups:
        buffer = io.BytesIO()
        with mlx_errors(EngineError, "save a cache"):
            save_prompt_cache(buffer, layers)
        yield buffer.getbuffer()


class _Part(io.RawIOBase):
    """Memory as a file to be read, without a copy of it."""

    name = "cache.safetensors"
    """mlx tells a file's format by it."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._place = 0

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that places can be gone to."""
        return True

    def tell(self) -> int:
        """Return the place."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: len(self._data)}[whence]
        self._place = start + offset
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Read as much as there is room for."""
        target = memoryview(buffer).cast("B")
        data = self._data[self._place : self._place + len(target)]
        target[: len(data)] = data
        self._place += len(data)
        return len(data)


def fingerprint_of(config: dict[str, Any], model: Any, libraries: tuple[str, ...], kept_bits: int | None) -> str:
    """Return what the form of a saved cache depends on: libraries, the model's config and its numbers' types.

    Args:
        config: The model folder's config.json.
        libraries: Those whose code computes it.
        kept_bits: Per number of caches before they are saved; None = as computed.
    """
    dtypes = sorted({str(array.dtype) for _name, array in tree_flatten(model.parameters())})
    digest = hashlib.blake2b(json.dumps(config, sort_keys=True, default=str).encode(), digest_size=16)
    numbers = " ".join([*dtypes, *([] if kept_bits is None else [f"kept in {kept_bits} bits"])])
    return f"mlx {' '.join(version(library) for library in libraries)}|{numbers} {digest.hexdigest()}"
