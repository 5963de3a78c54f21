"""Gives up a step whose threads wait for cores, without asking Python at every node of its graph.

The library asks a C function at each node whether to go on. Here that is `strlen` of a text that is empty until a
thread beside the step finds it crowded. A step of one token that takes 6 ms takes seconds on two threads beside busy
processes, so that waiting for its end to learn of it would be too late.
"""

import ctypes
import threading
import time
from collections.abc import Callable
from typing import Any

import llama_cpp

from backends.llamacpp.threads import WINDOW_S


class StepWatch:
    """A thread that looks at steps that last; it sleeps while there are none.

    Args:
        is_crowded: Tells by wall and CPU seconds of a part of a step whether it is to be given up; called on that
            thread, while the one that steps is in the library.

    Attributes:
        callback: For the library; `data` is its argument.
    """

    def __init__(self, is_crowded: Callable[[float, float], bool]) -> None:
        self._is_crowded = is_crowded
        self._text = ctypes.create_string_buffer(2)
        address = ctypes.cast(ctypes.CDLL(None).strlen, ctypes.c_void_p).value
        self.callback: Any = llama_cpp.ggml_abort_callback(address)  # 0 or 1, which a `bool` has in the same place
        self.data = ctypes.cast(self._text, ctypes.c_void_p)
        self._begun: tuple[float, float] | None = None
        self._was_given_up = False
        self._lock = threading.Lock()
        self._has_steps = threading.Event()
        self._is_closed = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, wall_s: float, cpu_s: float) -> None:
        """Watch the step that begins, by the clocks that `is_crowded` goes by."""
        with self._lock:
            self._text[0] = b"\0"
            self._was_given_up = False
            self._begun = wall_s, cpu_s
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="step-watch", daemon=True)
            self._thread.start()
        if not self._has_steps.is_set():
            self._has_steps.set()

    def end(self) -> bool:
        """Watch no more; return whether the step was told to end."""
        with self._lock:
            self._begun = None
            self._text[0] = b"\0"
            return self._was_given_up

    def close(self) -> None:
        """End the thread."""
        self._is_closed.set()
        self._has_steps.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._is_closed.is_set():
            self._has_steps.wait()
            self._has_steps.clear()
            while not self._is_closed.wait(WINDOW_S) and self._look():
                pass

    def _look(self) -> bool:
        """End the step that runs if it is crowded; return whether one runs that is to be looked at again."""
        with self._lock:
            if self._begun is None or self._was_given_up:
                return False
            wall_s, cpu_s = self._begun
            if self._is_crowded(time.monotonic() - wall_s, time.process_time() - cpu_s):
                self._was_given_up = True
                self._text[0] = b"x"
            return not self._was_given_up
