"""A random llama (2 layers, 64 wide, float32, byte-level BPE, under 1 MB) in both formats, from the same weights.

With greedy sampling both engines must give the same tokens on it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

NUM_LAYERS = 2
WIDTH = 64
NUM_HEADS = 4
NUM_KV_HEADS = 2
FEED_FORWARD = 128
CONTEXT_LENGTH = 512
BOS_ID, EOS_ID = 257, 258
CONTROL_TOKENS = ("<|im_start|>", "<|im_end|>")
MERGES = ["Ġ t"]
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# What Qwen3's and Hermes' templates do, in few words: tools, their results, a switch for thinking.
TOOL_TEMPLATE = (
    "{% if tools %}<|im_start|>system\n# Tools\n{% for t in tools %}{{ t | tojson }}\n{% endfor %}"
    'Answer with <tool_call>{"name": ..., "arguments": ...}</tool_call>.<|im_end|>\n{% endif %}'
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m.content %}{{ m['content'] }}{% endif %}"
    '{% for c in m.tool_calls or [] %}<tool_call>\n{"name": "{{ c.function.name }}", "arguments": '
    "{{ c.function.arguments | tojson }}}\n</tool_call>{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)

Floats = np.ndarray[Any, np.dtype[np.float32]]
Tensors = dict[str, Floats]
Shapes = dict[str, tuple[int, ...]]

# GGUF tensor name -> safetensors name, of the model and of each layer.
MODEL_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def attention_shapes() -> Shapes:
    """Return (rows, columns) of a layer's attention, as most architectures have it."""
    kv_width = NUM_KV_HEADS * WIDTH // NUM_HEADS
    return {
        "attn_q": (WIDTH, WIDTH),
        "attn_k": (kv_width, WIDTH),
        "attn_v": (kv_width, WIDTH),
        "attn_output": (WIDTH, WIDTH),
    }


def feed_forward_shapes() -> Shapes:
    """Return (rows, columns) of a layer's feed-forward part, as most architectures have it."""
    return {"ffn_gate": (FEED_FORWARD, WIDTH), "ffn_up": (FEED_FORWARD, WIDTH), "ffn_down": (WIDTH, FEED_FORWARD)}


def byte_characters() -> list[str]:
    """Return the 256 characters that stand for bytes in a byte-level vocabulary, by byte."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    moved = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(moved)) for byte in range(256)]


def vocabulary() -> list[str]:
    return [*byte_characters(), "Ġt", *CONTROL_TOKENS]


def weights(seed: int = 0) -> Tensors:
    """Return the tensors under their GGUF names (without `.weight`), in numpy's shape order (rows, columns)."""
    rng = np.random.default_rng(seed)
    num_tokens = len(vocabulary())
    tensors = {
        "token_embd": random_tensor(rng, (num_tokens, WIDTH), scale=1.0),
        "output_norm": random_tensor(rng, (WIDTH,)),
        "output": random_tensor(rng, (num_tokens, WIDTH)),
    }
    norms: Shapes = {"attn_norm": (WIDTH,), "ffn_norm": (WIDTH,)}
    for layer in range(NUM_LAYERS):
        tensors |= random_layer(rng, layer, norms | attention_shapes() | feed_forward_shapes())
    return tensors


def random_tensor(rng: np.random.Generator, shape: tuple[int, ...], *, scale: float = 0.2) -> Floats:
    """Return random weights; those of a norm, which have one dimension, are 1."""
    tensor = np.ones(shape) if len(shape) == 1 else rng.standard_normal(shape) * scale
    return tensor.astype(np.float32)


def random_layer(
    rng: np.random.Generator,
    layer: int,
    shapes: Shapes,
    scales: Mapping[str, float] = MappingProxyType({}),
) -> Tensors:
    """Return a layer's tensors, under their GGUF names, by their shapes; 0.2 is the scale of those not named."""
    return {
        f"blk.{layer}.{name}": random_tensor(rng, shape, scale=scales.get(name, 0.2)) for name, shape in shapes.items()
    }


