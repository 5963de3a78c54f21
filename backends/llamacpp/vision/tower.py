"""A vision tower on the CPU: all that is used of libmtmd, which makes rows of pixels and nothing else here.

It is given pixels that are prepared already, never a file: its own readers start other programs. Tokens around
pictures, positions and batches are the engine's business.

Source: llama.cpp, tools/mtmd/mtmd.h, of llama-cpp-python 0.3.36 ("experimental, subject to breaking changes").
"""

import contextlib
import ctypes
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import llama_cpp
import numpy as np
from llama_cpp import mtmd_cpp

from backends.embedding import Floats
from backends.errors import EngineError
from backends.images.families import family_of
from backends.images.tower import Tower
from backends.llamacpp.library import LibraryLog
from backends.sequence import Grid, Tile

_POLL_S: Final = 0.08
"""Computing this long between two looks at whether an encoding is to be given up."""
_LEAST_NODES, _MOST_NODES = 8, 64
"""Of the graph between two looks: fewer cost a tenth of the time and more, these some percent of it."""


def _never() -> bool:
    return False


class VisionTower:
    """Loaded with the first tile, or when asked to; used by one thread at a time, beside the model's context or not.

    Args:
        model: The `llama_model_p` that its rows are for; must outlive this object.
        path: Its projector's file.
        tower: What that says of itself.
        flash_attention: As llama.h's `llama_flash_attn_type` has it.
    """

    def __init__(
        self, model: object, path: str, tower: Tower, log: LibraryLog, *, num_threads: int, flash_attention: int
    ) -> None:
        self._model = model
        self._path = path
        self._tower = tower
        self._log = log
        self._num_threads = num_threads
        self._flash_attention = flash_attention
        self._width = llama_cpp.llama_model_n_embd_inp(model)
        self._polls = _Polls()
        self._context: Any = None

    def load(self, grid: Grid) -> None:
        """Load the projector, unless it is there already.

        Args:
            grid: Of its tiles; where they are of any size, of any one.

        Raises:
            EngineError: It cannot be used; in the library's words.
        """
        if self._context is not None:
            return
        # The library calls it as long as the process lives; a log of this process is kept as long.
        mtmd_cpp.mtmd_helper_log_set(self._log.callback, ctypes.c_void_p(0))
        path = self._path.encode()
        if not mtmd_cpp.mtmd_get_cap_from_file(path).inp_vision:
            raise EngineError(f"{self._path} is no projector for images; pull the model anew, or set vision: off")
        context = mtmd_cpp.mtmd_init_from_file(path, self._model, self._params(grid))
        if not context:
            words = self._log.words or "it gave no reason"
            raise EngineError(f"llama.cpp could not load the projector {self._path}: {words}")
        self._context = context
        self._check_devices()

    def encode(self, tile: Tile, should_abort: Callable[[], bool]) -> Floats | None:
        """Return a tile's rows, float32, shape (size, width of the model's inputs); None = it was given up.

        Raises:
            EngineError: The projector cannot be loaded, or failed.
        """
        self.load(tile.grid)
        with self._image_chunk(tile.pixels) as chunk, self._polls.asking(should_abort) as polls:
            num_rows = mtmd_cpp.mtmd_input_chunk_get_n_tokens(chunk)
            if num_rows != tile.size:
                raise EngineError(f"llama.cpp made {num_rows} rows of a picture that has {tile.size}")
            status = mtmd_cpp.mtmd_encode_chunk(self._context, chunk)
            if polls.is_given_up:
                return None
            if status != 0:
                raise EngineError(f"llama.cpp could not encode the picture: status {status}; {self._log.words}")
            self._check_devices()
            values = mtmd_cpp.mtmd_get_output_embd(self._context)
            return np.ctypeslib.as_array(values, shape=(num_rows, self._width)).copy()

    def close(self) -> None:
        """Give the tower's memory back; the next tile would load it again."""
        if self._context is not None:
            mtmd_cpp.mtmd_free(self._context)
            self._context = None

    def _params(self, grid: Grid) -> Any:
        params = mtmd_cpp.mtmd_context_params_default()
        params.use_gpu = params.warmup = params.print_timings = False
        params.n_threads = self._num_threads
        params.flash_attn_type = self._flash_attention
        limits = family_of(self._tower.family).token_limits
        if limits is not None:
            params.image_min_tokens, params.image_max_tokens = limits(grid)
        params.cb_eval = self._polls.callback
        return params

    def _check_devices(self) -> None:
        foreign = self._log.foreign_devices
        if foreign:
            self.close()
            raise EngineError(f"llama.cpp put parts of the projector on {', '.join(foreign)}, not on the CPU")

    @contextlib.contextmanager
    def _image_chunk(self, pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> Iterator[Any]:
        """Yield the library's first image chunk of some pixels; a tiled family's only tile comes twice."""
        marker = mtmd_cpp.mtmd_default_marker()
        text = mtmd_cpp.mtmd_input_text(marker, len(marker), False, True)
        height, width, _ = pixels.shape
        values = np.ascontiguousarray(pixels)
        chunks = mtmd_cpp.mtmd_input_chunks_init()
        bitmap = mtmd_cpp.mtmd_bitmap_init(width, height, values.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8)))
        try:
            bitmaps = (mtmd_cpp.mtmd_bitmap_p_ctypes * 1)(bitmap)
            status = mtmd_cpp.mtmd_tokenize(self._context, chunks, ctypes.byref(text), bitmaps, 1)
            if status != 0:
                raise EngineError(f"llama.cpp could not prepare the picture: status {status}; {self._log.words}")
            yield _first_image(chunks)
        finally:
            mtmd_cpp.mtmd_input_chunks_free(chunks)
            mtmd_cpp.mtmd_bitmap_free(bitmap)


