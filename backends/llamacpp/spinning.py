"""Whether threads of OpenMP that wait for each other spin, or sleep soon: to be changed while they run.

libgomp's threads spin for some 3 ms at each barrier before they sleep, as long as a slice of the scheduler: on a busy
machine they use up the slices that the thread they wait for could have had. It spins for next to nothing while it
manages more threads than there are cores, so a team that has nothing to do but to be there makes it so.

Source: GCC, libgomp/env.c, `gomp_throttled_spin_count_var`, "used when there are more libgomp managed threads than
available CPUs. Use very short spinning"; team.c, `gomp_team_start` and `gomp_free_thread`, which count them.
"""

import ctypes
import os
import threading
from typing import Any, Final

_LIBRARY: Final = "libgomp.so.1"
_NO_LOAD: Final = getattr(os, "RTLD_NOLOAD", 0)


class Spinning:
    """Changes how threads wait, in the whole process; without libgomp it can do nothing.

    Attributes:
        can_change: Whether it can.
        is_short: Whether they sleep soon now.
    """

    def __init__(self) -> None:
        self._library = _loaded_library()
        self._idlers: threading.Thread | None = None
        self._may_go = threading.Event()

    @property
    def can_change(self) -> bool:
        """See the class."""
        return self._library is not None

    @property
    def is_short(self) -> bool:
        """See the class."""
        return self._idlers is not None

    def set(self, *, is_short: bool) -> None:
        """Have them sleep soon, or spin as long as the library likes; returns when it is so."""
        if is_short == self.is_short or self._library is None:
            return
        if is_short:
            is_there, self._may_go = threading.Event(), threading.Event()
            self._idlers = threading.Thread(target=self._idle, args=(is_there, self._may_go), daemon=True)
            self._idlers.start()
            is_there.wait()
        elif self._idlers is not None:
            self._may_go.set()
            self._idlers.join()  # the team ends with the thread that made it
            self._idlers = None

    def _idle(self, is_there: threading.Event, may_go: threading.Event) -> None:
        assert self._library is not None
        num = (os.cpu_count() or 1) + 1
        try:
            nothing = ctypes.cast(ctypes.CDLL(None).free, ctypes.c_void_p)  # free(NULL) does nothing
            self._library.GOMP_parallel(nothing, None, ctypes.c_uint(num), ctypes.c_uint(0))
        finally:
            is_there.set()  # whatever happened: the step waits for it
        may_go.wait()


def _loaded_library() -> Any | None:
    """Return libgomp if this process has it already."""
    try:
        return ctypes.CDLL(_LIBRARY, mode=_NO_LOAD | os.RTLD_NOW) if _NO_LOAD else None
    except OSError:
        return None
