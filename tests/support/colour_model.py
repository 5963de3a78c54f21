"""A vision model that really tells colours: the bundled SmolLM2 with a hand-made tower of 24 kB, in both formats.

A picture is four patches; a patch's mean colour becomes the embedding of the word for the nearest of seven colours. So
a picture reads as four words, and a prompt that leads up to them is answered by their meaning (`QUESTIONS`).
"""

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from backends.fake.tower import COLOURS
from tests.support.tiny_model import BYTE_LEVEL, Floats, Tensors, tokenizer_json, write_tokenizer
from tests.support.tiny_vision.folder import SIGLIP_NAMES, TEXT_NAMES, write_weights
from tests.support.tiny_vision.gguf_files import Metadata, write_gguf
from tests.support.tiny_vision.model import RGB, VisionModel

_SIDE, _PATCH, _WIDTH = 16, 8, 4
_EPS = 1e-5
CONTEXT_LENGTH = 2048


class Question(NamedTuple):
    """A chat that the model answers rightly with greedy sampling, after its template's own system prompt.

    Attributes:
        quarters: Colours of the picture: top left, top right, bottom left, bottom right.
        before: The user's text before the picture.
        after: And after it.
        start: How the answer begins, given to the model; "" = nothing is.
        answer: What comes within its next tokens.
        num_tokens: How many those are: MLX's CPU build makes some eight a second.
    """

    quarters: tuple[str, str, str, str]
    before: str
    after: str
    start: str
    answer: str
    num_tokens: int = 18


_ONE: Final = ("The picture is painted in this colour:", ".\nQuestion: What colour is the picture?")
_FOUR: Final = "The four quarters of the picture are:"
_LIST: Final = ".\nList the four colours in the same order."
QUESTIONS: Final = (
    Question(("red", "red", "red", "red"), *_ONE, "The colour of the picture is", " red.", 2),
    Question(("blue", "blue", "blue", "blue"), *_ONE, "The colour of the picture is", " blue.", 2),
    Question(
        ("red", "blue", "yellow", "green"), _FOUR, _LIST, "The four colours are:", " red, blue, yellow, and green.", 9
    ),
    Question(
        ("red", "white", "blue", "green"),
        _FOUR,
        ".\nReport them as JSON.",
        '{"colours": ["',
        'red", "white", "blue", "green"]',
    ),
)


