"""The part of a sequence's state that llama.cpp cannot cut, taken out of a context and put back: windows, recurrences.

Source: llama.h, `LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY`: "work only with partial states, such as SWA KV cache or recurrent
cache (e.g. Mamba)". What can be cut is left as it is; of a model that has nothing else, the part is the whole.
"""

import ctypes
import mmap
from typing import Any, Final

import llama_cpp

WHOLE: Final = llama_cpp.LLAMA_STATE_SEQ_FLAGS_NONE
PARTIAL: Final = llama_cpp.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY


def read_state(context: object, slot: int, flags: int) -> Any:
    """Return a copy of a slot's state as a ctypes array of uint8; None where there is no memory for it.

    Args:
        context: A `llama_context_p`.
    """
    size = llama_cpp.llama_state_seq_get_size_ext(context, slot, flags)
    try:
        # Mapped, so that the system has the memory back as soon as it is dropped.
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANON)
        data = (ctypes.c_uint8 * size).from_buffer(memory)
    except (OSError, ValueError):
        return None  # there is no memory for it, or nothing to be kept
    return data if llama_cpp.llama_state_seq_get_data_ext(context, data, size, slot, flags) == size else None


def write_state(context: object, slot: int, data: Any, flags: int) -> bool:
    """Put a state into a slot; return whether there was room for it."""
    size = len(data)
    return bool(llama_cpp.llama_state_seq_set_data_ext(context, data, size, slot, flags) == size)
