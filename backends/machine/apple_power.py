"""What macOS tells of the machine's sleep: IOKit's power notifications, by ctypes, on a thread with a run loop.

The system waits for an answer to a notice of sleep, "up to 30 seconds"; it gets one always, whoever fails or hangs.
Not here: what is done for the sleep. Not run on a Mac; tested with an object that records calls and plays notices.

Source: <IOKit/pwr_mgt/IOPMLib.h>, IORegisterForSystemPower, IOAllowPowerChange; <IOKit/IOMessage.h>; Apple, QA1340,
"Registering and unregistering for sleep and wake notifications"; <CoreFoundation/CFRunLoop.h>.
"""

import ctypes
import logging
import threading
from collections.abc import Callable
from typing import Any, Final, NamedTuple

logger = logging.getLogger(__name__)

IOKIT: Final = "/System/Library/Frameworks/IOKit.framework/IOKit"
CORE_FOUNDATION: Final = "/System/Library/Frameworks/CoreFoundation.framework/CoreFoundation"

CAN_SYSTEM_SLEEP: Final = 0xE0000270
"""The system asks whether it may sleep because nobody uses it. Source: kIOMessageCanSystemSleep."""
SYSTEM_WILL_SLEEP: Final = 0xE0000280
"""It will, whatever is answered. Source: kIOMessageSystemWillSleep."""
SYSTEM_WILL_NOT_SLEEP: Final = 0xE0000290
"""Somebody said no. Source: kIOMessageSystemWillNotSleep."""
SYSTEM_HAS_POWERED_ON: Final = 0xE0000300
"""Source: kIOMessageSystemHasPoweredOn."""

ANSWER_WITHIN_S: Final = 25.0
"""Of the 30 s that the system waits."""
_LOOK_S: Final = 60.0
"""How long the thread of a reader that was stopped may go on unnoticed."""

_RUN_FINISHED: Final = 1
"""Source: kCFRunLoopRunFinished."""

_CALLBACK: Final = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p)
"""IOServiceInterestCallback: refcon, service, messageType, messageArgument."""
_POINTER: Final = ctypes.c_void_p
_PORT: Final = ctypes.c_uint32
_SIGNATURES: Final[dict[str, tuple[Any, list[Any]]]] = {
    "IORegisterForSystemPower": (_PORT, [_POINTER, _POINTER, _CALLBACK, _POINTER]),
    "IODeregisterForSystemPower": (ctypes.c_int, [_POINTER]),
    "IOAllowPowerChange": (ctypes.c_int, [_PORT, ctypes.c_ssize_t]),
    "IOServiceClose": (ctypes.c_int, [_PORT]),
    "IONotificationPortGetRunLoopSource": (_POINTER, [_POINTER]),
    "IONotificationPortDestroy": (None, [_POINTER]),
    "CFRunLoopGetCurrent": (_POINTER, []),
    "CFRunLoopAddSource": (None, [_POINTER, _POINTER, _POINTER]),
    "CFRunLoopRunInMode": (ctypes.c_int32, [_POINTER, ctypes.c_double, ctypes.c_ubyte]),
    "CFRunLoopStop": (None, [_POINTER]),
}


class PowerLibraries(NamedTuple):
    """What has the functions.

    Attributes:
        default_mode: kCFRunLoopDefaultMode.
    """

    iokit: Any
    core_foundation: Any
    default_mode: Any


def power_libraries() -> PowerLibraries:
    """Open the system's own.

    Raises:
        OSError: They are not there.
    """
    core_foundation = ctypes.CDLL(CORE_FOUNDATION)
    mode = ctypes.c_void_p.in_dll(core_foundation, "kCFRunLoopDefaultMode")
    return PowerLibraries(ctypes.CDLL(IOKIT), core_foundation, mode)


class PowerNotices:
    """Reads notices on the thread that calls `run`.

    Args:
        on_will_sleep: Called on that thread, with what is to be set when the machine may sleep; it sleeps anyway after
            ANSWER_WITHIN_S, and at once where this raises.
        on_awake: Called on that thread when the machine is awake again, or stays awake after all.
        libraries: None = the system's.
    """

    def __init__(
        self,
        on_will_sleep: Callable[[threading.Event], object],
        on_awake: Callable[[], object],
        libraries: PowerLibraries | None = None,
        *,
        answer_within_s: float = ANSWER_WITHIN_S,
    ) -> None:
        self._on_will_sleep = on_will_sleep
        self._on_awake = on_awake
        self._libraries = libraries or power_libraries()
        self._answer_within_s = answer_within_s
        self._connection = 0
        self._run_loop: Any = None
        self._is_stopped = threading.Event()
        self._callback = _CALLBACK(self._on_message)  # kept: the system has no reference to it
        for library in self._libraries[:2]:
            for name, (result, arguments) in _SIGNATURES.items():
                if name.startswith("CF") is (library is self._libraries.core_foundation):
                    function = getattr(library, name)
                    function.restype, function.argtypes = result, arguments

    def run(self) -> None:
        """Read notices until stopped.

        Raises:
            OSError: The system lets nobody register, or has nothing to tell.
        """
        iokit, core, mode = self._libraries
        port, notifier = ctypes.c_void_p(), ctypes.c_uint32()
        self._connection = iokit.IORegisterForSystemPower(
            None, ctypes.byref(port), self._callback, ctypes.byref(notifier)
        )
        if not self._connection:
            raise OSError("IORegisterForSystemPower failed")
        try:
            self._run_loop = core.CFRunLoopGetCurrent()
            core.CFRunLoopAddSource(self._run_loop, iokit.IONotificationPortGetRunLoopSource(port), mode)
            while not self._is_stopped.is_set():
                if core.CFRunLoopRunInMode(mode, _LOOK_S, 0) == _RUN_FINISHED:
                    raise OSError("the run loop has nothing to wait for")
        finally:
            self._run_loop = None  # it goes with this thread
            iokit.IODeregisterForSystemPower(ctypes.byref(notifier))
            iokit.IOServiceClose(self._connection)
            iokit.IONotificationPortDestroy(port)

    def stop(self) -> None:
        """End `run`, from any thread; notices that come meanwhile are answered at once."""
        self._is_stopped.set()
        run_loop = self._run_loop
        if run_loop is not None:
            self._libraries.core_foundation.CFRunLoopStop(run_loop)

    def _on_message(self, _refcon: int | None, _service: int, message: int, argument: int | None) -> None:
        if message == SYSTEM_WILL_SLEEP:
            try:
                self._prepare()
            finally:
                self._allow(argument)
        elif message == CAN_SYSTEM_SLEEP:
            self._allow(argument)
        elif message in {SYSTEM_WILL_NOT_SLEEP, SYSTEM_HAS_POWERED_ON}:
            self._called(self._on_awake)

    def _prepare(self) -> None:
        may_sleep = threading.Event()
        if self._is_stopped.is_set() or not self._called(lambda: self._on_will_sleep(may_sleep)):
            return
        if not may_sleep.wait(self._answer_within_s):
            logger.warning("what is done before the machine's sleep took longer than the system waits")

    def _allow(self, argument: int | None) -> None:
        self._libraries.iokit.IOAllowPowerChange(self._connection, argument or 0)

    def _called(self, function: Callable[[], object]) -> bool:
        """Call one of ours; tell whether it went well. Nothing may be raised into the system's own loop."""
        try:
            function()
        except Exception:
            logger.exception("what is done for the machine's sleep has failed")
            return False
        return True
