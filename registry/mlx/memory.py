"""From an MLX folder's config and tensors to MemoryFacts.

Source: mlx-lm, models/qwen3_next.py, models/mamba2.py (sizes of the states they keep), models/deepseek_v3.py and its
relatives (`kv_latent, k_pe = cache.update_and_fetch(...)`).
"""

from collections.abc import Mapping

from registry.facts import MemoryFacts
from registry.mlx.config import Config
from registry.mlx.safetensors import TensorInfo

_HALF_TYPES = frozenset({"F16", "BF16"})
_FLOAT8_TYPES = frozenset({"F8_E4M3", "F8_E5M2"})
_FLOAT_BYTES = 4


def memory_facts(config: Config, tensors: Mapping[str, TensorInfo]) -> MemoryFacts:
    """Give what a folder's config.json and all its tensors say of memory."""
    num_layers = config.integer("num_hidden_layers") or 0
    interval = config.integer("full_attention_interval")
    state = _linear_state(config) or _scan_state(config)
    num_attention = num_layers // interval if interval and state else None
    # A cache of its own for latents is mlx-lm's way only with these two; others keep expanded keys and values.
    rank, rope = config.integer("kv_lora_rank"), config.integer("qk_rope_head_dim")
    float8_bytes = sum(tensor.size_bytes for tensor in tensors.values() if tensor.dtype in _FLOAT8_TYPES)
    return MemoryFacts(
        num_heads=config.integer("num_attention_heads"),
        feed_forward_length=_feed_forward(config),
        num_attention_layers=num_attention,
        recurrent_bytes=(num_layers - (num_attention or 0)) * state * _FLOAT_BYTES,
        latent_length=rank + rope if rank and rope else None,
        half_bytes=sum(t.size_bytes for t in tensors.values() if t.dtype in _HALF_TYPES) + float8_bytes,
        float8_bytes=float8_bytes,
    )


def _feed_forward(config: Config) -> int | None:
    dense, used = config.integer("intermediate_size") or 0, config.integer("num_experts_per_tok") or 0
    return max(dense, (config.integer("moe_intermediate_size") or dense) * used) or None


def _linear_state(config: Config) -> int:
    """Give the elements of one layer's state in models with gated linear attention."""
    key, value = config.integer("linear_key_head_dim"), config.integer("linear_value_head_dim")
    num_keys, num_values = config.integer("linear_num_key_heads"), config.integer("linear_num_value_heads")
    if not key or not value or not num_keys or not num_values:
        return 0
    kernel = config.integer("linear_conv_kernel_dim") or 1
    return num_values * key * value + (kernel - 1) * (2 * num_keys * key + num_values * value)


def _scan_state(config: Config) -> int:
    """Give the elements of one layer's state in Mamba and its successors."""
    state = config.integer("ssm_state_size") or config.integer("state_size") or config.integer("mamba_d_state")
    kernel = config.integer("conv_kernel") or config.integer("mamba_d_conv")
    heads, head = config.integer("mamba_n_heads"), config.integer("mamba_d_head")
    inner = heads * head if heads and head else config.integer("intermediate_size")
    if not state or not kernel or not inner:
        return 0
    groups = config.integer("n_groups") or config.integer("mamba_n_groups") or 0
    return (kernel - 1) * (inner + 2 * groups * state) + state * inner
