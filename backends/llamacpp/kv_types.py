"""How llama.cpp's KV cache is stored: its element type, and whether attention may be computed in one piece over it.

Not here: how much memory that takes before a load (`registry.memory_fit`).
"""

from typing import Any, Final

import llama_cpp

from backends.errors import LoadError
from backends.wire.messages import LoadSpec

# Source: ggml.h, enum ggml_type; the Python package names all of these but bfloat16.
_FLOAT_TYPES: Final = {"f32": llama_cpp.GGML_TYPE_F32, "f16": llama_cpp.GGML_TYPE_F16, "bf16": 30}
_QUANTIZED_TYPES: Final = {
    "q8_0": llama_cpp.GGML_TYPE_Q8_0,
    "q5_1": llama_cpp.GGML_TYPE_Q5_1,
    "q5_0": llama_cpp.GGML_TYPE_Q5_0,
    "q4_1": llama_cpp.GGML_TYPE_Q4_1,
    "q4_0": llama_cpp.GGML_TYPE_Q4_0,
}
_TYPES: Final = _FLOAT_TYPES | _QUANTIZED_TYPES

# Source: llama.h, enum llama_flash_attn_type.
_FLASH_ATTENTION: Final = {"auto": -1, "off": 0, "on": 1}


def set_cache_types(params: Any, spec: LoadSpec, *, has_float32_weights: bool) -> None:
    """Set the cache's types and flash attention of a new context.

    A model with float32 weights keeps attention in float32 too, unless told otherwise: kernels round differently by
    batch size, in the last bit of float32; half precision in the cache or inside flash attention makes that a thousand
    times larger, and a batch's size would tip draws.

    Args:
        params: The `llama_context_params` to be changed.
        has_float32_weights: Whether all of the model's matrices are float32.

    Raises:
        LoadError: The type is unknown, or needs flash attention, which is off.
    """
    kv_type = spec.kv_type
    if kv_type is not None and kv_type not in _TYPES:
        raise LoadError(f"kv_type: llama.cpp has no KV cache of type {kv_type!r:.20}; choose {', '.join(_TYPES)}")
    is_quantized = kv_type in _QUANTIZED_TYPES
    # Source: llama-context.cpp, "V cache quantization requires flash_attn".
    if is_quantized and spec.flash_attention == "off":
        raise LoadError(
            f"kv_type {kv_type} needs flash attention, and llamacpp.flash_attention is off: set that to auto or on, "
            f"or choose one of the types {', '.join(_FLOAT_TYPES)}"
        )
    params.flash_attn_type = _FLASH_ATTENTION[spec.flash_attention]
    if kv_type is not None:
        params.type_k = params.type_v = _TYPES[kv_type]
    if has_float32_weights and spec.flash_attention == "auto" and not is_quantized:
        params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        if kv_type is None:
            params.type_k = params.type_v = llama_cpp.GGML_TYPE_F32


def no_context_error(spec: LoadSpec, num_cells: int, words: str) -> LoadError:
    """Return the error for a context that the library did not make."""
    if spec.kv_type not in _QUANTIZED_TYPES:
        return LoadError(f"llama.cpp could not make a context of {num_cells} tokens: {words}")
    # Besides a lack of memory: rows of a head that are no multiple of a block (32), and models that cannot do with
    # flash attention.
    return LoadError(
        f"llama.cpp could not make a context of {num_cells} tokens with a KV cache of type {spec.kv_type}: {words}; "
        "not every model can have a quantized one: kv_type f16 always works"
    )
