"""The benchmarks that a server runs for clients, one at a time, each in a process of its own; and the runs of before.

A client that leaves stops nothing. Not here: the measuring (`process`), and HTTP (`router.protocols.control.bench`).
"""

import asyncio
import contextlib
import logging
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from registry.bench_record import BenchRecord
from registry.pull.threads import in_thread
from registry.store import Registry
from registry.store.benches import BenchHead
from router.bench.events import BENCH_END, BenchEvent, BenchFailed, BenchStarted
from router.bench.plan.wish import BenchOrder, BenchWish
from router.errors import ShuttingDownError
from router.work_errors import BenchRunningError

logger = logging.getLogger(__name__)

END_TIMEOUT_S: Final = 20.0
"""A process that is to end has this long to write down what was measured."""

MAX_LINE_BYTES: Final = 1 << 20
_COMMAND: Final = (sys.executable, "-P", "-m", "router.bench.process")
_EVENTS: Final = msgspec.json.Decoder(BenchEvent)


class BenchRuns:
    """Those of a server. `run` is its task.

    Args:
        environment: Of the processes; no secrets.
    """

    def __init__(self, database: Path, environment: Mapping[str, str]) -> None:
        self._database = database
        self._environment = environment
        self._group: asyncio.TaskGroup | None = None
        self._running: _Run | None = None

    async def run(self) -> None:
        """Let benchmarks be started, until cancelled; one that runs then ends and keeps what it has."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self.close()

    def close(self) -> None:
        """Take no more, and end the one that runs."""
        self._group = None
        if self._running is not None:
            self._running.stop()

    @property
    def running(self) -> str | None:
        """Id of the one that runs; None also while it has just begun."""
        return None if self._running is None else self._running.bench_id

    def start(self, wish: BenchWish, *, url: str, unix_socket: str | None = None) -> AsyncIterator[BenchEvent]:
        """Begin a benchmark.

        Returns:
            Its events, a final one last. Whether anybody follows them changes nothing.

        Raises:
            BenchRunningError: Another one runs.
            ShuttingDownError: The server is about to end, or just starts.
        """
        if self._group is None:
            raise ShuttingDownError
        if self._running is not None:
            raise BenchRunningError
        order = BenchOrder(wish=wish, url=url, unix_socket=unix_socket, database=str(self._database))
        self._running = run = _Run()
        self._group.create_task(self._follow(run, order))
        return run.events()

    def stop(self) -> bool:
        """End the one that runs, if any, and tell whether one did; what it has measured is kept."""
        if self._running is None:
            return False
        self._running.stop()
        return True

    async def heads(self, model: str | None, limit: int) -> tuple[BenchHead, ...]:
        """List runs, newest first.

        Args:
            model: Only those of this model.
        """

        def read() -> tuple[BenchHead, ...]:
            with Registry.open(self._database) as registry:
                return registry.benches(model, limit=limit)

        return await in_thread(read)

    async def record(self, bench_id: str) -> BenchRecord:
        """Give one run.

        Args:
            bench_id: Its name, or a beginning that only it has.

        Raises:
            BenchNotFoundError: There is none.
        """

        def read() -> BenchRecord:
            with Registry.open(self._database) as registry:
                return registry.bench(bench_id)

        return await in_thread(read)

    async def _follow(self, run: "_Run", order: BenchOrder) -> None:
        try:
            await run.follow(order, self._environment)
        finally:
            self._running = None
            run.end("its process ended without a result")


class _Run:
    """One benchmark and who follows it."""

    def __init__(self) -> None:
        self.bench_id: str | None = None
        self._events: list[BenchEvent] = []
        self._changed = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._is_stopped = False
        self._has_ended = False
        self._last: BenchEvent | None = None

    def stop(self) -> None:
        """Tell the process to end: its stdin is its lifeline."""
        self._is_stopped = True
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def end(self, reason: str) -> None:
        """Tell the final event: the process's own, or else that it failed."""
        if self._has_ended:
            return
        self._has_ended = True
        self._add(self._last or BenchFailed(code="bench_failed", message=f"The benchmark failed: {reason}."))

    async def follow(self, order: BenchOrder, environment: Mapping[str, str]) -> None:
        """Start the process and take in its events until it has ended; when cancelled, let it end in order."""
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                *_COMMAND,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=dict(environment),
                limit=MAX_LINE_BYTES,
                start_new_session=True,  # Ctrl-C at the server's terminal is for the server
            )
        except OSError as exc:
            self.end(f"its process could not be started: {exc.strerror}")
            return
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(order) + b"\n")
        if self._is_stopped:
            process.stdin.close()
        reading = asyncio.ensure_future(self._read(process))
        try:
            await asyncio.shield(reading)
        finally:
            if not reading.done():
                self.stop()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(reading, END_TIMEOUT_S)
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            try:
                event = _EVENTS.decode(line)
            except msgspec.DecodeError as exc:
                logger.warning("the benchmark's process said something odd: %s", exc)
                continue
            if isinstance(event, BenchStarted):
                self.bench_id = event.bench_id
            if isinstance(event, BENCH_END):
                self._last = event  # told when the process is gone, and another one may begin
            else:
                self._add(event)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), END_TIMEOUT_S)

    def _add(self, event: BenchEvent) -> None:
        self._events.append(event)
        self._changed.set()
        self._changed = asyncio.Event()

    async def events(self) -> AsyncIterator[BenchEvent]:
        place = 0
        while True:
            while place < len(self._events):
                event = self._events[place]
                place += 1
                yield event
                if isinstance(event, BENCH_END):
                    return
            await self._changed.wait()
