"""A text model and its tower as an MLX folder, with the files of its processor."""

import json
from pathlib import Path
from typing import Final

import numpy as np

from tests.support import tiny_model
from tests.support.tiny_model import Tensors
from tests.support.tiny_vision import vocabulary
from tests.support.tiny_vision.configuration import config, preprocessor_config, processor_config
from tests.support.tiny_vision.families import CONTEXT_LENGTH, DEEP_LAYERS, TOWER_LAYERS, TOWER_WIDTH

TEXT_NAMES: Final = tiny_model.LAYER_NAMES | {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
_GEMMA_NAMES: Final = TEXT_NAMES | {
    "ffn_norm": "pre_feedforward_layernorm",
    "post_attention_norm": "post_attention_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
_TEXT_PREFIXES: Final = {
    "llava": "language_model.model.",
    "idefics3": "model.text_model.",
    "qwen2_vl": "model.",
    "qwen2_5_vl": "model.",
    "qwen3_vl": "model.language_model.",
    "gemma3": "language_model.model.",
}
_HEADS: Final = {"llava": "language_model.lm_head.weight"}
SIGLIP_NAMES: Final = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_out": "self_attn.out_proj",
    "ln1": "layer_norm1",
    "ln2": "layer_norm2",
    "ffn_up": "mlp.fc1",
    "ffn_down": "mlp.fc2",
}
_SIGLIP_PREFIXES: Final = {
    "llava": "vision_tower.vision_model.",
    "idefics3": "model.vision_model.",
    "gemma3": "vision_tower.vision_model.",
}
_QWEN_NAMES: Final = {
    "v.patch_embd": "patch_embed.proj",
    "v.post_ln": "merger.ln_q",
    "mm.0": "merger.mlp.0",
    "mm.2": "merger.mlp.2",
}
_QWEN_LAYER_NAMES: Final = {
    "attn_qkv": "attn.qkv",
    "attn_out": "attn.proj",
    "ln1": "norm1",
    "ln2": "norm2",
    "ffn_up": "mlp.fc1",
    "ffn_down": "mlp.fc2",
}
_QWEN25_LAYER_NAMES: Final = {"ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
_QWEN3_NAMES: Final = {
    "v.position_embd": "pos_embed",
    "v.post_ln": "merger.norm",
    "mm.0": "merger.linear_fc1",
    "mm.2": "merger.linear_fc2",
}
_QWEN3_LAYER_NAMES: Final = {"ffn_up": "mlp.linear_fc1", "ffn_down": "mlp.linear_fc2"}
_DEEP_NAMES: Final = {"norm": "norm", "fc1": "linear_fc1", "fc2": "linear_fc2"}
_KINDS: Final = ("weight", "bias")


def write_folder(folder: Path, family: str, text: Tensors, tower: Tensors) -> Path:
    """Write weights, configuration and tokenizer."""
    tower_names = _qwen_tower(family, tower) if family.startswith("qwen") else _siglip_tower(family, tower)
    write_weights(folder, _text(family, text) | tower_names)
    files = {
        "config.json": config(family),
        "processor_config.json": processor_config(family),
        "preprocessor_config.json": preprocessor_config(family),
    }
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value))
    write_tokenizer(folder, family)
    return folder


def write_tokenizer(folder: Path, family: str) -> None:
    template = vocabulary.chat_template(family)
    tiny_model.write_tokenizer(folder, vocabulary.tokenizer_json(), template, CONTEXT_LENGTH)


def write_weights(folder: Path, tensors: Tensors) -> None:
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    whole = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    save_file(whole, folder / "model.safetensors", metadata={"format": "pt"})


def _text(family: str, tensors: Tensors) -> Tensors:
    prefix, is_gemma = _TEXT_PREFIXES[family], family == "gemma3"
    flat = {
        "token_embd.weight": f"{prefix}embed_tokens.weight",
        "output_norm.weight": f"{prefix}norm.weight",
        "output.weight": _HEADS.get(family, "lm_head.weight"),
    }
    parts = _GEMMA_NAMES if is_gemma else TEXT_NAMES
    named: Tensors = {}
    for name, tensor in tensors.items():
        # Gemma multiplies by 1 + weight; its GGUF files have the sum.
        value = tensor - 1 if is_gemma and "norm" in name else tensor
        if name in flat:
            named[flat[name]] = value
        else:
            _, layer, part, kind = name.split(".")
            named[f"{prefix}layers.{layer}.{parts[part]}.{kind}"] = value
    return named


