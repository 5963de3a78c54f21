"""A LoRA adapter over a loaded model: read once, then in force on each context that is made with it.

Source: llama.h, llama_adapter_lora_init: "Load a LoRA adapter from file. The adapter is valid as long as the associated
model is not freed"; llama-context.cpp, graph_max_nodes: it counts the adapters that the model has, so they are read
before a context is made.
"""

import ctypes
from typing import NamedTuple

import llama_cpp

from backends.errors import EngineError, LoadError
from backends.llamacpp.library import LibraryLog
from backends.wire.load import LoadSpec


class LoraAdapter(NamedTuple):
    """Belongs to its model, and is freed with it.

    Attributes:
        pointer: A `llama_adapter_lora_p` of the library.
    """

    pointer: object
    scale: float

    def apply_to(self, context: object) -> None:
        """Put it in force on a context, for everything that is computed from then on.

        Args:
            context: A `llama_context_p` of its model.

        Raises:
            EngineError: The library refused.
        """
        adapters = (llama_cpp.llama_adapter_lora_p_ctypes * 1)(self.pointer)
        scales = (ctypes.c_float * 1)(self.scale)
        status = llama_cpp.llama_set_adapters_lora(context, adapters, 1, scales)
        if status != 0:
            raise EngineError(f"llama.cpp could not use the adapter: status {status}")


def load_adapter(model: object, spec: LoadSpec, log: LibraryLog) -> LoraAdapter | None:
    """Read the adapter that a load asks for.

    Args:
        model: A loaded `llama_model_p` without a context so far.
        log: What the library says is heard there.

    Returns:
        The adapter, None where the load asks for none.

    Raises:
        LoadError: The library refused the file, in its own words.
    """
    if spec.adapter_path is None:
        return None
    pointer = llama_cpp.llama_adapter_lora_init(model, spec.adapter_path.encode())
    if not pointer:
        raise LoadError(f"llama.cpp could not load the adapter {spec.adapter_path}: {log.words or 'it gave no reason'}")
    return LoraAdapter(pointer, spec.adapter_scale)
