"""Whether llama.cpp would load a well-formed GGUF file, judged from its header.

A malformed model aborts the process that loads it; what can be seen beforehand is said beforehand. Not here: the rules
of the format itself (`header.py` refuses those files).

Source: llama.cpp's llama-model.cpp, llama-vocab.cpp and llama-hparams.h; each abort listed here was reported upstream
or seen with a file built for it.
"""

import math
from collections.abc import Iterator

from registry.facts import ModelKind
from registry.gguf.constants import MAX_BLOCKS, MAX_EXPERTS, MAX_INT32, TYPE_STRING, TYPE_UINT32
from registry.gguf.header import TEMPLATE_KEY, GGUFHeader, Scalar

_TYPE_INT32 = 5
_TYPE_FLOAT32 = 6
_BYTE_TOKEN_MODELS = frozenset({"llama", "t5", "plamo2"})
"""Tokenizers whose byte tokens are written `<0xHH>`."""

_WITHOUT_ATTENTION = frozenset({"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"})
"""Architectures whose files have no heads, and say so. Source: llama-arch.cpp, `llm_arch_is_recurrent`."""


def warnings_for(header: GGUFHeader) -> Iterator[str]:
    """Give one sentence per oddity that does not keep a file from being loaded."""
    if TEMPLATE_KEY in header.omitted_strings:
        yield f"the chat template has {header.omitted_strings[TEMPLATE_KEY]} bytes and is not used"
    if header.data_offset + header.data_bytes + header.alignment < header.file_size_bytes and header.num_tensors:
        yield "there are more bytes in the file than its tensors need"


def reasons_not_loadable(header: GGUFHeader, kind: ModelKind) -> Iterator[str]:
    """Give one sentence per reason why the engine would not load a file; none when nothing is known against it."""
    if header.is_big_endian:
        yield "big_endian_unsupported: the file is for big-endian machines"
    if kind in {ModelKind.MODEL, ModelKind.EMBEDDING}:
        architecture = header.architecture
        if not architecture:
            yield "general.architecture is missing"
            return
        yield from _shape_reasons(header, architecture)
        yield from _expert_reasons(header, architecture)
        yield from _epsilon_reasons(header, architecture)
        yield from _vocabulary_reasons(header)
        if header.has_tower:
            # Source: llama-model-loader.cpp, done_getting_tensors: "wrong number of tensors; expected 658, got 418".
            yield (
                "its vision tower is in the same file, as Ollama's own engine has it, which llama.cpp refuses; get a "
                "GGUF with a projector (mmproj) beside it: `mlxr models search NAME`"
            )


def _is_between(value: Scalar | None, low: int, high: int) -> bool:
    return isinstance(value, int) and low <= value <= high


def _shape_reasons(header: GGUFHeader, architecture: str) -> Iterator[str]:
    metadata = header.metadata
    block_key = f"{architecture}.block_count"
    num_blocks = metadata.get(block_key)
    if num_blocks is None:
        yield f"{block_key} is missing"
    elif header.value_types[block_key] != TYPE_UINT32:
        yield f"{block_key} is not a uint32"
    elif not _is_between(num_blocks, 1, MAX_BLOCKS):
        yield f"{block_key} is {num_blocks}, not in 1..{MAX_BLOCKS}"
    for name in ("context_length", "embedding_length"):
        key = f"{architecture}.{name}"
        if not _is_between(metadata.get(key), 1, MAX_INT32):
            yield f"{key} is {metadata.get(key, 'missing')}, not in 1..{MAX_INT32}"
    yield from _head_reasons(header, architecture, num_blocks)


def _head_reasons(header: GGUFHeader, architecture: str, num_blocks: Scalar | None) -> Iterator[str]:
    least = 0 if architecture in _WITHOUT_ATTENTION else 1
    for name in ("attention.head_count", "attention.head_count_kv"):
        key = f"{architecture}.{name}"
        array = header.arrays.get(key)
        if array is not None:
            if array.length != num_blocks:
                yield f"{key} has {array.length} numbers for {num_blocks} layers"
        elif key in header.metadata and not _is_between(header.metadata[key], least, MAX_INT32):
            yield f"{key} is {header.metadata[key]}, not in {least}..{MAX_INT32}"


def _expert_reasons(header: GGUFHeader, architecture: str) -> Iterator[str]:
    count = header.metadata.get(f"{architecture}.expert_count", 0)
    used = header.metadata.get(f"{architecture}.expert_used_count", 0)
    if not _is_between(count, 0, MAX_EXPERTS):
        yield f"{architecture}.expert_count is {count}, not in 0..{MAX_EXPERTS}"
    elif not _is_between(used, 1 if count else 0, int(count)):
        yield f"{architecture}.expert_used_count is {used} of {count} experts"


def _epsilon_reasons(header: GGUFHeader, architecture: str) -> Iterator[str]:
    for name in ("layer_norm_rms_epsilon", "layer_norm_epsilon"):
        key = f"{architecture}.attention.{name}"
        value = header.metadata.get(key)
        if value is not None and not (isinstance(value, float) and math.isfinite(value) and value >= 0):
            yield f"{key} is {value}, not a small positive number"


def _vocabulary_reasons(header: GGUFHeader) -> Iterator[str]:
    tokens = header.arrays.get("tokenizer.ggml.tokens")
    if tokens is None:
        if header.metadata.get("tokenizer.ggml.model") not in {None, "none", "no_vocab"}:
            yield "tokenizer.ggml.tokens is missing"
        return
    if tokens.element_type != TYPE_STRING:
        yield "tokenizer.ggml.tokens is not an array of strings"
    for name, element_type in (("scores", _TYPE_FLOAT32), ("token_type", _TYPE_INT32)):
        array = header.arrays.get(f"tokenizer.ggml.{name}")
        if array is not None and (array.element_type != element_type or array.length < tokens.length):
            yield f"tokenizer.ggml.{name} does not fit the {tokens.length} tokens"
    for name in ("bos", "eos"):
        token_id = header.metadata.get(f"tokenizer.ggml.{name}_token_id")
        if token_id is not None and not _is_between(token_id, 0, tokens.length - 1):
            yield f"tokenizer.ggml.{name}_token_id is {token_id}, but there are {tokens.length} tokens"
    if header.has_bad_byte_tokens and header.metadata.get("tokenizer.ggml.model") in _BYTE_TOKEN_MODELS:
        yield "a byte token is not of the form <0xHH>"
