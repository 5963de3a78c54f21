"""A context that begins with few of the cells that it is to have, and is made anew with more when these are used up.

The library writes zeros over all cells of a new context and cannot enlarge one. So the state of all sequences is copied
out as a whole, cells that several share once, and put into a larger context; what it holds is the same as before, in
the same order. Not here: how large (`growth`), and when (`loaded`).

Source: llama.h, `llama_state_get_data`; llama-kv-cache.cpp, `state_write` and `state_read` with `seq_id == -1`.
"""

import ctypes
import mmap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

import llama_cpp

from backends.errors import EngineError, EngineLostError
from backends.llamacpp.adapters import LoraAdapter
from backends.llamacpp.growth import larger_sizes, padded
from backends.llamacpp.library import LibraryLog
from backends.machine.current import current_platform

_POLL_S: Final = 0.02


class Growth(NamedTuple):
    """What came of a wish for more cells.

    Attributes:
        is_emptied: There was no memory for a copy of what the cells held: all sequences are to be computed anew.
        why_not: Why it is not larger, for people.
    """

    is_larger: bool
    is_emptied: bool = False
    why_not: str = ""


class Context:
    """Owns a `llama_context_p`, which is another one after each growth.

    Args:
        model: A loaded `llama_model_p`, which must outlive this object.
        params: The `llama_context_params` to make it with; `n_ctx` is what it may grow to. Changed here.
        num_cells: What it begins with.
        log: What the library says is heard there.
        adapter: What is laid over the model.
        checks_memory: Whether the machine is asked before it grows.

    Attributes:
        num_promised: Cells that it may grow to.
        num_cells: That there are now.
        num_growths: How often there have become more.
        growth_s: What that took, together.
    """

    def __init__(
        self,
        model: object,
        params: Any,
        num_cells: int,
        log: LibraryLog,
        adapter: LoraAdapter | None = None,
        *,
        checks_memory: bool = True,
    ) -> None:
        self._model = model
        self._params = params
        self._log = log
        self._adapter = adapter
        self._checks_memory = checks_memory
        self.num_promised = padded(params.n_ctx)
        self.num_growths = 0
        self.growth_s = 0.0
        self.num_cells = num_cells
        self._pointer: object = None
        said_bytes = log.cache_bytes
        self._make(num_cells)
        self._cell_bytes = (log.cache_bytes - said_bytes) / num_cells

    @property
    def is_made(self) -> bool:
        """Whether the library could make it."""
        return bool(self._pointer)

    @property
    def pointer(self) -> object:
        """The `llama_context_p` of now."""
        assert self._pointer, "it was made"
        return self._pointer

    @property
    def memory(self) -> Any:
        """Its `llama_memory_t` of now."""
        return llama_cpp.llama_get_memory(self.pointer)

    @property
    def can_grow(self) -> bool:
        """Whether there may be more cells than there are."""
        return self.num_cells < self.num_promised

    def grow(
        self,
        *,
        num_needed: int,
        num_wanted: int = 0,
        may_empty: bool = False,
        poll: Callable[[], object] | None = None,
    ) -> Growth:
        """Have more cells.

        Args:
            num_needed: How many there must be at least.
            num_wanted: How many there had better be.
            may_empty: Whether it may come back empty where a copy of what it holds has no place beside it.
            poll: Called now and then meanwhile, on this thread.

        Raises:
            EngineLostError: There is neither a larger context nor the old one any more.
        """
        growth = Growth(is_larger=False, why_not="it has all cells that it may have")
        for size in larger_sizes(self.num_cells, self.num_promised, num_needed=num_needed, num_wanted=num_wanted):
            growth = self._grow_to(size, poll, may_empty=may_empty)
            if growth.is_larger or growth.is_emptied:
                break
        return growth

    def close(self) -> None:
        """Free it; idempotent."""
        if self._pointer:
            llama_cpp.llama_free(self._pointer)
        self._pointer = None

    def _grow_to(self, size: int, poll: Callable[[], object] | None, *, may_empty: bool) -> Growth:
        state_bytes = int(llama_cpp.llama_state_get_size(self.pointer))
        more_bytes = round((size - self.num_cells) * self._cell_bytes)
        free_bytes = current_platform().memory().available_bytes if self._checks_memory else None
        carries = free_bytes is None or more_bytes + state_bytes <= free_bytes
        if free_bytes is not None and (more_bytes > free_bytes or not (carries or may_empty)):
            wanted_bytes = more_bytes + (0 if may_empty else state_bytes)
            return Growth(
                is_larger=False,
                why_not=f"{size} tokens take {wanted_bytes / 1e9:.2f} GB more, and {free_bytes / 1e9:.2f} GB is free",
            )
        begun_at = time.monotonic()
        growth = _polled(lambda: self._remake(size, carries=carries, may_empty=may_empty), poll)
        self.growth_s += time.monotonic() - begun_at
        self.num_growths += growth.is_larger
        return growth

    def _remake(self, size: int, *, carries: bool, may_empty: bool) -> Growth:
        state = self._read() if carries else None
        if state is None and not may_empty:
            return Growth(is_larger=False, why_not=f"there is no memory for a copy of {self.num_cells} tokens")
        self.close()
        before, why_not = self.num_cells, ""
        try:
            if not self._make(size):
                why_not = f"llama.cpp could not make a context of {size} tokens: {self._log.words}"
                if not self._make(before):
                    raise EngineLostError(f"{why_not}; nor the one of {before} tokens again")
        except EngineError as exc:  # of the adapter: what is there now is another model
            raise EngineLostError(str(exc)) from exc
        if state is not None and llama_cpp.llama_state_set_data(self.pointer, state, len(state)) != len(state):
            raise EngineLostError(f"llama.cpp did not take back what {before} cells held: {self._log.words}")
        return Growth(is_larger=not why_not, is_emptied=state is None, why_not=why_not)

    def _make(self, size: int) -> bool:
        self._params.n_ctx = size
        self._pointer = llama_cpp.llama_init_from_model(self._model, self._params)
        if not self._pointer:
            return False
        self.num_cells = size
        if self._adapter is not None:
            self._adapter.apply_to(self._pointer)
        return True

    def _read(self) -> Any:
        """Return a copy of all that it holds, a ctypes array of uint8; None where there is no memory for it."""
        size = int(llama_cpp.llama_state_get_size(self.pointer))
        try:
            # Mapped, so that the system has the memory back as soon as it is dropped.
            data = (ctypes.c_uint8 * size).from_buffer(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANON))
        except (OSError, ValueError):
            return None
        return data if llama_cpp.llama_state_get_data(self.pointer, data, size) == size else None


def _polled(work: Callable[[], Growth], poll: Callable[[], object] | None) -> Growth:
    """Do work that takes long; where something is to be looked at meanwhile, on a thread beside this one."""
    if poll is None:
        return work()
    with ThreadPoolExecutor(1, thread_name_prefix="context-growth") as pool:
        future = pool.submit(work)
        while True:
            try:
                return future.result(_POLL_S)
            except TimeoutError:
                poll()
