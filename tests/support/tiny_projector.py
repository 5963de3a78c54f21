"""Random vision towers (32 wide, one layer) as GGUF projectors with the sizes of real ones, and text models for them.

They say nothing of what is seen, but libmtmd counts with them as with the real ones.
"""

from pathlib import Path

import numpy as np

from tests.support import tiny_model
from tests.support.tiny_model import Floats
from tests.support.tiny_vision.gguf_files import Metadata, write_gguf

WIDTH, NUM_HEADS, FEED_FORWARD = 32, 2, 64
TEXT_WIDTH = tiny_model.WIDTH

_CLIP_COLOURS: Metadata = {
    "clip.vision.image_mean": [0.48145466, 0.4578275, 0.40821073],
    "clip.vision.image_std": [0.26862954, 0.26130258, 0.27577711],
}
PROJECTORS: dict[str, Metadata] = {
    # SmolVLM-256M and -500M.
    "idefics3": {
        "clip.projector_type": "idefics3",
        "clip.vision.image_size": 512,
        "clip.vision.patch_size": 16,
        "clip.vision.projector.scale_factor": 4,
        "clip.vision.preproc_image_size": 2048,
    },
    "qwen2_vl": {
        "clip.projector_type": "qwen2vl_merger",
        "clip.vision.image_size": 560,
        "clip.vision.patch_size": 14,
    }
    | _CLIP_COLOURS,
    "qwen2_5_vl": {
        "clip.projector_type": "qwen2.5vl_merger",
        "clip.vision.image_size": 560,
        "clip.vision.patch_size": 14,
        "clip.vision.n_wa_pattern": 8,
        "clip.use_silu": True,
    }
    | _CLIP_COLOURS,
    "qwen3_vl": {
        "clip.projector_type": "qwen3vl_merger",
        "clip.vision.image_size": 768,
        "clip.vision.patch_size": 16,
        "clip.vision.spatial_merge_size": 2,
    },
    "gemma3": {"clip.projector_type": "gemma3", "clip.vision.image_size": 896, "clip.vision.patch_size": 14},
    "gemma4": {
        "clip.projector_type": "gemma4v",
        "clip.vision.image_size": 224,
        "clip.vision.patch_size": 16,
        "clip.vision.image_mean": [0.0, 0.0, 0.0],
        "clip.vision.image_std": [1.0, 1.0, 1.0],
    },
    # llava-interleave-qwen and others: SigLIP's so400m at 384 pixels.
    "llava": {"clip.projector_type": "mlp", "clip.vision.image_size": 384, "clip.vision.patch_size": 14},
}
"""Metadata of each family's projector, beside what all have; facts of real models."""

_COMMON: Metadata = {
    "clip.has_vision_encoder": True,
    "clip.vision.projection_dim": TEXT_WIDTH,
    "clip.vision.embedding_length": WIDTH,
    "clip.vision.feed_forward_length": FEED_FORWARD,
    "clip.vision.attention.head_count": NUM_HEADS,
    "clip.vision.attention.layer_norm_epsilon": 1e-6,
    "clip.vision.image_mean": [0.5, 0.5, 0.5],
    "clip.vision.image_std": [0.5, 0.5, 0.5],
}
_TEXT_ARCHITECTURES = {"qwen2_vl": "qwen2vl", "qwen2_5_vl": "qwen2vl", "qwen3_vl": "qwen3vl"}


def metadata_of(family: str) -> Metadata:
    """Return a projector's `clip.*` keys."""
    return _COMMON | {"clip.vision.block_count": 2 if family == "llava" else 1} | PROJECTORS[family]


def write_projector(path: Path, family: str, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)

    def random(*shape: int) -> Floats:
        return (rng.standard_normal(shape) * 0.1).astype(np.float32)

    tensors = {name: random(*shape) for name, shape in _tensor_shapes(family).items()}
    return write_gguf(path, "clip", {"general.type": "mmproj"} | metadata_of(family), tensors)


