"""The mlx engine over two ranks on this machine, in the place of the mlx engine: `pytest --over-ranks`."""

from collections.abc import Callable

import msgspec
import pytest

from backends.errors import LoadError
from backends.mlx.engine import MLXEngine
from backends.mlx.loaded import LoadedMLX
from backends.wire.load import LoadSpec, RankHost

TWO_LOCAL = (RankHost(), RankHost())


class OverRanksEngine(MLXEngine):
    """Loads every model over two ranks, and skips what is asked of one that mlx-lm cannot share out."""

    can_see = False

    def _load(self, spec: LoadSpec, on_progress: Callable[[float], None]) -> LoadedMLX:
        try:
            return super()._load(msgspec.structs.replace(spec, hosts=TWO_LOCAL), on_progress)
        except LoadError as exc:
            if "neither share" in str(exc):
                pytest.skip(str(exc))
            raise