def _siglip_tower(family: str, tensors: Tensors) -> Tensors:
    prefix = _SIGLIP_PREFIXES[family]
    named = {
        prefix + "embeddings.patch_embedding.weight": tensors["v.patch_embd.weight"],
        prefix + "embeddings.patch_embedding.bias": tensors["v.patch_embd.bias"],
        prefix + "embeddings.position_embedding.weight": tensors["v.position_embd.weight"],
        prefix + "post_layernorm.weight": tensors.get("v.post_ln.weight", np.ones(TOWER_WIDTH, np.float32)),
        prefix + "post_layernorm.bias": tensors.get("v.post_ln.bias", np.zeros(TOWER_WIDTH, np.float32)),
    }
    for name, tensor in tensors.items():
        if name.startswith("v.blk."):
            _, _, layer, part, kind = name.split(".")
            named[f"{prefix}encoder.layers.{layer}.{SIGLIP_NAMES[part]}.{kind}"] = tensor
    return named | _siglip_projector(family, tensors)


def _siglip_projector(family: str, tensors: Tensors) -> Tensors:
    match family:
        case "llava":
            parts = {"mm.0": "linear_1", "mm.2": "linear_2"}
            return {
                f"multi_modal_projector.{theirs}.{kind}": tensors[f"{ours}.{kind}"]
                for ours, theirs in parts.items()
                for kind in _KINDS
            }
        case "idefics3":
            return {"model.connector.modality_projection.proj.weight": tensors["mm.model.fc.weight"]}
        case _:
            return {
                "multi_modal_projector.mm_input_projection_weight": tensors["mm.input_projection.weight"],
                "multi_modal_projector.mm_soft_emb_norm.weight": tensors["mm.soft_emb_norm.weight"] - 1,
            }


def _qwen_tower(family: str, tensors: Tensors) -> Tensors:
    prefix = "model.visual." if family == "qwen3_vl" else "visual."
    flat = _QWEN_NAMES | (_QWEN3_NAMES if family == "qwen3_vl" else {})
    changes = {"qwen2_vl": {}, "qwen2_5_vl": _QWEN25_LAYER_NAMES, "qwen3_vl": _QWEN3_LAYER_NAMES}
    parts = _QWEN_LAYER_NAMES | changes[family]
    kernels = [tensors["v.patch_embd.weight"], tensors["v.patch_embd.weight.1"]]
    named: Tensors = {}
    for name, tensor in _with_joined_heads(tensors).items():
        stem, _, kind = name.rpartition(".")
        match stem.split("."):
            case ["v", "blk", layer, part]:
                named[f"{prefix}blocks.{layer}.{parts[part]}.{kind}"] = tensor
            case ["v", "deepstack", layer, part]:
                index = DEEP_LAYERS.index(int(layer))
                named[f"{prefix}deepstack_merger_list.{index}.{_DEEP_NAMES[part]}.{kind}"] = tensor
            case _ if stem in flat:
                named[f"{prefix}{flat[stem]}.{kind}"] = tensor
    return named | {f"{prefix}patch_embed.proj.weight": np.stack(kernels, axis=2)}  # (out, in, time, height, width)


def _with_joined_heads(tensors: Tensors) -> Tensors:
    """Return them with queries, keys and values as one, which Qwen3's GGUF files have already."""
    if "v.blk.0.attn_qkv.weight" in tensors:
        return tensors
    joined = {
        f"v.blk.{layer}.attn_qkv.{kind}": np.concatenate([tensors[f"v.blk.{layer}.attn_{x}.{kind}"] for x in "qkv"])
        for layer in range(TOWER_LAYERS)
        for kind in _KINDS
    }
    others = {
        name: tensor for name, tensor in tensors.items() if name.split(".")[-2] not in ("attn_q", "attn_k", "attn_v")
    }
    return others | joined
