"""Builds GGUF bytes by hand, sound and broken alike. Not a writer for real models."""

import struct
from typing import Any, NamedTuple

from registry.gguf.header import GGUFHeader, parse_source

CODES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9


class Value(NamedTuple):
    kind: int
    value: Any
    element_kind: int | None = None


class Tensor(NamedTuple):
    name: bytes = b"t"
    dims: tuple[int, ...] = (32,)
    kind: int = 0
    offset: int | None = None
    size_bytes: int | None = None


def u32(value: int) -> Value:
    return Value(4, value)


def f32(value: float) -> Value:
    return Value(6, value)


def text(value: str | bytes) -> Value:
    return Value(STRING, value)


def array(element_kind: int, values: Any) -> Value:
    return Value(ARRAY, values, element_kind)


def encode_string(value: str | bytes, order: str = "<") -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack(order + "Q", len(data)) + data


def encode_value(value: Value, order: str = "<") -> bytes:
    if value.kind == STRING:
        return encode_string(value.value, order)
    if value.kind == ARRAY:
        assert value.element_kind is not None
        head = struct.pack(order + "IQ", value.element_kind, len(value.value))
        return head + b"".join(encode_value(Value(value.element_kind, item), order) for item in value.value)
    return struct.pack(order + CODES[value.kind], value.value)


def encode_tensor(tensor: Tensor, offset: int, order: str = "<") -> bytes:
    return (
        encode_string(tensor.name, order)
        + struct.pack(f"{order}I{len(tensor.dims)}Q", len(tensor.dims), *tensor.dims)
        + struct.pack(order + "IQ", tensor.kind, tensor.offset if tensor.offset is not None else offset)
    )


def data_size(tensor: Tensor) -> int:
    """Only F32 and what states its size: enough for tests."""
    if tensor.size_bytes is not None:
        return tensor.size_bytes
    size = 4
    for dim in tensor.dims:
        size *= dim
    return size


def build(
    metadata: dict[str | bytes, Value] | list[tuple[str | bytes, Value]] | None = None,
    tensors: list[Tensor] | None = None,
    *,
    version: int = 3,
    order: str = "<",
    alignment: int = 32,
    num_keys: int | None = None,
    num_tensors: int | None = None,
    has_data: bool = True,
) -> bytes:
    pairs = list(metadata.items()) if isinstance(metadata, dict) else list(metadata or [])
    tensors = tensors or []
    out = b"GGUF" + struct.pack(
        order + "IQQ",
        version,
        len(tensors) if num_tensors is None else num_tensors,
        len(pairs) if num_keys is None else num_keys,
    )
    for key, value in pairs:
        out += encode_string(key, order) + struct.pack(order + "I", value.kind) + encode_value(value, order)
    offset = end = 0
    for tensor in tensors:
        out += encode_tensor(tensor, offset, order)
        end = offset + data_size(tensor)
        offset = (end + alignment - 1) // alignment * alignment
    if not has_data or not tensors:
        return out
    return out + b"\0" * (-len(out) % alignment) + b"\0" * end


def llama_metadata(**changes: Value | None) -> dict[str | bytes, Value]:
    """What a sound llama model says; `_` stands for the dot after the architecture."""
    metadata: dict[str | bytes, Value] = {
        "general.architecture": text("llama"),
        "llama.block_count": u32(2),
        "llama.context_length": u32(2048),
        "llama.embedding_length": u32(64),
        "llama.attention.head_count": u32(4),
        "llama.attention.head_count_kv": u32(2),
        "llama.attention.layer_norm_rms_epsilon": f32(1e-5),
        "tokenizer.ggml.model": text("llama"),
        "tokenizer.ggml.tokens": array(STRING, ["<unk>", "<s>", "</s>", "<0x00>", "a"]),
        "tokenizer.ggml.scores": array(6, [0.0] * 5),
        "tokenizer.ggml.token_type": array(5, [1] * 5),
        "tokenizer.ggml.bos_token_id": u32(1),
        "tokenizer.ggml.eos_token_id": u32(2),
    }
    for key, value in changes.items():
        name = key.replace("__", ".")
        if value is None:
            del metadata[name]
        else:
            metadata[name] = value
    return metadata


LLAMA_TENSORS = [Tensor(b"token_embd.weight", (64, 5)), Tensor(b"output_norm.weight", (64,))]


def llama_model(**changes: Value | None) -> bytes:
    return build(llama_metadata(**changes), LLAMA_TENSORS)


def parse_header(data: bytes, *, file_size_bytes: int | None = None) -> GGUFHeader:
    """Parse a header that is in memory: a whole file, or the beginning of a larger one."""
    size = len(data) if file_size_bytes is None else file_size_bytes
    return parse_source(lambda offset, count: data[offset : offset + count], size)
