"""The mlx engine: its libraries, and what loads a model with them."""

from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING

import msgspec

from backends.base import Engine, EngineInfo
from backends.errors import LoadError
from backends.mlx.caches import check_kv_type
from backends.mlx.device import device_info, device_name, prepare_device
from backends.mlx.library import mlx_errors
from backends.mlx.loaded import LoadedMLX
from backends.mlx.loading import (
    LIBRARIES,
    VISION_LIBRARIES,
    has_vision_code,
    load_weights,
)
from backends.mlx.memory_limits import memory_limits
from backends.wire.load import LoadSpec

if TYPE_CHECKING:
    from backends.mlx.ranks.leading import RankLoads


class MLXEngine(Engine):
    """See the module; the thread that loads must be the one that steps (streams belong to threads)."""

    name = "mlx"
    can_see = has_vision_code()

    def __init__(self) -> None:
        prepare_device()
        self._rank_loads: RankLoads | None = None

    def info(self) -> EngineInfo:
        """Return library versions and the device."""
        versions = {library: version(library) for library in (VISION_LIBRARIES if self.can_see else LIBRARIES)}
        return EngineInfo(versions, device_name(), device_info())

    def _load(self, spec: LoadSpec, on_progress: Callable[[float], None]) -> "LoadedMLX":
        check_kv_type(spec.kv_type)
        on_progress(0.0)
        loaded = self._load_over_ranks(spec) if spec.hosts else _load_whole(spec)
        on_progress(1.0)
        return loaded

    def _load_over_ranks(self, spec: LoadSpec) -> "LoadedMLX":
        from backends.mlx.ranks.leading import RankLoads  # noqa: PLC0415 - for those who use it

        if self._rank_loads is None:
            self._rank_loads = RankLoads()
        return self._rank_loads.load(spec)


def _load_whole(spec: LoadSpec) -> LoadedMLX:
    with mlx_errors(LoadError, f"load {spec.model_path}"), memory_limits(spec):
        weights = load_weights(spec)
        if weights.vision is None:
            spec = msgspec.structs.replace(spec, vision=None)
        return LoadedMLX(spec, weights)
