"""The benchmarks that a server runs for clients, one at a time, each in a process of its own; and the runs of before.

Not here: the measuring (`router.bench.process`), and HTTP (`router.protocols.control.jobs`).
"""

import asyncio
import contextlib
import logging
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from registry.bench_record import BenchRecord
from registry.store.benches import BenchHead
from registry.threads import with_registry
from router.bench.events import BENCH_END, BenchEvent, BenchFailed, BenchStarted
from router.bench.plan.options import BenchAssignment, BenchOptions
from router.config.instance import ServerFacts
from router.errors import BenchRunningError
from router.http.caller import Scope, current_caller
from router.jobs.job import Follower, Job, JobKind
from router.jobs.jobs import Jobs

logger = logging.getLogger(__name__)

END_TIMEOUT_S: Final = 20.0
"""A process that is to end has this long to write down what was measured."""

MAX_LINE_BYTES: Final = 1 << 20
_COMMAND: Final = (sys.executable, "-P", "-m", "router.bench.process")
_EVENTS: Final = msgspec.json.Decoder(BenchEvent)
_BENCH: Final = JobKind[BenchEvent](name="bench")
_THE_ONE: Final = "of this server"


class BenchRuns:
    """Those of a server; `jobs` runs them.

    Args:
        environment: Of the processes; no secrets.
    """

    def __init__(self, database: Path, environment: Mapping[str, str], jobs: Jobs) -> None:
        self._database = database
        self._environment = environment
        self._jobs = jobs

    @property
    def running(self) -> str | None:
        """Id of the one that runs; None also while it has just begun, or where it is another's."""
        job = self._own
        started = None if job is None else job.last(BenchStarted)
        return None if started is None else started.bench_id

    def start(self, options: BenchOptions, *, server: ServerFacts) -> Follower[BenchEvent]:
        """Begin a benchmark of this server.

        Raises:
            BenchRunningError: Another one runs.
            ShuttingDownError: The server is about to end, or just starts.
        """
        if self._jobs.get(_BENCH, _THE_ONE) is not None:
            raise BenchRunningError
        assignment = BenchAssignment(
            options=options,
            url=server.url,
            cert_file=server.cert_file,
            unix_socket=server.unix_socket,
            token_file=server.token_file,
            owner=current_caller().key_id,
            database=str(self._database),
        )
        work = partial(_measure, assignment, self._environment)
        return self._jobs.start(_BENCH, _THE_ONE, work, about=options.model).follow()

    def stop(self) -> bool:
        """End the one that runs, if it is the caller's, and tell whether one did; what it has measured is kept."""
        job = self._own
        if job is not None:
            job.stop("cancelled")
        return job is not None

    async def heads(self, model: str | None, limit: int) -> tuple[BenchHead, ...]:
        """List the runs of whoever asks, newest first.

        Args:
            model: Only those of this model.
        """
        owner = _only_of()
        return await with_registry(
            self._database, lambda registry: registry.benches.list(model, limit=limit, owner=owner)
        )

    async def record(self, bench_id: str) -> BenchRecord:
        """Give one run of whoever asks.

        Args:
            bench_id: Its name, or a beginning that only it has.

        Raises:
            BenchNotFoundError: There is none.
        """
        owner = _only_of()
        return await with_registry(self._database, lambda registry: registry.benches.get(bench_id, owner=owner))

    @property
    def _own(self) -> Job[BenchEvent] | None:
        job = self._jobs.get(_BENCH, _THE_ONE)
        return job if job is not None and job.is_seen else None


def _only_of() -> str | None:
    """Return the key whose runs alone whoever asks may see; None = all."""
    caller = current_caller()
    return None if caller.scope is Scope.ADMIN else caller.key_id


async def _measure(assignment: BenchAssignment, environment: Mapping[str, str], job: Job[BenchEvent]) -> BenchEvent:
    """Pass on what the process tells; one that is to stop ends in order and keeps what it has measured."""
    try:
        process = await asyncio.create_subprocess_exec(
            *_COMMAND,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=dict(environment),
            limit=MAX_LINE_BYTES,
            start_new_session=True,  # Ctrl-C at the server's terminal is for the server
        )
    except OSError as exc:
        return _failed(f"its process could not be started: {exc.strerror}")
    except asyncio.CancelledError:
        return _failed("it was stopped before its process had started")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(msgspec.json.encode(assignment) + b"\n")
    reading = asyncio.ensure_future(_read(process.stdout, job))
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([reading])
        job.is_ending = True
        process.stdin.close()  # its lifeline
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_TIMEOUT_S):
                await asyncio.wait([reading])
                await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
        reading.cancel()
        await process.wait()
    end = reading.result() if reading.done() and not reading.cancelled() else None
    return end or _failed("its process ended without a result")


async def _read(lines: asyncio.StreamReader, job: Job[BenchEvent]) -> BenchEvent | None:
    """Tell all events but the last, which is told when the process is gone and another one may begin."""
    async for line in lines:
        try:
            event = _EVENTS.decode(line)
        except msgspec.DecodeError as exc:
            logger.warning("the benchmark's process said something odd: %s", exc)
            continue
        if isinstance(event, BENCH_END):
            return event
        job.tell(event)
    return None


def _failed(reason: str) -> BenchFailed:
    return BenchFailed(code="bench_failed", message=f"The benchmark failed: {reason}.")
