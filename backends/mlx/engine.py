"""The mlx engine: its libraries, and what loads a model with them."""

from collections.abc import Callable
from importlib.metadata import version

import mlx.core as mx
import msgspec

from backends.base import Engine, EngineInfo
from backends.errors import LoadError
from backends.mlx.caches import check_kv_type
from backends.mlx.device import default_pool_bytes, device_info, device_name, has_metal, prepare_device
from backends.mlx.library import mlx_errors
from backends.mlx.loaded import LoadedMLX
from backends.mlx.loading import (
    LIBRARIES,
    VISION_LIBRARIES,
    has_vision_code,
    load_weights,
)
from backends.wire.load import LoadSpec


class MLXEngine(Engine):
    """See the module; the thread that loads must be the one that steps (streams belong to threads)."""

    name = "mlx"
    can_see = has_vision_code()

    def __init__(self) -> None:
        prepare_device()

    def info(self) -> EngineInfo:
        """Return library versions and the device."""
        versions = {library: version(library) for library in (VISION_LIBRARIES if self.can_see else LIBRARIES)}
        return EngineInfo(versions, device_name(), device_info())

    def _load(self, spec: LoadSpec, on_progress: Callable[[float], None]) -> "LoadedMLX":
        check_kv_type(spec.kv_type)
        on_progress(0.0)
        with mlx_errors(LoadError, f"load {spec.model_path}"):
            pool_bytes = spec.cache_limit_bytes
            if pool_bytes is None:
                pool_bytes = default_pool_bytes(device_info())
            if pool_bytes is not None:
                mx.set_cache_limit(pool_bytes)
            if spec.memory_limit_bytes is not None:
                mx.set_memory_limit(spec.memory_limit_bytes)
            weights = load_weights(spec)
            if weights.vision is None:
                spec = msgspec.structs.replace(spec, vision=None)
            loaded = LoadedMLX(spec, weights)
            if spec.wired_limit_bytes is not None and has_metal():
                mx.set_wired_limit(spec.wired_limit_bytes)  # after the generator, which sets Metal's recommendation
        on_progress(1.0)
        return loaded