def _tensor_shapes(family: str) -> dict[str, tuple[int, ...]]:
    """Source: llama.cpp 0.3.36's clip.cpp, load_tensors: what it wants of each projector type."""
    facts = PROJECTORS[family]
    patch, size = facts["clip.vision.patch_size"], facts["clip.vision.image_size"]
    shapes: dict[str, tuple[int, ...]] = {"v.patch_embd.weight": (WIDTH, 3, patch, patch)}
    if family.startswith("qwen"):
        shapes["v.patch_embd.weight.1"] = (WIDTH, 3, patch, patch)
    if family in ("idefics3", "gemma3", "llava", "qwen3_vl"):
        shapes |= {"v.patch_embd.bias": (WIDTH,), "v.position_embd.weight": ((size // patch) ** 2, WIDTH)}
    if family == "gemma4":
        shapes["v.position_embd.weight"] = (2, 1024, WIDTH)
    if family != "llava":
        shapes |= {"v.post_ln.weight": (WIDTH,), "v.post_ln.bias": (WIDTH,)}
    for layer in range(metadata_of(family)["clip.vision.block_count"]):
        shapes |= _layer_shapes(f"v.blk.{layer}.", family)
    return shapes | _connector_shapes(family)


def _layer_shapes(prefix: str, family: str) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    matrices = {
        "ffn_up": (FEED_FORWARD, WIDTH),
        "ffn_down": (WIDTH, FEED_FORWARD),
    }
    if family in ("qwen2_5_vl", "gemma4"):
        matrices["ffn_gate"] = (FEED_FORWARD, WIDTH)
    if family == "qwen3_vl":
        matrices["attn_qkv"] = (3 * WIDTH, WIDTH)
    else:
        matrices |= dict.fromkeys(("attn_q", "attn_k", "attn_v"), (WIDTH, WIDTH))
    matrices["attn_out"] = (WIDTH, WIDTH)
    for name, shape in matrices.items():
        shapes |= {f"{prefix}{name}.weight": shape, f"{prefix}{name}.bias": shape[:1]}
    for name in ("ln1", "ln2"):
        shapes |= {f"{prefix}{name}.weight": (WIDTH,), f"{prefix}{name}.bias": (WIDTH,)}
    return shapes


def _connector_shapes(family: str) -> dict[str, tuple[int, ...]]:
    match family:
        case "idefics3":
            return {"mm.model.fc.weight": (TEXT_WIDTH, WIDTH * 16)}
        case "gemma3":
            return {"mm.input_projection.weight": (WIDTH, TEXT_WIDTH), "mm.soft_emb_norm.weight": (WIDTH,)}
        case "gemma4":
            return {"mm.input_projection.weight": (TEXT_WIDTH, WIDTH)}
        case "llava":
            first, wide = (TEXT_WIDTH, WIDTH), TEXT_WIDTH
        case _:
            first, wide = (WIDTH * 4, WIDTH * 4), WIDTH * 4
    return {
        "mm.0.weight": first,
        "mm.0.bias": first[:1],
        "mm.2.weight": (TEXT_WIDTH, wide),
        "mm.2.bias": (TEXT_WIDTH,),
    }


def write_text_model(path: Path, family: str) -> Path:
    """Write a text model of a kind whose positions are those of the family."""
    architecture = _TEXT_ARCHITECTURES.get(family)
    return tiny_model.write_gguf(path) if architecture is None else _write_qwen(path, architecture)


def _write_qwen(path: Path, architecture: str) -> Path:
    head = TEXT_WIDTH // tiny_model.NUM_HEADS
    kv_width = tiny_model.NUM_KV_HEADS * head
    values: Metadata = {
        "context_length": tiny_model.CONTEXT_LENGTH,
        "embedding_length": TEXT_WIDTH,
        "block_count": tiny_model.NUM_LAYERS,
        "feed_forward_length": tiny_model.FEED_FORWARD,
        "attention.head_count": tiny_model.NUM_HEADS,
        "attention.head_count_kv": tiny_model.NUM_KV_HEADS,
        "attention.key_length": head,
        "attention.value_length": head,
        "attention.layer_norm_rms_epsilon": 1e-6,
        "rope.freq_base": 10000.0,
        "rope.dimension_sections": [2, 3, 3, 0],
        "vocab_size": len(tiny_model.vocabulary()),
    }
    tokenizer: Metadata = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tiny_model.vocabulary(),
        "tokenizer.ggml.token_type": [1] * 257 + [3] * len(tiny_model.CONTROL_TOKENS),
        "tokenizer.ggml.merges": tiny_model.MERGES,
        "tokenizer.ggml.bos_token_id": tiny_model.BOS_ID,
        "tokenizer.ggml.eos_token_id": tiny_model.EOS_ID,
    }
    added = {"attn_q": TEXT_WIDTH, "attn_k": kv_width, "attn_v": kv_width} if architecture == "qwen2vl" else {}
    normed = ("attn_q", "attn_k") if architecture == "qwen3vl" else ()
    tensors: tiny_model.Tensors = {}
    for name, tensor in tiny_model.weights().items():
        tensors[f"{name}.weight"] = tensor
        kind = name.rpartition(".")[2]
        if kind in added:
            tensors[f"{name}.bias"] = np.zeros(added[kind], np.float32)
        if kind in normed:
            tensors[f"{name}_norm.weight"] = np.ones(head, np.float32)
    return write_gguf(
        path, architecture, {f"{architecture}.{key}": each for key, each in values.items()} | tokenizer, tensors
    )
