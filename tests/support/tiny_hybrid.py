"""A random LFM2 (two short convolutions and an attention, twice, 64 wide, float32) in both formats, same weights."""

from pathlib import Path
from typing import Any

import numpy as np

from tests.support import tiny_model
from tests.support.tiny_model import FEED_FORWARD, NUM_HEADS, NUM_KV_HEADS, WIDTH, Tensors

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
    attention = {
        "attn_q": (WIDTH, WIDTH),
        "attn_k": (NUM_KV_HEADS * HEAD_WIDTH, WIDTH),
        "attn_v": (NUM_KV_HEADS * HEAD_WIDTH, WIDTH),
        "attn_output": (WIDTH, WIDTH),
        "attn_q_norm": (HEAD_WIDTH,),
        "attn_k_norm": (HEAD_WIDTH,),
    }
    convolution = {
        "shortconv.conv": (WIDTH, KERNEL),
        "shortconv.in_proj": (3 * WIDTH, WIDTH),
        "shortconv.out_proj": (WIDTH, WIDTH),
    }
    others = {
        "attn_norm": (WIDTH,),
        "ffn_norm": (WIDTH,),
        "ffn_gate": (FEED_FORWARD, WIDTH),
        "ffn_up": (FEED_FORWARD, WIDTH),
        "ffn_down": (WIDTH, FEED_FORWARD),
    }
    tensors: dict[str, Any] = {
        "token_embd": rng.standard_normal((len(tiny_model.vocabulary()), WIDTH)),
        "token_embd_norm": np.ones(WIDTH),
    }
    for layer in range(NUM_LAYERS):
        for name, shape in (others | (attention if layer in ATTENTION_LAYERS else convolution)).items():
            scale = 1.0 if name == "shortconv.conv" else 0.2
            tensors[f"blk.{layer}.{name}"] = np.ones(shape) if len(shape) == 1 else rng.standard_normal(shape) * scale
    return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}


def write_gguf(
    path: Path,
    *,
    context_length: int = tiny_model.CONTEXT_LENGTH,
    chat_template: str | None = tiny_model.CHAT_TEMPLATE,
) -> Path:
    """Write the model as one GGUF file."""
    import gguf

    writer = gguf.GGUFWriter(str(path), "lfm2")
    writer.add_context_length(context_length)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(NUM_LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(NUM_HEADS)
    writer.add_head_count_kv([NUM_KV_HEADS if layer in ATTENTION_LAYERS else 0 for layer in range(NUM_LAYERS)])
    writer.add_layer_norm_rms_eps(_EPSILON)
    writer.add_rope_freq_base(1_000_000.0)
    writer.add_vocab_size(len(tiny_model.vocabulary()))
    writer.add_shortconv_l_cache(KERNEL)
    writer.add_file_type(0)
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
        "hidden_size": WIDTH,
        "num_hidden_layers": NUM_LAYERS,
        "num_attention_heads": NUM_HEADS,
        "num_key_value_heads": NUM_KV_HEADS,
        "max_position_embeddings": context_length,
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
        "vocab_size": len(tiny_model.vocabulary()),
        "torch_dtype": "float32",
        "bos_token_id": tiny_model.BOS_ID,
        "eos_token_id": tiny_model.EOS_ID,
    }
    # Source: mlx-lm, models/lfm2.py, Model.sanitize: convolutions are (channels, kernel, 1).
    tensors = {
        mlx_name(name): tensor[:, :, None] if name.endswith("shortconv.conv") else tensor
        for name, tensor in weights().items()
    }
    return tiny_model.finish_mlx(folder, config, tensors, chat_template, context_length)


def mlx_name(gguf_name: str) -> str:
    if gguf_name in _MLX_NAMES:
        return f"{_MLX_NAMES[gguf_name]}.weight"
    _, layer, part = gguf_name.split(".", 2)
    return f"model.layers.{layer}.{_MLX_PARTS[part]}.weight"
