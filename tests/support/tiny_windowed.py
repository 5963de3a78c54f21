"""A random Gemma 3 (6 layers, five of which see a window, 64 wide, float32) in both formats, from the same weights."""

from pathlib import Path

import numpy as np

from tests.support import tiny_model
from tests.support.tiny_model import FEED_FORWARD, NUM_HEADS, NUM_KV_HEADS, WIDTH, Shapes, Tensors, mlx_name

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
    shapes: Shapes = {
        "attn_norm": (WIDTH,),
        **tiny_model.attention_shapes(),
        "attn_q_norm": (HEAD_WIDTH,),
        "attn_k_norm": (HEAD_WIDTH,),
        "post_attention_norm": (WIDTH,),
        "ffn_norm": (WIDTH,),
        **tiny_model.feed_forward_shapes(),
        "post_ffw_norm": (WIDTH,),
    }
    tensors = {
        "token_embd": tiny_model.random_tensor(rng, (len(tiny_model.vocabulary()), WIDTH), scale=0.3),
        "output_norm": tiny_model.random_tensor(rng, (WIDTH,)),
    }
    for layer in range(NUM_LAYERS):
        tensors |= tiny_model.random_layer(rng, layer, shapes)
    return tensors


def write_gguf(
    path: Path,
    *,
    context_length: int = tiny_model.CONTEXT_LENGTH,
    window: int = WINDOW,
    chat_template: str | None = tiny_model.CHAT_TEMPLATE,
) -> Path:
    """Write the model as one GGUF file."""
    writer = tiny_model.begin_gguf(path, "gemma3", num_layers=NUM_LAYERS, context_length=context_length)
    writer.add_head_count_kv(NUM_KV_HEADS)
    writer.add_key_length(HEAD_WIDTH)
    writer.add_value_length(HEAD_WIDTH)
    writer.add_layer_norm_rms_eps(_EPSILON)
    writer.add_rope_freq_base(1_000_000.0)
    writer.add_sliding_window(window)
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
        "intermediate_size": FEED_FORWARD,
        "num_hidden_layers": NUM_LAYERS,
        "head_dim": HEAD_WIDTH,
        "query_pre_attn_scalar": HEAD_WIDTH,
        "sliding_window": window,
        "sliding_window_pattern": PATTERN,
        "rms_norm_eps": _EPSILON,
        "rope_theta": 1_000_000.0,
        "rope_local_base_freq": 10_000.0,
    }
    # Source: llama.cpp, conversion/gemma.py, Gemma3Model.norm_shift: GGUF has one more in the weights of norms.
    tensors = {
        mlx_name(name, _MLX_NAMES, _MLX_PARTS): tensor - 1 if tensor.ndim == 1 else tensor
        for name, tensor in weights().items()
    }
    return tiny_model.finish_mlx(folder, config, tensors, chat_template, context_length)
