"""Small models whose caches cannot be cut at any place, in the formats of both engines."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from backends.base import LoadedEngine
from backends.wire.load import LoadSpec
from tests.support import tiny_hybrid, tiny_recurrent, tiny_windowed

CONTEXT_LENGTH = 1024
WRITERS: dict[tuple[str, str], Callable[..., Path]] = {
    ("llamacpp", "windowed"): tiny_windowed.write_gguf,
    ("llamacpp", "hybrid"): tiny_hybrid.write_gguf,
    ("llamacpp", "recurrent"): tiny_recurrent.write_gguf,
    ("mlx", "windowed"): tiny_windowed.write_mlx,
    ("mlx", "hybrid"): tiny_hybrid.write_mlx,
}


class Kind(NamedTuple):
    """A kind of cache on an engine."""

    name: str
    cache: str
    engine: LoadedEngine


def spec_of(path: Path) -> LoadSpec:
    return LoadSpec(
        model_path=str(path),
        context_length=CONTEXT_LENGTH,
        max_sequences=4,
        kv_cells=4 * CONTEXT_LENGTH,
        step_tokens=64,
        num_threads=1,
    )
