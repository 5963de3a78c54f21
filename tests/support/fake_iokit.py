"""IOKit's power notifications and the run loop of CoreFoundation, over what a test plays; it records what is called."""

import ctypes
import queue
import threading
from collections.abc import Callable
from typing import Any

from backends.machine.apple_power import PowerLibraries
from tests.support.waiting import WITHIN_S

CONNECTION = 77
NOTIFIER = 5
RUN_LOOP = 0x7F0000001000
SOURCE = 0x7F0000002000
PORT = 0x7F0000003000
MODE = "kCFRunLoopDefaultMode"
STOPPED, FINISHED = 2, 1


class _Functions:
    """Functions that take `restype` and `argtypes` as those of `ctypes.CDLL` do."""

    def __init__(self, **functions: Callable[..., Any]) -> None:
        for name, function in functions.items():
            setattr(self, name, _function(function))


def _function(function: Callable[..., Any]) -> Any:
    def call(*arguments: Any) -> Any:
        return function(*arguments)

    return call


class FakePower:
    """What `ctypes.CDLL` would return of both.

    Args:
        is_refusing: It lets nobody register.
        has_source: Whether the run loop has something to wait for.

    Attributes:
        allowed: The notices that were answered, in order.
        ended: What was given back at the end.
        stopped: Run loops that were told to stop.
    """

    def __init__(self, *, is_refusing: bool = False, has_source: bool = True) -> None:
        self._is_refusing = is_refusing
        self._has_source = has_source
        self._notices: queue.Queue[tuple[int, int] | None] = queue.Queue()
        self._callback: Any = None
        self.allowed: list[tuple[int, int]] = []
        self.answered = threading.Condition()
        self.sources: list[tuple[Any, Any, Any]] = []
        self.ended: list[str] = []
        self.stopped: list[Any] = []
        iokit = _Functions(
            IORegisterForSystemPower=self._register,
            IODeregisterForSystemPower=lambda _notifier: self.ended.append("notifier"),
            IOAllowPowerChange=self._allow,
            IOServiceClose=lambda connection: self.ended.append(f"connection {connection}"),
            IONotificationPortGetRunLoopSource=lambda port: SOURCE if port.value == PORT else 0,
            IONotificationPortDestroy=lambda port: self.ended.append(f"port {port.value:#x}"),
        )
        core_foundation = _Functions(
            CFRunLoopGetCurrent=lambda: RUN_LOOP,
            CFRunLoopAddSource=lambda *source: self.sources.append(source),
            CFRunLoopRunInMode=self._run,
            CFRunLoopStop=self._stop,
        )
        self.libraries = PowerLibraries(iokit, core_foundation, MODE)

    def play(self, message: int, notification: int = 0) -> None:
        """Let the system say something."""
        self._notices.put((message, notification))

    def wait_allowed(self, num: int) -> None:
        """Wait until so many notices were answered."""
        with self.answered:
            assert self.answered.wait_for(lambda: len(self.allowed) >= num, WITHIN_S)

    def _register(self, _refcon: None, port: Any, callback: Any, notifier: Any) -> int:
        ctypes.cast(port, ctypes.POINTER(ctypes.c_void_p))[0] = PORT
        ctypes.cast(notifier, ctypes.POINTER(ctypes.c_uint32))[0] = NOTIFIER
        self._callback = callback
        return 0 if self._is_refusing else CONNECTION

    def _allow(self, connection: int, notification: int) -> int:
        with self.answered:
            self.allowed.append((connection, notification))
            self.answered.notify_all()
        return 0

    def _run(self, mode: str, _seconds: float, _returns_after_one: int) -> int:
        assert mode == MODE
        if not self._has_source:
            return FINISHED
        while (notice := self._notices.get()) is not None:
            message, notification = notice
            self._callback(None, 0, message, notification)
        return STOPPED

    def _stop(self, run_loop: Any) -> None:
        self.stopped.append(run_loop)
        self._notices.put(None)
