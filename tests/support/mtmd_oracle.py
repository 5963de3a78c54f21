"""What libmtmd makes of an image, as an oracle: rows and positions of a size without pixels, and a tower's pixels."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

RGB = np.ndarray[Any, np.dtype[np.uint8]]
Pixels = np.ndarray[Any, np.dtype[np.float32]]


class _Tensor(ctypes.Structure):
    """Source: ggml.h of llama-cpp-python 0.3.36, ggml_tensor."""


_Tensor._fields_ = [
    ("type", ctypes.c_int),
    ("buffer", ctypes.c_void_p),
    ("ne", ctypes.c_int64 * 4),
    ("nb", ctypes.c_size_t * 4),
    ("op", ctypes.c_int),
    ("op_params", ctypes.c_int32 * 16),
    ("flags", ctypes.c_int32),
    ("src", ctypes.POINTER(_Tensor) * 10),
    ("view_src", ctypes.c_void_p),
    ("view_offs", ctypes.c_size_t),
    ("data", ctypes.c_void_p),
    ("name", ctypes.c_char * 64),
]


class ImageChunk(NamedTuple):
    """What libmtmd makes of an image, or of a tile.

    Attributes:
        places: (time, height, width) of each row from the first position on.
    """

    num_rows: int
    num_positions: int
    places: list[tuple[int, int, int]]


class Projector:
    """A projector beside its text model, loaded by libmtmd."""

    def __init__(self, context: Any, inputs: list[Pixels]) -> None:
        self._context = context
        self._inputs = inputs

    @property
    def uses_mrope(self) -> bool:
        from llama_cpp import mtmd_cpp

        return bool(mtmd_cpp.mtmd_decode_use_mrope(self._context))

    def is_non_causal(self, width: int, height: int) -> bool:
        from llama_cpp import mtmd_cpp

        with self._tokenized(width, height) as chunks:
            kinds = [mtmd_cpp.mtmd_decode_use_non_causal(self._context, chunk) for chunk in _image_chunks(chunks)]
        return all(kinds)

    def chunks_of(self, width: int, height: int) -> list[ImageChunk]:
        """Return the chunks of an image of a size; those of text around them are left out."""
        with self._tokenized(width, height) as chunks:
            return [_counted(chunk) for chunk in _image_chunks(chunks)]

    def inputs_of(self, rgb: RGB, num: int | None = None) -> list[Pixels]:
        """Return what the tower is given of an image, (3, height, width) for each of its first `num` chunks."""
        from llama_cpp import mtmd_cpp

        height, width, _ = rgb.shape
        found = []
        with self._tokenized(width, height, np.ascontiguousarray(rgb)) as chunks:
            for chunk in list(_image_chunks(chunks))[:num]:
                self._inputs.clear()
                assert mtmd_cpp.mtmd_encode_chunk(self._context, chunk) == 0
                found.append(self._inputs[0])
        return found

    @contextmanager
    def _tokenized(self, width: int, height: int, rgb: RGB | None = None) -> Iterator[Any]:
        from llama_cpp import mtmd_cpp

        marker = mtmd_cpp.mtmd_default_marker()
        text = mtmd_cpp.mtmd_input_text()
        text.text, text.text_len, text.add_special, text.parse_special = marker, len(marker), False, True
        pixels = None if rgb is None else rgb.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
        bitmap = mtmd_cpp.mtmd_bitmap_init(width, height, pixels)
        chunks = mtmd_cpp.mtmd_input_chunks_init()
        try:
            bitmaps = (mtmd_cpp.mtmd_bitmap_p_ctypes * 1)(bitmap)
            status = mtmd_cpp.mtmd_tokenize(self._context, chunks, ctypes.byref(text), bitmaps, 1)
            assert status == 0, f"mtmd_tokenize of {width} x {height}: status {status}"
            yield chunks
        finally:
            mtmd_cpp.mtmd_input_chunks_free(chunks)
            mtmd_cpp.mtmd_bitmap_free(bitmap)


def _image_chunks(chunks: Any) -> Iterator[Any]:
    from llama_cpp import mtmd_cpp

    for index in range(mtmd_cpp.mtmd_input_chunks_size(chunks)):
        chunk = mtmd_cpp.mtmd_input_chunks_get(chunks, index)
        if mtmd_cpp.mtmd_input_chunk_get_type(chunk) != mtmd_cpp.MTMD_INPUT_CHUNK_TYPE_TEXT:
            yield chunk


def _counted(chunk: Any) -> ImageChunk:
    from llama_cpp import mtmd_cpp

    num_rows = mtmd_cpp.mtmd_input_chunk_get_n_tokens(chunk)
    tokens = mtmd_cpp.mtmd_input_chunk_get_tokens_image(chunk)
    at = [mtmd_cpp.mtmd_image_tokens_get_decoder_pos(tokens, 0, index) for index in range(num_rows)]
    return ImageChunk(num_rows, mtmd_cpp.mtmd_input_chunk_get_n_pos(chunk), [(p.t, p.y, p.x) for p in at])


def _watching(inputs: list[Pixels]) -> Any:
    """Return a callback that copies the tower's input before the first operation on it."""
    import llama_cpp

    def on_node(address: int, is_question: bool, _: Any) -> bool:  # noqa: FBT001 - llama.cpp's signature
        if is_question and not inputs:
            tensor = ctypes.cast(address, ctypes.POINTER(_Tensor)).contents
            for source in tensor.src:
                if source and source.contents.name == b"inp_raw":
                    width, height, channels, _ = source.contents.ne
                    floats = ctypes.cast(source.contents.data, ctypes.POINTER(ctypes.c_float))
                    inputs.append(np.ctypeslib.as_array(floats, shape=(channels, height, width)).copy())
        return not is_question  # a question: whether to stop behind this node; else whether to go on

    return llama_cpp.ggml_backend_sched_eval_callback(on_node)


@cache
def _quiet() -> Any:
    """Return a log that says nothing; kept, for the library calls it from then on."""
    import llama_cpp

    return llama_cpp.llama_log_callback(lambda _level, _text, _data: None)


@contextmanager
def loaded(text_model: Path, projector: Path, limits: tuple[int, int] | None = None) -> Iterator[Projector]:
    """Load a projector, with the bounds that it is told of an image's rows."""
    import llama_cpp
    from llama_cpp import mtmd_cpp

    quiet = _quiet()
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    mtmd_cpp.mtmd_helper_log_set(quiet, ctypes.c_void_p(0))
    model_params = llama_cpp.llama_model_default_params()
    model_params.vocab_only = False
    model_params.n_gpu_layers = 0
    model = llama_cpp.llama_model_load_from_file(str(text_model).encode(), model_params)
    assert model, text_model
    params = mtmd_cpp.mtmd_context_params_default()
    params.use_gpu, params.n_threads, params.warmup, params.print_timings = False, 1, False, False
    inputs: list[Pixels] = []
    params.cb_eval = watching = _watching(inputs)
    if limits is not None:
        params.image_min_tokens, params.image_max_tokens = limits
    context = mtmd_cpp.mtmd_init_from_file(str(projector).encode(), model, params)
    assert context, projector
    try:
        yield Projector(context, inputs)
    finally:
        mtmd_cpp.mtmd_free(context)
        del watching
        llama_cpp.llama_model_free(model)
