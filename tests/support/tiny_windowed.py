"""A random Gemma 3 (6 layers, five of which see a window, 64 wide, float32) in both formats, from the same weights."""

from pathlib import Path
from typing import Any

import numpy as np

from tests.support import tiny_model
from tests.support.tiny_model import NUM_HEADS, NUM_KV_HEADS, WIDTH, Tensors

WINDOW = 16
NUM_LAYERS = PATTERN = 6
"""Source: llama.cpp, src/models/gemma3.cpp, `load_swa_pattern(ml, 6)`: every sixth layer sees everything."""
HEAD_WIDTH = WIDTH // NUM_HEADS
_EPSILON = 1e-6
_MLX_PARTS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "post_ffw_norm": "post_feedforward_layernorm",
}
_MLX_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}


def weights(seed: int = 0) -> Tensors:
    """Return the tensors under their GGUF names, without `.weight`."""
    rng = np.random.default_rng(seed)
    shapes = {
        "attn_norm": (WIDTH,),
        "attn_q": (WIDTH, WIDTH),
        "attn_k": (NUM_KV_HEADS * HEAD_WIDTH, WIDTH),
        "attn_v": (NUM_KV_HEADS * HEAD_WIDTH, WIDTH),
        "attn_output": (WIDTH, WIDTH),
        "attn_q_norm": (HEAD_WIDTH,),
        "attn_k_norm": (HEAD_WIDTH,),
        "post_attention_norm": (WIDTH,),
        "ffn_norm": (WIDTH,),
        "ffn_gate": (tiny_model.FEED_FORWARD, WIDTH),
        "ffn_up": (tiny_model.FEED_FORWARD, WIDTH),
        "ffn_down": (WIDTH, tiny_model.FEED_FORWARD),
        "post_ffw_norm": (WIDTH,),
    }
    tensors: dict[str, Any] = {
        "token_embd": rng.standard_normal((len(tiny_model.vocabulary()), WIDTH)) * 0.3,
        "output_norm": np.ones(WIDTH),
    }
    for layer in range(NUM_LAYERS):
        for name, shape in shapes.items():
            is_norm = len(shape) == 1
            tensors[f"blk.{layer}.{name}"] = np.ones(shape) if is_norm else rng.standard_normal(shape) * 0.2
    return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}


def write_gguf(
    path: Path,
    *,
    context_length: int = tiny_model.CONTEXT_LENGTH,
    window: int = WINDOW,
    chat_template: str | None = tiny_model.CHAT_TEMPLATE,
) -> Path:
    """Write the model as one GGUF file."""
    import gguf

    writer = gguf.GGUFWriter(str(path), "gemma3")
    writer.add_context_length(context_length)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(NUM_LAYERS)
    writer.add_feed_forward_length(tiny_model.FEED_FORWARD)
    writer.add_head_count(NUM_HEADS)
    writer.add_head_count_kv(NUM_KV_HEADS)
    writer.add_key_length(HEAD_WIDTH)
    writer.add_value_length(HEAD_WIDTH)
    writer.add_layer_norm_rms_eps(_EPSILON)
    writer.add_rope_freq_base(1_000_000.0)
    writer.add_sliding_window(window)
    writer.add_file_type(0)
    tiny_model.finish_gguf(writer, {f"{name}.weight": tensor for name, tensor in weights().items()}, chat_template)
    return path


def write_mlx(
    folder: Path,
    *,
    context_length: int = tiny_model.CONTEXT_LENGTH,
    window: int = WINDOW,
    chat_template: str | None = tiny_model.CHAT_TEMPLATE,
) -> Path:
    """Write the model as an MLX folder."""
    config = {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        "hidden_size": WIDTH,
        "intermediate_size": tiny_model.FEED_FORWARD,
        "num_hidden_layers": NUM_LAYERS,
        "num_attention_heads": NUM_HEADS,
        "num_key_value_heads": NUM_KV_HEADS,
        "head_dim": HEAD_WIDTH,
        "query_pre_attn_scalar": HEAD_WIDTH,
        "sliding_window": window,
        "sliding_window_pattern": PATTERN,
        "max_position_embeddings": context_length,
        "rms_norm_eps": _EPSILON,
        "rope_theta": 1_000_000.0,
        "rope_local_base_freq": 10_000.0,
        "vocab_size": len(tiny_model.vocabulary()),
        "torch_dtype": "float32",
        "bos_token_id": tiny_model.BOS_ID,
        "eos_token_id": tiny_model.EOS_ID,
    }
    # Source: llama.cpp, conversion/gemma.py, Gemma3Model.norm_shift: GGUF has one more in the weights of norms.
    tensors = {mlx_name(name): tensor - 1 if tensor.ndim == 1 else tensor for name, tensor in weights().items()}
    return tiny_model.finish_mlx(folder, config, tensors, chat_template, context_length)


def mlx_name(gguf_name: str) -> str:
    if gguf_name in _MLX_NAMES:
        return f"{_MLX_NAMES[gguf_name]}.weight"
    _, layer, part = gguf_name.split(".")
    return f"model.layers.{layer}.{_MLX_PARTS[part]}.weight"
