"""Builds small MLX model folders by hand, sound and broken alike."""

import json
import math
import struct
from pathlib import Path
from typing import Any

SIZES = {"F32": 4, "F16": 2, "BF16": 2, "U32": 4, "I64": 8}

CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_size": 64,
    "vocab_size": 5,
    "max_position_embeddings": 2048,
    "bos_token_id": 1,
    "eos_token_id": [2, 3],
}

TENSORS: dict[str, tuple[str, tuple[int, ...]]] = {
    "model.embed_tokens.weight": ("F32", (5, 64)),
    "model.norm.weight": ("F32", (64,)),
}

LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 123456789\n"
"""What Git LFS leaves of a file that was not fetched."""


def safetensors(tensors: dict[str, tuple[str, tuple[int, ...]]]) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "mlx"}}
    end = 0
    for name, (dtype, shape) in tensors.items():
        begin, end = end, end + math.prod(shape) * SIZES[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    data = json.dumps(header).encode()
    return struct.pack("<Q", len(data)) + data + b"\0" * end


def write_mlx_dir(
    folder: Path,
    *,
    config: dict[str, Any] | None = None,
    tensors: dict[str, tuple[str, tuple[int, ...]]] | None = None,
    extra: dict[str, str] | None = None,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | (config or {})))
    (folder / "model.safetensors").write_bytes(safetensors(TENSORS if tensors is None else tensors))
    (folder / "tokenizer.json").write_text("{}")
    for name, text in (extra or {}).items():
        (folder / name).write_text(text)
    return folder
