"""A LoRA adapter over a loaded model, by mlx-lm's own code: its layers take the places of those that they change."""

from pathlib import Path
from typing import Any

from backends.errors import LoadError
from backends.mlx.library import mlx_errors
from backends.wire.messages import LoadSpec


def lay_adapter_over(model: Any, spec: LoadSpec) -> None:
    """Change a model by the adapter that a load asks for, if it asks for one.

    Args:
        model: From mlx-lm; its layers are replaced.

    Raises:
        LoadError: mlx-lm refused the adapter.
    """
    if spec.adapter_path is None:
        return
    with mlx_errors(LoadError, f"load the adapter {spec.adapter_path}"):
        from mlx_lm.tuner.utils import load_adapters  # noqa: PLC0415 - it brings mlx's optimizers

        load_adapters(model, str(Path(spec.adapter_path)))
        model.eval()  # dropout is for training
        for _, module in model.named_modules():
            if "lora_a" in module:
                module.scale *= spec.adapter_scale