def _first_image(chunks: object) -> object:
    listed = (mtmd_cpp.mtmd_input_chunks_get(chunks, at) for at in range(mtmd_cpp.mtmd_input_chunks_size(chunks)))
    return next(
        chunk for chunk in listed if mtmd_cpp.mtmd_input_chunk_get_type(chunk) == mtmd_cpp.MTMD_INPUT_CHUNK_TYPE_IMAGE
    )


class _Polls:
    """Interrupts a graph now and then to ask whether it is to go on.

    Source: ggml-backend.h, ggml_backend_sched_eval_callback: "when ask == true, the scheduler wants to know if the user
    wants to observe this node"; then all nodes up to it are computed, and with ask == false returning false "will
    cancel the graph compute". The library says that all is well then, so that it is noted here.

    Attributes:
        callback: Must live as long as the library's context.
        is_given_up: Whether the last graph was.
    """

    def __init__(self) -> None:
        self.callback = llama_cpp.ggml_backend_sched_eval_callback(self._on_node)
        self.is_given_up = False
        self._should_abort: Callable[[], bool] = _never
        self._nodes_a_poll = _LEAST_NODES
        self._num_nodes = 0
        self._polled_s = 0.0

    @contextlib.contextmanager
    def asking(self, should_abort: Callable[[], bool]) -> Iterator["_Polls"]:
        """Ask this while the body runs."""
        self._should_abort, self.is_given_up = should_abort, False
        self._num_nodes, self._nodes_a_poll, self._polled_s = 0, _LEAST_NODES, time.monotonic()
        try:
            yield self
        finally:
            self._should_abort = _never

    def _on_node(self, _tensor: object, is_question: bool, _user_data: object) -> bool:  # noqa: FBT001
        if is_question:
            self._num_nodes += 1
            return self._num_nodes >= self._nodes_a_poll
        now = time.monotonic()
        if now - self._polled_s < _POLL_S / 4:  # what comes next may take several times as long
            self._nodes_a_poll = min(_MOST_NODES, self._nodes_a_poll * 2)
        elif now - self._polled_s > _POLL_S:
            self._nodes_a_poll = max(_LEAST_NODES, self._nodes_a_poll // 2)
        self._num_nodes, self._polled_s = 0, now
        self.is_given_up = self.is_given_up or self._should_abort()
        return not self.is_given_up
