"""Text models and projectors as GGUF files."""

from pathlib import Path
from typing import Any

from tests.support.tiny_model import Tensors, in_gguf_order
from tests.support.tiny_vision import vocabulary
from tests.support.tiny_vision.families import (
    CONTEXT_LENGTH,
    DEEP_LAYERS,
    FEED_FORWARD,
    HEAD,
    LAYERS_A_WINDOW,
    NUM_HEADS,
    NUM_KV_HEADS,
    TINY_FAMILIES,
    TOWER_FEED_FORWARD,
    TOWER_HEADS,
    TOWER_LAYERS,
    TOWER_WIDTH,
    WIDTH,
    WINDOW,
)

Metadata = dict[str, Any]

_HALVES = [0.5, 0.5, 0.5]


def write_gguf(path: Path, architecture: str, metadata: Metadata, tensors: Tensors) -> Path:
    """Write a file; whole numbers become uint32."""
    import gguf

    writer = gguf.GGUFWriter(str(path), architecture)
    for key, value in metadata.items():
        match value:
            case bool():
                writer.add_bool(key, value)
            case int():
                writer.add_uint32(key, value)
            case float():
                writer.add_float32(key, value)
            case str():
                writer.add_string(key, value)
            case list():
                writer.add_array(key, value)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_text_model(path: Path, family: str, tensors: Tensors) -> Path:
    architecture = TINY_FAMILIES[family].architecture
    if architecture == "llama":
        tensors = {name: in_gguf_order(name.removesuffix(".weight"), tensor) for name, tensor in tensors.items()}
    return write_gguf(path, architecture, text_metadata(family), tensors)


def text_metadata(family: str) -> Metadata:
    facts = TINY_FAMILIES[family]
    values: Metadata = {
        "context_length": CONTEXT_LENGTH,
        "embedding_length": WIDTH,
        "block_count": facts.num_layers,
        "feed_forward_length": FEED_FORWARD,
        "attention.head_count": NUM_HEADS,
        "attention.head_count_kv": NUM_KV_HEADS,
        "attention.layer_norm_rms_epsilon": 1e-6,
        "rope.freq_base": facts.rope_base,
        "vocab_size": vocabulary.NUM_TOKENS,
    }
    match facts.architecture:
        case "llama":
            values["rope.dimension_count"] = HEAD
        case "qwen3vl":
            values |= {"attention.key_length": HEAD, "attention.value_length": HEAD}
            values["n_deepstack_layers"] = len(DEEP_LAYERS)
        case "gemma3":
            values |= {"attention.key_length": HEAD, "attention.value_length": HEAD, "attention.sliding_window": WINDOW}
    if facts.rope_sections is not None:
        values["rope.dimension_sections"] = [*facts.rope_sections, 0]
    named = {f"{facts.architecture}.{key}": value for key, value in values.items()}
    return {"general.name": f"tiny-{family}", "general.file_type": 0} | named | _tokenizer_metadata(family)


def _tokenizer_metadata(family: str) -> Metadata:
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": list(vocabulary.VOCABULARY),
        "tokenizer.ggml.token_type": [1] * vocabulary.NUM_PLAIN + [3] * len(vocabulary.CONTROL_TOKENS),
        "tokenizer.ggml.merges": list(vocabulary.MERGES),
        "tokenizer.ggml.bos_token_id": vocabulary.BOS_ID,
        "tokenizer.ggml.eos_token_id": vocabulary.EOS_ID,
        "tokenizer.ggml.padding_token_id": vocabulary.EOS_ID,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": vocabulary.chat_template(family),
    }


def write_projector(path: Path, family: str, tensors: Tensors) -> Path:
    general = {"general.type": "mmproj", "general.name": f"tiny-{family}", "general.file_type": 0}
    return write_gguf(path, "clip", general | clip_metadata(family), tensors)


def clip_metadata(family: str) -> Metadata:
    """Return the projector's `clip.*` keys."""
    facts = TINY_FAMILIES[family]
    values: Metadata = {
        "projection_dim": WIDTH,
        "image_size": facts.image_size,
        "patch_size": facts.patch_size,
        "embedding_length": TOWER_WIDTH,
        "feed_forward_length": TOWER_FEED_FORWARD,
        "block_count": TOWER_LAYERS,
        "attention.head_count": TOWER_HEADS,
        "attention.layer_norm_epsilon": facts.layer_norm_eps,
        "image_mean": _HALVES,
        "image_std": _HALVES,
    }
    if family in ("idefics3", "gemma3"):
        values["projector.scale_factor"] = facts.merge
    if facts.longest_edge is not None:
        values["preproc_image_size"] = facts.longest_edge
    if family == "qwen2_5_vl":
        values["n_wa_pattern"] = LAYERS_A_WINDOW
    if family == "qwen3_vl":
        values["spatial_merge_size"] = facts.merge
    if facts.pixels is not None:
        values["image_min_pixels"], values["image_max_pixels"] = facts.pixels
    return {
        "clip.has_vision_encoder": True,
        "clip.projector_type": facts.projector_type,
        "clip.use_gelu": family in ("idefics3", "gemma3", "qwen3_vl"),
        "clip.use_silu": family == "qwen2_5_vl",
    } | {f"clip.vision.{key}": value for key, value in values.items()}