def write_gguf(
    path: Path,
    *,
    name: str = "tiny",
    seed: int = 0,
    tensors: Tensors | None = None,
    chat_template: str | None = CHAT_TEMPLATE,
    context_length: int = CONTEXT_LENGTH,
    num_layers: int = NUM_LAYERS,
) -> Path:
    """Write the model as one GGUF file, with other weights where `tensors` are given."""
    writer = begin_gguf(path, "llama", num_layers=num_layers, context_length=context_length)
    writer.add_name(name)
    writer.add_head_count_kv(NUM_KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(WIDTH // NUM_HEADS)
    named = (weights(seed) if tensors is None else tensors).items()
    finish_gguf(writer, {f"{each}.weight": in_gguf_order(each, tensor) for each, tensor in named}, chat_template)
    return path


def begin_gguf(path: Path, architecture: str, *, num_layers: int, context_length: int) -> Any:
    """Return a GGUFWriter that has been told what these models have in common; `finish_gguf` follows."""
    import gguf

    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_context_length(context_length)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(num_layers)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(NUM_HEADS)
    writer.add_vocab_size(len(vocabulary()))
    writer.add_file_type(0)
    return writer


def finish_gguf(writer: Any, tensors: Tensors, chat_template: str | list[dict[str, str]] | None) -> None:
    """Write the tokenizer and the tensors, by their full names, behind what a GGUFWriter has been told of a model.

    Args:
        chat_template: One, or those of a list by their `name`.
    """
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary())
    writer.add_token_types([1] * 257 + [3] * len(CONTROL_TOKENS))
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(BOS_ID)
    writer.add_eos_token_id(EOS_ID)
    writer.add_pad_token_id(EOS_ID)
    writer.add_add_bos_token(False)
    if chat_template is not None:
        writer.add_chat_template(chat_template)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_mlx(
    folder: Path,
    *,
    name: str = "tiny",
    seed: int = 0,
    tensors: Tensors | None = None,
    chat_template: str | None = CHAT_TEMPLATE,
    context_length: int = CONTEXT_LENGTH,
) -> Path:
    """Write the model as an MLX folder, with other weights where `tensors` are given."""
    weights_here = weights(seed) if tensors is None else tensors
    named = {mlx_name(tensor_name): tensor for tensor_name, tensor in weights_here.items()}
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "_name_or_path": name,
        "intermediate_size": FEED_FORWARD,
        "num_hidden_layers": NUM_LAYERS,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
    }
    return finish_mlx(folder, config, named, chat_template, context_length)


def finish_mlx(
    folder: Path, config: dict[str, Any], tensors: Tensors, chat_template: str | None, context_length: int
) -> Path:
    """Write a folder's config, with what these models have in common, tensors and tokenizer."""
    from safetensors.numpy import save_file

    config = {
        "hidden_size": WIDTH,
        "num_attention_heads": NUM_HEADS,
        "num_key_value_heads": NUM_KV_HEADS,
        "max_position_embeddings": context_length,
        "vocab_size": len(vocabulary()),
        "torch_dtype": "float32",
        "bos_token_id": BOS_ID,
        "eos_token_id": EOS_ID,
        **config,
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "mlx"})
    (folder / "config.json").write_text(json.dumps(config))
    control = range(BOS_ID, BOS_ID + len(CONTROL_TOKENS))
    write_tokenizer(folder, tokenizer_json(vocabulary(), control, MERGES), chat_template, context_length)
    return folder


def write_tokenizer(
    folder: Path, tokenizer: dict[str, Any], chat_template: str | None, context_length: int, **more: str
) -> None:
    """Write a tokenizer's two files.

    Args:
        **more: Further values of tokenizer_config.json.
    """
    begin, end = CONTROL_TOKENS
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": context_length,
        "bos_token": begin,
        "eos_token": end,
        "pad_token": end,
        **more,
    }
    if chat_template is not None:
        config["chat_template"] = chat_template
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}


def tokenizer_json(tokens: Sequence[str], control_ids: Iterable[int], merges: Iterable[str]) -> dict[str, Any]:
    """Return tokenizer.json of a byte-level vocabulary."""
    is_as_written = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": each, "content": tokens[each], "special": True} | is_as_written for each in control_ids
        ],
        "normalizer": None,
        "pre_tokenizer": BYTE_LEVEL,
        "post_processor": None,
        "decoder": BYTE_LEVEL,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {token: index for index, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in merges],
        },
    }


def mlx_name(
    gguf_name: str, names: Mapping[str, str] = MODEL_NAMES, layer_names: Mapping[str, str] = LAYER_NAMES
) -> str:
    """Return the name in the safetensors form of a tensor that has this one in the GGUF, without its `.weight`."""
    if gguf_name in names:
        return f"{names[gguf_name]}.weight"
    _, layer, part = gguf_name.split(".", 2)
    return f"model.layers.{layer}.{layer_names[part]}.weight"


def in_gguf_order(gguf_name: str, tensor: Floats) -> Floats:
    """Reorder rows of Q and K: llama's GGUF rotates neighbouring pairs, the safetensors form rotates halves.

    Source: llama.cpp, convert_hf_to_gguf.py, LlamaModel.permute.
    """
    num_heads = {"attn_q": NUM_HEADS, "attn_k": NUM_KV_HEADS}.get(gguf_name.rpartition(".")[2])
    if num_heads is None:
        return tensor
    rows, columns = tensor.shape
    halves = tensor.reshape(num_heads, 2, rows // num_heads // 2, columns)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows, columns))
