"""From a load's spec to a model in memory, how it sees, and what its context is to be made with."""

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import llama_cpp

from backends.errors import EngineError, LoadError, UnsupportedByModelError
from backends.llamacpp.caches import num_slots_for, set_cache_types
from backends.llamacpp.growth import first_size, padded
from backends.llamacpp.library import LibraryLog
from backends.machine.current import current_platform
from backends.wire.load import LoadSpec

if TYPE_CHECKING:
    from backends.llamacpp.vision.vision import Vision

DEFAULT_STEP_TOKENS = 512


def load_model(spec: LoadSpec, on_progress: Callable[[float], None], log: LibraryLog) -> object:
    """Return a `llama_model_p`.

    Raises:
        LoadError: The library refused the file, in its own words, or the model generates no text.
    """
    params = llama_cpp.llama_model_default_params()
    # An empty list of devices, so that not even a build with Metal has one to use.
    no_devices = (ctypes.c_void_p * 1)(None)
    params.devices = ctypes.cast(no_devices, ctypes.c_void_p)
    params.n_gpu_layers = 0
    params.load_mode = llama_cpp.LLAMA_LOAD_MODE_MMAP if spec.use_mmap else llama_cpp.LLAMA_LOAD_MODE_NONE

    def report(fraction: float, _user_data: object) -> bool:
        on_progress(fraction)
        return True

    callback = llama_cpp.llama_progress_callback(report)
    params.progress_callback = callback
    model: object = llama_cpp.llama_model_load_from_file(spec.model_path.encode(), params)
    if not model:
        raise LoadError(f"llama.cpp could not load {spec.model_path}: {log.words or 'it gave no reason'}")
    if not llama_cpp.llama_model_has_decoder(model) or llama_cpp.llama_model_has_encoder(model):
        llama_cpp.llama_model_free(model)
        raise LoadError(f"{spec.model_path} is not a decoder-only model; it cannot generate text here")
    return model


def vision_of(spec: LoadSpec, model: object) -> "tuple[Vision | None, str | None]":
    """Return how a model sees, or why it does not although it was to.

    Raises:
        LoadError: It must see, and cannot.
    """
    if spec.vision is None:
        return None, None
    from backends.llamacpp.vision.vision import Vision  # noqa: PLC0415 - it brings Pillow, needed by no other worker

    try:
        return Vision(spec.vision, model), None
    except UnsupportedByModelError as exc:
        if spec.vision.is_preloaded:
            raise LoadError(str(exc)) from exc
        return None, str(exc)


def prepare_vision(vision: "Vision", spec: LoadSpec, params: Any, log: LibraryLog) -> None:
    """Fit it to a context, and load the tower where it is wanted at once.

    Args:
        params: The `llama_context_params` that the context was made with.

    Raises:
        LoadError: The tower cannot be used.
    """
    vision.prepare(log, capacity=params.n_ubatch, num_threads=params.n_threads, flash_attention=params.flash_attn_type)
    if spec.vision is not None and spec.vision.is_preloaded:
        try:
            vision.load_tower()
        except EngineError as exc:
            raise LoadError(str(exc)) from exc


def context_params(model: object, spec: LoadSpec, num_whole_rows: int) -> Any:
    """Return the `llama_context_params` for a load.

    Args:
        num_whole_rows: Rows that a step must be able to evaluate at once.
    """
    params = llama_cpp.llama_context_default_params()
    params.n_seq_max = num_slots_for(model, spec, has_full_windows=params.swa_full)
    # The library keeps room for one output of each sequence, and aborts where that is more than a batch or than cells.
    params.n_ctx = max(context_length(model, spec), spec.kv_cells or 0, params.n_seq_max)
    params.n_ubatch = min(max(spec.step_tokens or DEFAULT_STEP_TOKENS, num_whole_rows), params.n_ctx)
    params.n_batch = max(params.n_ubatch, params.n_seq_max)
    params.kv_unified = True
    params.offload_kqv = False
    params.op_offload = False
    params.no_perf = True
    set_cache_types(params, spec, has_float32_weights=has_float32_weights(model))
    num_threads = spec.num_threads or spec.max_threads or current_platform().num_compute_threads()
    params.n_threads = params.n_threads_batch = num_threads
    return params


def num_first_cells(model: object, spec: LoadSpec, params: Any) -> int:
    """Return the cells that a context begins with: all, unless it is to grow and can without a difference.

    A recurrent memory has no cells, and nothing to gain. Where a model's rotation hangs on the context's length, it
    begins with so many that the rotation is that of all of them. Source: llama-model.cpp, `get_rope_factors`: "choose
    long/short freq factors based on the context size".

    Args:
        params: The `llama_context_params` of all of them.
    """
    num_promised = padded(params.n_ctx)
    if llama_cpp.llama_model_is_recurrent(model):
        return num_promised
    least = [params.n_ubatch, params.n_seq_max]
    original = _original_context(model)
    if original is not None and num_promised > original:
        least.append(original + 1)
    return first_size(num_promised, spec.first_cells, least)


def _original_context(model: object) -> int | None:
    """Return the context of which a model with stretched rotations says that it was made for it first."""
    text = ctypes.create_string_buffer(64)
    num = llama_cpp.llama_model_meta_val_str(model, b"general.architecture", text, len(text))
    key = text.value + b".rope.scaling.original_context_length"
    if num <= 0 or llama_cpp.llama_model_meta_val_str(model, key, text, len(text)) <= 0 or not text.value.isdigit():
        return None
    return int(text.value)


def context_length(model: object, spec: LoadSpec) -> int:
    """Return the tokens that one sequence may hold."""
    trained: int = llama_cpp.llama_model_n_ctx_train(model)
    return min(spec.context_length, trained) if trained > 0 else spec.context_length


def has_float32_weights(model: object) -> bool:
    """Tell models all of whose matrices are float32. Source: llama.h, `LLAMA_FTYPE_ALL_F32 = 0`."""
    buffer = ctypes.create_string_buffer(16)
    num = llama_cpp.llama_model_meta_val_str(model, b"general.file_type", buffer, len(buffer))
    return num > 0 and buffer.value == str(llama_cpp.LLAMA_FTYPE_ALL_F32).encode()
