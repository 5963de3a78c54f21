"""The tiny vision models' weights, by their names in GGUF files, in numpy's shape order (rows, columns)."""

import numpy as np

from tests.support.tiny_model import Floats, Tensors
from tests.support.tiny_vision.families import (
    DEEP_LAYERS,
    FEED_FORWARD,
    HEAD,
    NUM_KV_HEADS,
    TINY_FAMILIES,
    TOWER_FEED_FORWARD,
    TOWER_LAYERS,
    TOWER_WIDTH,
    WIDTH,
)
from tests.support.tiny_vision.vocabulary import NUM_TOKENS

_KV_WIDTH = NUM_KV_HEADS * HEAD


class Random:
    """Normally distributed tensors, the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def matrix(self, *shape: int, scale: float = 0.2) -> Floats:
        return (self._rng.standard_normal(shape) * scale).astype(np.float32)

    def norm(self, width: int) -> Floats:
        return 1 + self.matrix(width, scale=0.1)

    def linear(self, name: str, rows: int, columns: int, scale: float = 0.2) -> Tensors:
        return {f"{name}.weight": self.matrix(rows, columns, scale=scale), f"{name}.bias": self.matrix(rows, scale=0.1)}

    def layer_norm(self, name: str, width: int) -> Tensors:
        return {f"{name}.weight": self.norm(width), f"{name}.bias": self.matrix(width, scale=0.1)}


def text_weights(family: str, seed: int) -> Tensors:
    """Return the language model's tensors."""
    random = Random(2 * seed)
    is_gemma = family == "gemma3"
    tensors = {
        "token_embd.weight": random.matrix(NUM_TOKENS, WIDTH, scale=0.05 if is_gemma else 1.0),
        "output_norm.weight": random.norm(WIDTH),
    }
    if not is_gemma:
        tensors["output.weight"] = random.matrix(NUM_TOKENS, WIDTH)
    for layer in range(TINY_FAMILIES[family].num_layers):
        tensors |= _text_layer(f"blk.{layer}.", family, random)
    return tensors


def _text_layer(prefix: str, family: str, random: Random) -> Tensors:
    tensors = {
        prefix + "attn_norm.weight": random.norm(WIDTH),
        prefix + "ffn_norm.weight": random.norm(WIDTH),
        prefix + "attn_q.weight": random.matrix(WIDTH, WIDTH),
        prefix + "attn_k.weight": random.matrix(_KV_WIDTH, WIDTH),
        prefix + "attn_v.weight": random.matrix(_KV_WIDTH, WIDTH),
        prefix + "attn_output.weight": random.matrix(WIDTH, WIDTH),
        prefix + "ffn_gate.weight": random.matrix(FEED_FORWARD, WIDTH),
        prefix + "ffn_up.weight": random.matrix(FEED_FORWARD, WIDTH),
        prefix + "ffn_down.weight": random.matrix(WIDTH, FEED_FORWARD),
    }
    if family in ("qwen2_vl", "qwen2_5_vl"):
        widths = {"attn_q": WIDTH, "attn_k": _KV_WIDTH, "attn_v": _KV_WIDTH}
        tensors |= {f"{prefix}{name}.bias": random.matrix(width) for name, width in widths.items()}
    if family in ("gemma3", "qwen3_vl"):
        tensors |= {f"{prefix}{name}.weight": random.norm(HEAD) for name in ("attn_q_norm", "attn_k_norm")}
    if family == "gemma3":
        tensors |= {f"{prefix}{name}.weight": random.norm(WIDTH) for name in ("post_attention_norm", "post_ffw_norm")}
    return tensors


def tower_weights(family: str, seed: int) -> Tensors:
    """Return the tower's and the projector's tensors; the patch kernel as (out, in, height, width)."""
    random = Random(2 * seed + 1)
    facts = TINY_FAMILIES[family]
    kernel = (TOWER_WIDTH, 3, facts.patch_size, facts.patch_size)
    tensors = {"v.patch_embd.weight": random.matrix(*kernel, scale=0.05)}
    if family.startswith("qwen"):
        tensors["v.patch_embd.weight.1"] = random.matrix(*kernel, scale=0.05)
    if family not in ("qwen2_vl", "qwen2_5_vl"):
        num_patches = (facts.image_size // facts.patch_size) ** 2
        tensors["v.patch_embd.bias"] = random.matrix(TOWER_WIDTH)
        tensors["v.position_embd.weight"] = random.matrix(num_patches, TOWER_WIDTH, scale=0.5)
    if family != "llava":  # which takes the hidden states of the layer before the last: no norm comes after
        tensors |= _tower_norm("v.post_ln", family, random)
    for layer in range(TOWER_LAYERS):
        tensors |= _tower_layer(f"v.blk.{layer}.", family, random)
    if family == "qwen3_vl":
        for layer in DEEP_LAYERS:
            tensors |= _deep_projector(f"v.deepstack.{layer}.", random)
    return tensors | _projector(family, random)


def _tower_norm(name: str, family: str, random: Random) -> Tensors:
    if family == "qwen2_5_vl":  # by the root of the mean square
        return {f"{name}.weight": random.norm(TOWER_WIDTH)}
    return random.layer_norm(name, TOWER_WIDTH)


def _deep_projector(prefix: str, random: Random) -> Tensors:
    merged = 4 * TOWER_WIDTH
    tensors = random.layer_norm(prefix + "norm", merged) | random.linear(prefix + "fc1", merged, merged, 0.1)
    return tensors | random.linear(prefix + "fc2", WIDTH, merged, 0.1)


def _tower_layer(prefix: str, family: str, random: Random) -> Tensors:
    tensors: Tensors = {}
    if family == "qwen3_vl":
        tensors |= random.linear(prefix + "attn_qkv", 3 * TOWER_WIDTH, TOWER_WIDTH)
    else:
        for name in ("attn_q", "attn_k", "attn_v"):
            tensors |= random.linear(prefix + name, TOWER_WIDTH, TOWER_WIDTH)
    tensors |= random.linear(prefix + "attn_out", TOWER_WIDTH, TOWER_WIDTH)
    for name in ("ln1", "ln2"):
        tensors |= _tower_norm(prefix + name, family, random)
    if family == "qwen2_5_vl":
        tensors |= random.linear(prefix + "ffn_gate", TOWER_FEED_FORWARD, TOWER_WIDTH)
    tensors |= random.linear(prefix + "ffn_up", TOWER_FEED_FORWARD, TOWER_WIDTH)
    return tensors | random.linear(prefix + "ffn_down", TOWER_WIDTH, TOWER_FEED_FORWARD)


def _projector(family: str, random: Random) -> Tensors:
    merged = TOWER_WIDTH * TINY_FAMILIES[family].merge ** 2
    match family:
        case "llava":
            return random.linear("mm.0", WIDTH, TOWER_WIDTH) | random.linear("mm.2", WIDTH, WIDTH)
        case "idefics3":
            return {"mm.model.fc.weight": random.matrix(WIDTH, merged, scale=0.1)}
        case "gemma3":
            return {
                "mm.input_projection.weight": random.matrix(TOWER_WIDTH, WIDTH),
                "mm.soft_emb_norm.weight": random.norm(TOWER_WIDTH),
            }
        case _:
            return random.linear("mm.0", merged, merged, 0.1) | random.linear("mm.2", WIDTH, merged, 0.1)
