"""libmtmd's own count of what an image becomes, as an oracle: it is given sizes without pixels."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple


class ImageChunk(NamedTuple):
    """What libmtmd makes of an image, or of a tile.

    Attributes:
        places: (time, height, width) of each row from the first position on.
    """

    num_rows: int
    num_positions: int
    places: list[tuple[int, int, int]]


class Counter:
    """A projector beside its text model, loaded by libmtmd."""

    def __init__(self, context: Any) -> None:
        self._context = context

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

    @contextmanager
    def _tokenized(self, width: int, height: int) -> Iterator[Any]:
        from llama_cpp import mtmd_cpp

        marker = mtmd_cpp.mtmd_default_marker()
        text = mtmd_cpp.mtmd_input_text()
        text.text, text.text_len, text.add_special, text.parse_special = marker, len(marker), False, True
        bitmap = mtmd_cpp.mtmd_bitmap_init(width, height, None)
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


@contextmanager
def loaded(text_model: Path, projector: Path, limits: tuple[int, int] | None = None) -> Iterator[Counter]:
    """Load a projector, with the bounds that it is told of an image's rows."""
    import llama_cpp
    from llama_cpp import mtmd_cpp

    quiet = llama_cpp.llama_log_callback(lambda _level, _text, _data: None)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    mtmd_cpp.mtmd_helper_log_set(quiet, ctypes.c_void_p(0))
    model_params = llama_cpp.llama_model_default_params()
    model_params.vocab_only = False
    model_params.n_gpu_layers = 0
    model = llama_cpp.llama_model_load_from_file(str(text_model).encode(), model_params)
    assert model, text_model
    params = mtmd_cpp.mtmd_context_params_default()
    params.use_gpu, params.n_threads, params.warmup, params.print_timings = False, 1, False, False
    if limits is not None:
        params.image_min_tokens, params.image_max_tokens = limits
    context = mtmd_cpp.mtmd_init_from_file(str(projector).encode(), model, params)
    assert context, projector
    try:
        yield Counter(context)
    finally:
        mtmd_cpp.mtmd_free(context)
        llama_cpp.llama_model_free(model)
