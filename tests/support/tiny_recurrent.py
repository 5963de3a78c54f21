"""A random Mamba with the tiny model's vocabulary as GGUF: it has a state in the place of a cache, and nothing else."""

from pathlib import Path
from typing import Any

import numpy as np

from tests.support import tiny_model

INNER = 2 * tiny_model.WIDTH
STATE, RANK, KERNEL = 8, 4, 4


def write_gguf(
    path: Path,
    *,
    context_length: int = tiny_model.CONTEXT_LENGTH,
    chat_template: str | None = tiny_model.CHAT_TEMPLATE,
) -> Path:
    """Write a random mamba with the tiny model's vocabulary."""
    import gguf

    writer = gguf.GGUFWriter(str(path), "mamba")
    writer.add_context_length(context_length)
    writer.add_embedding_length(tiny_model.WIDTH)
    writer.add_block_count(tiny_model.NUM_LAYERS)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_ssm_conv_kernel(KERNEL)
    writer.add_ssm_inner_size(INNER)
    writer.add_ssm_state_size(STATE)
    writer.add_ssm_time_step_rank(RANK)
    writer.add_file_type(0)
    tensors = {name: tensor.astype(np.float32) for name, tensor in weights().items()}
    tiny_model.finish_gguf(writer, tensors, chat_template)
    return path


def weights() -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    rng = np.random.default_rng(0)
    base = tiny_model.weights()
    tensors: dict[str, np.ndarray[Any, np.dtype[Any]]] = {
        f"{name}.weight": base[name] for name in ("token_embd", "output_norm", "output")
    }
    for layer in range(tiny_model.NUM_LAYERS):
        prefix = f"blk.{layer}."
        tensors |= {
            prefix + "attn_norm.weight": np.ones(tiny_model.WIDTH),
            prefix + "ssm_in.weight": rng.standard_normal((2 * INNER, tiny_model.WIDTH)) * 0.3,
            prefix + "ssm_conv1d.weight": rng.standard_normal((INNER, KERNEL)) * 0.5,
            prefix + "ssm_conv1d.bias": np.zeros(INNER),
            prefix + "ssm_x.weight": rng.standard_normal((RANK + 2 * STATE, INNER)) * 0.3,
            prefix + "ssm_dt.weight": rng.standard_normal((INNER, RANK)) * 0.3,
            prefix + "ssm_dt.bias": np.zeros(INNER),
            prefix + "ssm_a": -np.exp(rng.standard_normal((INNER, STATE))) * 0.01,
            prefix + "ssm_d": np.ones(INNER),
            prefix + "ssm_out.weight": rng.standard_normal((tiny_model.WIDTH, INNER)),
        }
    return tensors
