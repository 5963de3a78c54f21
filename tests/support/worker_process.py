"""Starts a real worker process over a socketpair and speaks frames with it."""

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
from backends.wire.load import LoadSpec
from backends.wire.messages import Command, Event, Hello, Load, Loaded, LoadFailed
from tests.support.engine_driver import Answer
from tests.support.waiting import WITHIN_S

ROOT = Path(__file__).resolve().parents[2]
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
        self._socket.settimeout(WITHIN_S)
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
        self._socket.sendall(data)

    def close_socket(self) -> None:
        self._socket.close()

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def next_event(self) -> Event:
        """Return the next event.

        Raises:
            EOFError: The worker closed its end.
            TimeoutError: Nothing came.
        """
        while not self._unread:
            try:
                data = self._socket.recv(_READ_BYTES)
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

    def wait_for(self, event_type: type[EventT]) -> EventT:
        """Return the first event of that type, reading over others."""
        give_up_at = time.monotonic() + WITHIN_S
        while True:
            event = self.next_event()
            if isinstance(event, event_type):
                return event
            assert time.monotonic() < give_up_at, f"not within {WITHIN_S:g} s: {event_type.__name__}"

    def wait_until(self, is_reached: Callable[[], bool]) -> None:
        """Read events until it is so; heartbeats alone do not go on for ever."""
        give_up_at = time.monotonic() + WITHIN_S
        while not is_reached():
            self.next_event()
            assert time.monotonic() < give_up_at, f"not within {WITHIN_S:g} s"

    def wait_for_ends(self, sequence_ids: list[int]) -> None:
        """Read until each of these sequences has its terminal message."""
        self.wait_until(lambda: all(self.answer(i).terminals for i in sequence_ids))

    def wait_for_exit(self) -> int:
        return self.process.wait(WITHIN_S)

    def stderr_text(self) -> str:
        """Return what it wrote to stderr; only after its end."""
        assert self.process.stderr is not None
        return self.process.stderr.read().decode(errors="replace")

    def load(self, path: Path | str = "fake", **spec: object) -> Loaded | LoadFailed:
        """Load a model; return how that ended."""
        return self.load_spec(LoadSpec(model_path=str(path), **spec))  # type: ignore[arg-type]

    def load_spec(self, spec: LoadSpec) -> Loaded | LoadFailed:
        """Load what a spec says; return how that ended."""
        self.wait_for(Hello)
        self.send(Load(spec))
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
