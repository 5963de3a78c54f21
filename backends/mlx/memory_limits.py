"""What a load says of MLX's memory, done around the load in whatever process has a part of the model."""

import contextlib
from collections.abc import Iterator

import mlx.core as mx

from backends.mlx.device import default_pool_bytes, device_info, has_metal
from backends.wire.load import LoadSpec


@contextlib.contextmanager
def memory_limits(spec: LoadSpec) -> Iterator[None]:
    """Set the limits of a load that is done in the block; each machine has its own defaults."""
    pool_bytes = spec.cache_limit_bytes
    if pool_bytes is None:
        pool_bytes = default_pool_bytes(device_info())
    if pool_bytes is not None:
        mx.set_cache_limit(pool_bytes)
    if spec.memory_limit_bytes is not None:
        mx.set_memory_limit(spec.memory_limit_bytes)
    yield
    if spec.wired_limit_bytes is not None and has_metal():
        mx.set_wired_limit(spec.wired_limit_bytes)  # after the generator, which sets Metal's recommendation
