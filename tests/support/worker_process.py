"""Starts a real worker process over a socketpair and speaks frames with it; every wait has a deadline."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from backends.wire.frames import FrameDecoder, FrameEncoder
from backends.wire.messages import Command, Event, Hello, Load, Loaded, LoadFailed, LoadSpec
from tests.support.engine_driver import Answer

ROOT = Path(__file__).resolve().parents[2]
SEND_TIMEOUT_S = 20.0
_READ_BYTES = 64 * 1024
EventT = TypeVar("EventT")


class WorkerProcess:
    """A running worker; use as a context manager.

    Args:
        engine: Its name.
        cwd: Where it starts; must not matter.
        **options: The fake engine's.
    """

    def __init__(self, engine: str, *, cwd: Path | None = None, **options: object) -> None:
        self._socket, theirs = socket.socketpair()
        argv = [sys.executable, "-P", "-m", "backends.process.worker", "--engine", engine, "--fd", str(theirs.fileno())]
        argv += ["--options", msgspec.json.encode(options).decode()] if options else []
        self.process = subprocess.Popen(
            argv,
            pass_fds=[theirs.fileno()],
            stderr=subprocess.PIPE,
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"},
        )
        theirs.close()
        self._encoder = FrameEncoder()
        self._decoder: FrameDecoder[list[Event]] = FrameDecoder(list[Event])
        self._unread: list[Event] = []
        self.events: list[Event] = []
        self.answers: dict[int, Answer] = {}
        self.is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def send(self, *commands: Command) -> None:
        self.send_bytes(self._encoder.encode(commands))

    def send_bytes(self, data: bytes) -> None:
        self._socket.settimeout(SEND_TIMEOUT_S)
        self._socket.sendall(data)

    def close_socket(self) -> None:
        self._socket.close()

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def next_event(self, timeout_s: float = 20) -> Event:
        """Return the next event.

        Raises:
            EOFError: The worker closed its end.
            TimeoutError: Nothing came in time.
        """
        deadline = time.monotonic() + timeout_s
        while not self._unread:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self._socket.recv(_READ_BYTES)
            except TimeoutError:
                raise TimeoutError(f"no event within {timeout_s} s") from None
            except ConnectionError:
                data = b""
            if not data:
                self.is_closed = True
                raise EOFError
            for batch in self._decoder.feed(data):
                self._unread += batch
        event = self._unread.pop(0)
        self._note(event)
        return event

    def wait_for(self, event_type: type[EventT], timeout_s: float = 20) -> EventT:
        """Return the first event of that type, reading over others."""
        deadline = time.monotonic() + timeout_s
        while True:
            event = self.next_event(deadline - time.monotonic())
            if isinstance(event, event_type):
                return event

    def wait_until(self, is_reached: Callable[[], bool], timeout_s: float = 30) -> None:
        deadline = time.monotonic() + timeout_s
        while not is_reached():
            self.next_event(deadline - time.monotonic())

    def wait_for_ends(self, sequence_ids: list[int], timeout_s: float = 30) -> None:
        """Read until each of these sequences has its terminal message."""
        self.wait_until(lambda: all(self.answer(i).terminals for i in sequence_ids), timeout_s)

    def wait_for_exit(self, timeout_s: float = 5) -> int:
        return self.process.wait(timeout_s)

    def stderr_text(self) -> str:
        """Return what it wrote to stderr; only after its end."""
        assert self.process.stderr is not None
        return self.process.stderr.read().decode(errors="replace")

    def load(self, path: Path | str = "fake", **spec: object) -> Loaded | LoadFailed:
        """Load a model; return how that ended."""
        self.wait_for(Hello)
        self.send(Load(LoadSpec(model_path=str(path), **spec)))  # type: ignore[arg-type]
        while True:
            event = self.next_event()
            if isinstance(event, Loaded | LoadFailed):
                return event

    def answer(self, sequence_id: int) -> Answer:
        return self.answers.setdefault(sequence_id, Answer())

    def _note(self, event: Event) -> None:
        self.events.append(event)
        sequence_id = getattr(event, "sequence_id", None)
        if sequence_id is not None:
            self.answer(sequence_id).take(event)
