"""The lazy factory of engines: only the chosen one's libraries are imported."""

import msgspec

from backends.base import Engine
from backends.errors import EngineUnavailableError
from backends.mlx.transformers_index import quicken_transformers


def create_engine(name: str, options: str = "{}") -> Engine:
    """Return a new, unloaded engine.

    Args:
        name: `llamacpp`, `mlx` or `fake`.
        options: JSON for the fake engine's `FakeOptions`; the others take none.

    Raises:
        EngineUnavailableError: There is no engine of that name, or its libraries cannot be imported here.
    """
    try:
        match name:
            case "llamacpp":
                from backends.llamacpp.engine import LlamaCppEngine  # noqa: PLC0415 - a worker loads one library

                return LlamaCppEngine()
            case "mlx":
                quicken_transformers()
                from backends.mlx.engine import MLXEngine  # noqa: PLC0415 - a worker loads one library

                return MLXEngine()
            case "fake":
                from backends.fake.engine import FakeEngine, FakeOptions  # noqa: PLC0415 - a worker loads one library

                return FakeEngine(msgspec.json.decode(options, type=FakeOptions))
    except (ImportError, OSError, RuntimeError) as exc:  # a missing wheel or shared object, the loader's refusal
        raise EngineUnavailableError(f"the {name} engine does not work here: {exc}; see `mlxr doctor`") from exc
    raise EngineUnavailableError(f"there is no engine {name!r}; the engines are llamacpp and mlx")
