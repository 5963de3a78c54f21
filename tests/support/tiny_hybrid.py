"""A random LFM2 (two short convolutions and an attention, twice, 64 wide, float32) in both formats, same weights."""

from pathlib import Path

import numpy as np

from tests.support import tiny_model
from tests.support.tiny_model import FEED_FORWARD, NUM_HEADS, NUM_KV_HEADS, WIDTH, Shapes, Tensors, mlx_name

ATTENTION_LAYERS = (2, 5)
NUM_LAYERS = 6
KERNEL = 3
HEAD_WIDTH = WIDTH // NUM_HEADS
_EPSILON = 1e-5
_MLX_PARTS = {
    "attn_norm": "operator_norm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.out_proj",
    "attn_q_norm": "self_attn.q_layernorm",
    "attn_k_norm": "self_attn.k_layernorm",
    "shortconv.conv": "conv.conv",
    "shortconv.in_proj": "conv.in_proj",
    "shortconv.out_proj": "conv.out_proj",
    "ffn_norm": "ffn_norm",
    "ffn_gate": "feed_forward.w1",
    "ffn_up": "feed_forward.w3",
    "ffn_down": "feed_forward.w2",
}
_MLX_NAMES = {"token_embd": "model.embed_tokens", "token_embd_norm": "model.embedding_norm"}


def weights(seed: int = 0) -> Tensors:
    """Return the tensors under their GGUF names, without `.weight`."""
    rng = np.random.default_rng(seed)
    shared: Shapes = {"attn_norm": (WIDTH,), "ffn_norm": (WIDTH,)} | tiny_model.feed_forward_shapes()
    attention: Shapes = tiny_model.attention_shapes() | {"attn_q_norm": (HEAD_WIDTH,), "attn_k_norm": (HEAD_WIDTH,)}
    convolution: Shapes = {
        "shortconv.conv": (WIDTH, KERNEL),
        "shortconv.in_proj": (3 * WIDTH, WIDTH),
        "shortconv.out_proj": (WIDTH, WIDTH),
    }
    tensors = {
        "token_embd": tiny_model.random_tensor(rng, (len(tiny_model.vocabulary()), WIDTH), scale=1.0),
        "token_embd_norm": tiny_model.random_tensor(rng, (WIDTH,)),
    }
    for layer in range(NUM_LAYERS):
        own = attention if layer in ATTENTION_LAYERS else convolution
        tensors |= tiny_model.random_layer(rng, layer, shared | own, {"shortconv.conv": 1.0})
    return tensors


def write_gguf(
    path: Path,
    *,
    context_length: int = tiny_model.CONTEXT_LENGTH,
    chat_template: str | None = tiny_model.CHAT_TEMPLATE,
) -> Path:
    """Write the model as one GGUF file."""
    writer = tiny_model.begin_gguf(path, "lfm2", num_layers=NUM_LAYERS, context_length=context_length)
    writer.add_head_count_kv([NUM_KV_HEADS if layer in ATTENTION_LAYERS else 0 for layer in range(NUM_LAYERS)])
    writer.add_layer_norm_rms_eps(_EPSILON)
    writer.add_rope_freq_base(1_000_000.0)
    writer.add_shortconv_l_cache(KERNEL)
    tiny_model.finish_gguf(writer, {f"{name}.weight": tensor for name, tensor in weights().items()}, chat_template)
    return path


def write_mlx(
    folder: Path,
    *,
    context_length: int = tiny_model.CONTEXT_LENGTH,
    chat_template: str | None = tiny_model.CHAT_TEMPLATE,
) -> Path:
    """Write the model as an MLX folder."""
    config = {
        "architectures": ["Lfm2ForCausalLM"],
        "model_type": "lfm2",
        "num_hidden_layers": NUM_LAYERS,
        "norm_eps": _EPSILON,
        "conv_bias": False,
        "conv_L_cache": KERNEL,
        "block_dim": WIDTH,
        "block_ff_dim": FEED_FORWARD,
        "block_multiple_of": 1,
        "block_ffn_dim_multiplier": 1.0,
        "block_auto_adjust_ff_dim": False,
        "full_attn_idxs": list(ATTENTION_LAYERS),
        "rope_theta": 1_000_000.0,
    }
    # Source: mlx-lm, models/lfm2.py, Model.sanitize: convolutions are (channels, kernel, 1).
    tensors = {
        mlx_name(name, _MLX_NAMES, _MLX_PARTS): tensor[:, :, None] if name.endswith("shortconv.conv") else tensor
        for name, tensor in weights().items()
    }
    return tiny_model.finish_mlx(folder, config, tensors, chat_template, context_length)