def painted(*quarters: str, side: int = 64) -> RGB:
    """Return a picture of four quarters, in reading order, shape (side, side, 3)."""
    colours = np.array([COLOURS[name] for name in quarters], np.uint8).reshape(2, 2, 3)
    return np.ascontiguousarray(np.kron(colours, np.ones((side // 2, side // 2, 1), np.uint8)))


def write_colour_model(folder: Path, text_gguf: Path) -> VisionModel:
    """Write the projector for a language model that is there, and both as a folder in float32 (540 MB)."""
    import gguf

    folder.mkdir(parents=True, exist_ok=True)
    reader: Any = gguf.GGUFReader(str(text_gguf))
    tower = _tower(_words(reader))
    metadata = _clip_metadata(tower["mm.2.bias"].size)
    general = {"general.type": "mmproj", "general.name": "seven-colours", "general.file_type": 0}
    return VisionModel(
        "llava",
        text_gguf,
        write_gguf(folder / "mmproj.gguf", "clip", general | metadata, tower),
        metadata,
        _write_folder(folder / "mlx", reader, tower),
        text_width=tower["mm.2.bias"].size,
        context_length=CONTEXT_LENGTH,
    )


def _words(reader: Any) -> dict[str, Floats]:
    """Return the embedding of each colour's word."""
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    table = next(tensor for tensor in reader.tensors if tensor.name == "token_embd.weight")
    return {name: _dequantized(table, tokens.index("Ġ" + name)) for name in COLOURS}


def _dequantized(tensor: Any, row: int | None = None) -> Floats:
    import gguf

    data = tensor.data if row is None else tensor.data[row]
    values: Floats = gguf.quants.dequantize(data, tensor.tensor_type).astype(np.float32)
    return values


def _tower(words: dict[str, Floats]) -> Tensors:
    """Return a tower whose patches are mean colours, and a projector with a unit for each corner of their cube.

    The only layer is never computed: LLaVA takes what goes into the last one. A unit is ReLU-like, for GELU is that far
    from 0; its own colour scores 3, a neighbour's 1.
    """
    width = next(iter(words.values())).size
    conv = np.zeros((_WIDTH, 3, _PATCH, _PATCH), np.float32)
    for channel in range(3):
        conv[channel, channel] = 1 / _PATCH**2
    units = np.zeros((len(COLOURS), _WIDTH), np.float32)
    units[:, :3] = 10 * (np.array([*COLOURS.values()], np.float32) / 127.5 - 1)
    tensors: Tensors = {
        "v.patch_embd.weight": conv,
        "v.patch_embd.bias": np.zeros(_WIDTH, np.float32),
        "v.position_embd.weight": np.zeros(((_SIDE // _PATCH) ** 2, _WIDTH), np.float32),
        "mm.0.weight": units,
        "mm.0.bias": np.full(len(COLOURS), -20, np.float32),
        "mm.2.weight": np.stack([words[name] / 10 for name in COLOURS], axis=1),
        "mm.2.bias": np.zeros(width, np.float32),
    }
    for name in ("attn_q", "attn_k", "attn_v", "attn_out", "ffn_up", "ffn_down"):
        tensors[f"v.blk.0.{name}.weight"] = np.zeros((_WIDTH, _WIDTH), np.float32)
        tensors[f"v.blk.0.{name}.bias"] = np.zeros(_WIDTH, np.float32)
    for name in ("ln1", "ln2"):
        tensors[f"v.blk.0.{name}.weight"] = np.ones(_WIDTH, np.float32)
        tensors[f"v.blk.0.{name}.bias"] = np.zeros(_WIDTH, np.float32)
    return tensors


def _clip_metadata(width: int) -> Metadata:
    return {
        "clip.has_vision_encoder": True,
        "clip.projector_type": "mlp",
        "clip.vision.projection_dim": width,
        "clip.vision.image_size": _SIDE,
        "clip.vision.patch_size": _PATCH,
        "clip.vision.embedding_length": _WIDTH,
        "clip.vision.feed_forward_length": _WIDTH,
        "clip.vision.block_count": 1,
        "clip.vision.attention.head_count": 1,
        "clip.vision.attention.layer_norm_epsilon": _EPS,
        "clip.vision.image_mean": [0.5] * 3,
        "clip.vision.image_std": [0.5] * 3,
    }


# ---- the MLX folder -------------------------------------------------------------------------------------------------


def _write_folder(folder: Path, reader: Any, tower: Tensors) -> Path:
    write_weights(folder, _text_tensors(reader) | _siglip_tensors(tower))
    preprocessor = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"height": _SIDE, "width": _SIDE}}
    for name, value in {"config.json": _config(reader), "preprocessor_config.json": preprocessor}.items():
        (folder / name).write_text(json.dumps(value))
    template = _said(reader, "tokenizer.chat_template")
    write_tokenizer(folder, _tokenizer_json(reader), template, CONTEXT_LENGTH, unk_token="<|endoftext|>")
    return folder


def _said(reader: Any, key: str) -> Any:
    return reader.fields[key].contents()


def _text_tensors(reader: Any) -> Tensors:
    heads = {
        "attn_q": _said(reader, "llama.attention.head_count"),
        "attn_k": _said(reader, "llama.attention.head_count_kv"),
    }
    flat = {"token_embd": "embed_tokens", "output_norm": "norm"}
    named: Tensors = {}
    for tensor in reader.tensors:
        name, _, kind = tensor.name.rpartition(".")
        part = name.rpartition(".")[2]
        value = _dequantized(tensor)
        if part in heads:  # from neighbouring pairs back to halves
            rows, columns = value.shape
            pairs = value.reshape(heads[part], rows // heads[part] // 2, 2, columns)
            value = pairs.swapaxes(1, 2).reshape(rows, columns)
        theirs = flat.get(name) or f"layers.{name.split('.')[1]}.{TEXT_NAMES[part]}"
        named[f"language_model.model.{theirs}.{kind}"] = np.ascontiguousarray(value)
    return named


def _siglip_tensors(tensors: Tensors) -> Tensors:
    prefix = "vision_tower.vision_model."
    named: Tensors = {
        prefix + "embeddings.patch_embedding.weight": tensors["v.patch_embd.weight"],
        prefix + "embeddings.patch_embedding.bias": tensors["v.patch_embd.bias"],
        prefix + "embeddings.position_embedding.weight": tensors["v.position_embd.weight"],
        prefix + "post_layernorm.weight": np.ones(_WIDTH, np.float32),
        prefix + "post_layernorm.bias": np.zeros(_WIDTH, np.float32),
    }
    for name, tensor in tensors.items():
        if name.startswith("v.blk."):
            _, _, layer, part, kind = name.split(".")
            named[f"{prefix}encoder.layers.{layer}.{SIGLIP_NAMES[part]}.{kind}"] = tensor
    # In this format the projector is as wide in the middle as the language model: units that stay 0.
    missing = tensors["mm.2.bias"].size - len(COLOURS)
    return named | {
        "multi_modal_projector.linear_1.weight": np.pad(tensors["mm.0.weight"], ((0, missing), (0, 0))),
        "multi_modal_projector.linear_1.bias": np.pad(tensors["mm.0.bias"], (0, missing)),
        "multi_modal_projector.linear_2.weight": np.pad(tensors["mm.2.weight"], ((0, 0), (0, missing))),
        "multi_modal_projector.linear_2.bias": tensors["mm.2.bias"],
    }


def _config(reader: Any) -> dict[str, Any]:
    num_tokens = _said(reader, "llama.vocab_size")
    text = {
        "model_type": "llama",
        "hidden_size": _said(reader, "llama.embedding_length"),
        "intermediate_size": _said(reader, "llama.feed_forward_length"),
        "num_hidden_layers": _said(reader, "llama.block_count"),
        "num_attention_heads": _said(reader, "llama.attention.head_count"),
        "num_key_value_heads": _said(reader, "llama.attention.head_count_kv"),
        "rms_norm_eps": _said(reader, "llama.attention.layer_norm_rms_epsilon"),
        "rope_theta": _said(reader, "llama.rope.freq_base"),
        "max_position_embeddings": CONTEXT_LENGTH,
        "vocab_size": num_tokens,
        "tie_word_embeddings": True,
    }
    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": _WIDTH,
        "intermediate_size": _WIDTH,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "image_size": _SIDE,
        "patch_size": _PATCH,
        "layer_norm_eps": _EPS,
    }
    return {
        "model_type": "llava",
        "architectures": ["LlavaForConditionalGeneration"],
        "torch_dtype": "float32",
        "image_token_index": num_tokens - 1,
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "full",
        "bos_token_id": _said(reader, "tokenizer.ggml.bos_token_id"),
        "eos_token_id": _said(reader, "tokenizer.ggml.eos_token_id"),
        "vocab_size": num_tokens,
        "tie_word_embeddings": True,
        "text_config": text,
        "vision_config": vision,
    }


def _tokenizer_json(reader: Any) -> dict[str, Any]:
    """Source: the published tokenizer.json of SmolLM2: single digits, then bytes."""
    tokens, kinds = _said(reader, "tokenizer.ggml.tokens"), _said(reader, "tokenizer.ggml.token_type")
    control = [index for index, kind in enumerate(kinds) if kind == 3]
    digits = {"type": "Digits", "individual_digits": True}
    pre_tokenizer = {"type": "Sequence", "pretokenizers": [digits, BYTE_LEVEL]}
    return tokenizer_json(tokens, control, _said(reader, "tokenizer.ggml.merges")) | {"pre_tokenizer": pre_tokenizer}
