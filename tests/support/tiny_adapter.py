"""A LoRA adapter of the tiny model in both formats, from the same matrices; and the tiny model with it merged in."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.support import tiny_model

RANK = 4
SCALE = 2.0
ALPHA = SCALE * RANK
TARGETS = ("attn_q", "attn_v", "attn_output", "ffn_down")

Floats = tiny_model.Floats
Pairs = dict[str, tuple[Floats, Floats]]


def pairs(seed: int = 7, *, factor: float = 1.0) -> Pairs:
    """Return A (rank, inputs) and B (outputs, rank) for tensors of the tiny model, under their GGUF names."""
    rng = np.random.default_rng(seed)
    weights = tiny_model.weights()
    found: Pairs = {}
    for layer in range(tiny_model.NUM_LAYERS):
        for target in TARGETS:
            name = f"blk.{layer}.{target}"
            outputs, inputs = weights[name].shape
            a = rng.standard_normal((RANK, inputs)).astype(np.float32) * np.float32(0.2)
            b = rng.standard_normal((outputs, RANK)).astype(np.float32) * np.float32(0.2 * factor)
            found[name] = (a, b.astype(np.float32))
    return found


def merged(matrices: Pairs) -> dict[str, Floats]:
    """Return the tiny model's tensors with the adapter's product added."""
    weights = tiny_model.weights()
    changed = {name: weights[name] + np.float32(SCALE) * (b @ a) for name, (a, b) in matrices.items()}
    return weights | changed


def write_gguf_lora(
    path: Path,
    matrices: Pairs | None = None,
    *,
    architecture: str = "llama",
    alpha: float = ALPHA,
    kind: str = "adapter",
    method: str = "lora",
) -> Path:
    """Write the adapter as llama.cpp's converter does."""
    import gguf

    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_type(kind)
    writer.add_string(gguf.Keys.Adapter.TYPE, method)
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
    for name, (a, b) in (pairs() if matrices is None else matrices).items():
        writer.add_tensor(f"{name}.weight.lora_a", a)
        # Q's and K's rows have another order in a GGUF; they are B's rows.
        writer.add_tensor(f"{name}.weight.lora_b", tiny_model.in_gguf_order(name, b))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_mlx_lora(folder: Path, matrices: Pairs | None = None, **changes: Any) -> Path:
    """Write the adapter as mlx-lm's trainer does; `changes` are to its config, None takes a key away."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, (a, b) in (pairs() if matrices is None else matrices).items():
        module = tiny_model.mlx_name(name).removesuffix(".weight")
        tensors[f"{module}.lora_a"] = np.ascontiguousarray(a.T)
        tensors[f"{module}.lora_b"] = np.ascontiguousarray(b.T)
    save_file(tensors, folder / "adapters.safetensors")
    keys = sorted({name.split(".", 3)[3].rpartition(".")[0] for name in tensors})
    config: dict[str, Any] = {
        "fine_tune_type": "lora",
        "model": "tiny",
        "num_layers": tiny_model.NUM_LAYERS,
        "lora_parameters": {"rank": RANK, "scale": SCALE, "dropout": 0.05, "keys": keys},
    }
    config = {key: value for key, value in (config | changes).items() if value is not None}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def write_mlx_dora(folder: Path, matrices: Pairs, magnitudes: dict[str, Floats]) -> Path:
    """Write an adapter that also has a magnitude for each output, as mlx-lm's trainer does with DoRA."""
    from safetensors.numpy import load_file, save_file

    write_mlx_lora(folder, matrices, fine_tune_type="dora")
    tensors = load_file(folder / "adapters.safetensors")
    for name, magnitude in magnitudes.items():
        tensors[tiny_model.mlx_name(name).removesuffix("weight") + "m"] = magnitude.astype(np.float32)
    save_file(tensors, folder / "adapters.safetensors")
    return folder
