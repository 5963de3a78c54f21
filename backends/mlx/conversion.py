"""mlx-lm's converter: a folder of float weights into another one, quantized or in another float type."""

from pathlib import Path

import mlx_lm

from backends.errors import LoadError
from backends.mlx.device import prepare_device
from backends.mlx.library import mlx_errors


def convert_folder(source: Path, out: Path, *, dtype: str | None, bits: int | None, group_size: int) -> None:
    """Convert a folder.

    Args:
        source: config.json, safetensors in floats, tokenizer. Code that it brings is not run.
        out: The folder to make; must not exist.
        dtype: `float16`, `bfloat16` or `float32`; None = as it is.
        bits: Of the quantized weights; None = not quantized.

    Raises:
        LoadError: mlx-lm refused it.
    """
    prepare_device()
    with mlx_errors(LoadError, f"convert {source}"):
        mlx_lm.convert(
            str(source),
            mlx_path=str(out),
            quantize=bits is not None,
            q_bits=bits,
            q_group_size=group_size if bits is not None else None,
            dtype=dtype,
            trust_remote_code=False,
        )
