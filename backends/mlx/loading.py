"""From a load's spec to a model in memory, with its tokenizer and, where it sees, with what it sees by."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import mlx.core as mx
import mlx_lm
from mlx_lm.utils import load_config, load_tokenizer

from backends.errors import FOREIGN_ERRORS, LoadError, UnsupportedByModelError
from backends.mlx.device import has_metal
from backends.mlx.library import mlx_errors
from backends.mlx.sampler import SharedDrawing
from backends.wire.load import LoadSpec, VisionSpec

if TYPE_CHECKING:
    from backends.mlx.vision.loading import LoadedVision

LIBRARIES: Final = ("mlx", "mlx-lm")
VISION_LIBRARIES: Final = (*LIBRARIES, "mlx-vlm")
TOKENIZER_CONFIG: Final = {"trust_remote_code": False}


class LoadedWeights(NamedTuple):
    """What was read of a model's folder.

    Attributes:
        model: Called as mlx-lm's generator calls models, changed as its adapter wants it.
        wrapper: mlx-lm's tokenizer.
        config: The folder's config.json.
        vision: None = it sees nothing.
        why_text_only: Why it sees nothing although it was to, or None.
        group: The ranks that share it; None = all of it is here.
    """

    model: Any
    wrapper: Any
    config: dict[str, Any]
    vision: "LoadedVision | None" = None
    why_text_only: str | None = None
    group: SharedDrawing | None = None


def has_vision_code() -> bool:
    """Tell whether the code of models that see is installed."""
    return importlib.util.find_spec("mlx_vlm") is not None


def load_weights(spec: LoadSpec) -> LoadedWeights:
    """Load a model into memory, and lay the adapter that is wanted over it.

    Raises:
        LoadError: The adapter, or how it sees; what the libraries raise of the model comes as it is.
    """
    weights = _text_model(spec) if spec.vision is None else _vision_model(spec, spec.vision)
    _lay_adapter_over(weights.model, spec)
    return in_memory(weights)


def in_memory(weights: LoadedWeights) -> LoadedWeights:
    """Return the same, read and in the type that is computed with here."""
    if _dtype() is not None:
        weights.model.set_dtype(_dtype())
    mx.eval(weights.model.parameters())
    return weights


def context_length(spec: LoadSpec, config: dict[str, Any]) -> int:
    """Return the tokens one sequence may hold; nested text configs carry the limit in multimodal folders."""
    text_config = config.get("text_config")
    trained = config.get("max_position_embeddings")
    if trained is None and isinstance(text_config, dict):
        trained = text_config.get("max_position_embeddings")
    return min(spec.context_length, trained) if isinstance(trained, int) and trained > 0 else spec.context_length


def _dtype() -> mx.Dtype | None:
    """Return what floats are turned into: half precision runs tens of times slower than float32 on MLX's CPU build."""
    return None if has_metal() else mx.float32


def _text_model(spec: LoadSpec) -> LoadedWeights:
    model, wrapper, config = mlx_lm.load(
        str(Path(spec.model_path)),
        tokenizer_config=TOKENIZER_CONFIG,
        return_config=True,
        trust_remote_code=False,
    )
    return LoadedWeights(model, wrapper, config)


def _vision_model(spec: LoadSpec, vision: VisionSpec) -> LoadedWeights:
    """Load a model with its tower; without it where that fails and the model need not see, as it would be without one.

    Raises:
        LoadError: It must see, or is no model for texts either.
    """
    from backends.mlx.vision.loading import load_vision  # noqa: PLC0415 - it brings Pillow and mlx-vlm

    folder = Path(spec.model_path)
    try:
        with mlx_errors(LoadError, f"load {folder} with its tower"):
            loaded = load_vision(spec.model_path, vision, dtype=_dtype())
    except (LoadError, UnsupportedByModelError) as exc:
        if vision.is_preloaded:
            raise LoadError(str(exc)) from exc
        try:
            return _text_model(spec)._replace(why_text_only=str(exc))
        except FOREIGN_ERRORS:
            raise LoadError(str(exc)) from exc
    config = load_config(folder)
    wrapper = load_tokenizer(folder, TOKENIZER_CONFIG, eos_token_ids=config.get("eos_token_id"))
    return LoadedWeights(loaded.model, wrapper, config, loaded)


def _lay_adapter_over(model: Any, spec: LoadSpec) -> None:
    """Let the layers of the adapter that a load asks for, if any, take the places of those that they change."""
    if spec.adapter_path is None:
        return
    with mlx_errors(LoadError, f"load the adapter {spec.adapter_path}"):
        from mlx_lm.tuner.utils import load_adapters  # noqa: PLC0415 - it brings mlx's optimizers

        load_adapters(model, str(Path(spec.adapter_path)))
        model.eval()  # dropout is for training
        for _, module in model.named_modules():
            if "lora_a" in module:
                module.scale *= spec.adapter_scale
