"""Drives the batches of a gateway: from validation to the files of results, over restarts.

One task owns each batch that is not final. What it knows is in the store before anybody is told, so that another
gateway goes on where this one ended. Not here: HTTP (`routes`), and how one line runs (`execution`).
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import msgspec

from registry.threads import in_thread
from router.config import Config
from router.errors import FileNotFoundHereError, ShuttingDownError, StoreUnavailableError
from router.http.caller import OWNER, Caller, acting_for, current_caller
from router.http.ignored import noting_ignored
from router.jobs.batches.base import Batch, BatchStatus, Line, LineEnd, Problem
from router.jobs.batches.files import drop_file, read_part, sweep, write_results
from router.jobs.batches.progress import BatchRun
from router.jobs.batches.store import BatchStore
from router.jobs.batches.validation import filled, read_lines
from router.observers import Observers
from router.stores.base import StoreThread

logger = logging.getLogger(__name__)

LOOK_S: Final = 30.0
"""How long a batch that waits does not look at the clock."""
SWEEP_S: Final = 600.0
"""How often files and batches are looked for that are too old."""


_CANCELLED: Final = "The batch was cancelled before this line was answered."


class BatchNews(NamedTuple):
    """What has become of a batch.

    Attributes:
        share: Of its lines that have ended, 0..1; None = it has not begun with them.
        rests: Nobody drives it until the next start.
    """

    batch: Batch
    share: float | None = None
    rests: bool = False


class Batches:
    """Those of a gateway. `run` is their task.

    Args:
        folder: Of the files and of the database.
        answer: Runs a line with the body of its request to its end.
        caller_for: Gives who asks by the key of that id, None = the server's owner.
        clock: Seconds since 1970.

    Attributes:
        store: What is known of files, batches and lines.
        news: Told when one is begun or gone on with, as its lines end, and when nobody drives it any more.
    """

    def __init__(
        self,
        folder: Path,
        config: Callable[[], Config],
        answer: Callable[[Batch, Line, bytes, int | None], Awaitable[LineEnd]],
        *,
        caller_for: Callable[[str | None], Caller] = lambda _: OWNER,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._caller_for = caller_for
        self.files_dir = folder / "files"
        self._clock = clock
        self.store = StoreThread(partial(_open, folder), "batches")
        self._config = config
        self._answer = answer
        self._places = asyncio.Semaphore(config().batches.parallel)
        self._tasks: asyncio.TaskGroup | None = None
        self._is_swept = asyncio.Event()
        self._runs: dict[str, BatchRun] = {}
        self.news: Observers[BatchNews] = Observers()

    async def file_bytes(self, file_id: str, max_bytes: int) -> bytes:
        """Return the beginning of a file; errors as of `named_file`."""
        return (await self.named_file(file_id, max_bytes))[1]

    async def named_file(self, file_id: str, max_bytes: int) -> tuple[str, bytes]:
        """Return the name of a file, and its beginning.

        Raises:
            FileNotFoundHereError: There is none.
            StoreUnavailableError: It cannot be read.
        """
        await self.opened()
        file = await self.store.call(lambda store: store.file(file_id))
        if file is None or not current_caller().may_see(file.owner):
            raise FileNotFoundHereError(file_id, "file_id")
        reading = partial(read_part, self.files_dir, file_id, 0, min(max_bytes, file.num_bytes))
        return file.filename, await in_thread(reading)

    async def run(self) -> None:
        """Go on with what is not final, then drive what comes, until cancelled."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                try:
                    known = {file.file_id for file in await self.store.call(BatchStore.files)}
                    await in_thread(partial(sweep, self.files_dir, known))
                    for batch in await self.store.call(BatchStore.unfinished):
                        self._drive(batch)
                except StoreUnavailableError as exc:
                    logger.warning("batches cannot be used: %s", exc)
                self._is_swept.set()
                await self._sweep()
        finally:
            self._tasks = None
            await self.store.close()

    async def opened(self) -> Self:
        """Return itself, once what a crash has left is swept: a new file would look like it.

        Raises:
            StoreUnavailableError: No batches are driven now.
        """
        if self._tasks is not None:
            await self._is_swept.wait()
        if self._tasks is None or not self.store.is_usable:
            raise StoreUnavailableError("Batches cannot be used now: the server starts, or its log says what is wrong.")
        return self

    async def start(self, batch: Batch) -> Batch:
        """Take a new batch in."""
        await self.store.call(lambda store: store.put_batch(batch))
        self._drive(batch)
        return batch

    async def cancel(self, batch: Batch) -> Batch:
        """Let a batch come to its end early; lines that have ended stay as they are. One that is final stays so."""
        run = self._runs.get(batch.batch_id)
        if run is None or batch.status.is_final or batch.status is BatchStatus.FINALIZING:
            return batch
        cancelling = msgspec.structs.replace(
            run.batch,
            status=BatchStatus.CANCELLING,
            goal=BatchStatus.CANCELLED,
            cancelling_at=self._clock(),
        )
        run.batch = cancelling
        await self.store.call(lambda store: store.put_batch(cancelling))
        run.stop("batch_cancelled", _CANCELLED, cuts_running=True)
        return cancelling

    def _drive(self, batch: Batch) -> None:
        assert self._tasks is not None
        run = self._runs[batch.batch_id] = BatchRun(batch)
        self.news.tell(BatchNews(batch))
        self._tasks.create_task(self._drive_one(run))

    async def _drive_one(self, run: BatchRun) -> None:
        try:
            if run.batch.status is BatchStatus.VALIDATING:
                await self._validate(run)
            if run.batch.status in {BatchStatus.IN_PROGRESS, BatchStatus.CANCELLING}:
                await self._run_lines(run)
                await self._save(run, status=BatchStatus.FINALIZING, finalizing_at=self._clock())
            if run.batch.status is BatchStatus.FINALIZING:
                await self._finish(run)
        except (ShuttingDownError, StoreUnavailableError) as exc:
            # It is as it is in the store, and is gone on with by the next gateway.
            logger.warning("batch %s rests until the next start: %s", run.batch.batch_id, exc)
        finally:
            self._runs.pop(run.batch.batch_id, None)
            self.news.tell(BatchNews(run.batch, rests=not run.batch.status.is_final))

    async def _validate(self, run: BatchRun) -> None:
        batch = run.batch
        read = partial(
            _read_file,
            self.files_dir / batch.input_file_id,
            batch.endpoint,
            self._config().server.max_body_bytes,
            self._config().server.strict_fields,
        )
        lines, problems = await in_thread(read)
        now = self._clock()
        if problems and not run.is_stopped:
            await self._save(run, status=BatchStatus.FAILED, failed_at=now, problems=tuple(problems))
            return
        status = BatchStatus.CANCELLING if run.is_stopped else BatchStatus.IN_PROGRESS
        begun = run.batch = msgspec.structs.replace(run.batch, status=status, in_progress_at=now)
        await self.store.call(lambda store: store.begin_batch(begun, lines))

    async def _run_lines(self, run: BatchRun) -> None:
        """Run lines until all have ended: this is the one place that starts and ends them."""
        lines = await self.store.call(lambda store: store.lines(run.batch.batch_id))
        tally = await self.store.call(lambda store: store.tally(run.batch.batch_id))
        run.begin(lines, tally.usage.num_tokens)
        if run.batch.status is BatchStatus.CANCELLING:
            run.stop("batch_cancelled", _CANCELLED, cuts_running=True)
        await self._end(run, run.lost_before())
        running: dict[asyncio.Task[LineEnd], Line] = {}
        try:
            while run.num_open:
                self._note_bounds(run)
                if run.is_stopped:
                    await self._cut(run, running)
                self._start_ready(run, running)
                if running or run.num_open:
                    await self._wait(run, running)
                for task in [task for task in running if task.done()]:
                    await self._end(run, run.on_end(running.pop(task), task.result()))
        finally:
            for task in running:
                task.cancel()
            if running:
                await asyncio.wait(running)

    def _note_bounds(self, run: BatchRun) -> None:
        """Stop a batch whose time or tokens are used up."""
        batch = run.batch
        if self._clock() >= batch.expires_at and not run.is_stopped:
            run.batch = msgspec.structs.replace(batch, goal=BatchStatus.EXPIRED)
            run.stop(
                "batch_expired",
                "This request could not be executed before the completion window expired.",
                cuts_running=True,
            )
        elif batch.token_budget is not None and run.num_tokens >= batch.token_budget and not run.is_stopped:
            message = f"The batch's token_budget of {batch.token_budget} is used up ({run.num_tokens} tokens)."
            run.stop("token_budget_exceeded", message, cuts_running=False)

    async def _cut(self, run: BatchRun, running: dict[asyncio.Task[LineEnd], Line]) -> None:
        """End what is not to run any more."""
        if run.cuts_running and running:
            for task in running:
                task.cancel()
            await asyncio.wait(running)
            for task, line in list(running.items()):
                if not task.cancelled() and task.exception() is None:
                    await self._end(run, run.on_end(line, task.result()))
                del running[task]
        await self._end(run, run.drop_rest({line.number for line in running.values()}))

    def _start_ready(self, run: BatchRun, running: dict[asyncio.Task[LineEnd], Line]) -> None:
        while len(running) < self._config().batches.parallel and (line := run.take()) is not None:
            running[asyncio.create_task(self._run_line(run.batch, line))] = line

    async def _wait(self, run: BatchRun, running: dict[asyncio.Task[LineEnd], Line]) -> None:
        """Wait until a line has ended, somebody stops the batch, or its time is up."""
        stopped = asyncio.ensure_future(run.stopped.wait())
        # The window is one of the wall clock, which is set and goes on while the machine sleeps; a wait's is not.
        timeout_s = None if run.is_stopped else min(max(0.0, run.batch.expires_at - self._clock()), LOOK_S)
        try:
            waited = set(running) if run.is_stopped else {stopped, *running}
            await asyncio.wait(waited, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()

    async def _run_line(self, batch: Batch, line: Line) -> LineEnd:
        async with self._places:
            raw = await in_thread(partial(read_part, self.files_dir, batch.input_file_id, line.offset, line.num_bytes))
            read: dict[str, Any] = msgspec.json.decode(raw)
            body = read["body"]
            if line.depends_on:
                outputs = await self.store.call(lambda store: store.outputs(batch.batch_id, line.depends_on))
                body = filled(body, outputs)
            with acting_for(self._caller_for(batch.owner)):
                return await self._answer(batch, line, msgspec.json.encode(body), read.get("worker"))

    async def _end(self, run: BatchRun, ends: list[LineEnd]) -> None:
        if ends:
            await self.store.call(lambda store: store.end_lines(run.batch.batch_id, ends))
            self.news.tell(BatchNews(run.batch, share=run.share))

    async def _finish(self, run: BatchRun) -> None:
        batch = run.batch
        if batch.goal is BatchStatus.COMPLETED and run.first_failure is not None:
            problem = Problem(code="line_failed", message=run.first_failure[1], line=run.first_failure[0])
            batch = msgspec.structs.replace(batch, goal=BatchStatus.FAILED, problems=(problem,))
        now = self._clock()
        times: dict[str, Any] = {f"{batch.goal.value}_at": now}
        finished = msgspec.structs.replace(batch, status=batch.goal, **times)
        run.batch = await self.store.call(lambda store: write_results(store, self.files_dir, finished, now))

    async def _save(self, run: BatchRun, **changes: Any) -> None:
        changed = run.batch = msgspec.structs.replace(run.batch, **changes)
        await self.store.call(lambda store: store.put_batch(changed))

    async def _sweep(self) -> None:
        """Drop what is too old, now and then."""
        while True:
            with contextlib.suppress(StoreUnavailableError):
                before = self._clock() - self._config().batches.max_age_s
                await self.store.call(partial(_drop_old, folder=self.files_dir, before=before, now=self._clock()))
            await asyncio.sleep(SWEEP_S)


def _open(folder: Path) -> BatchStore:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return BatchStore(folder / "batches.sqlite3")


def _read_file(
    path: Path,
    endpoint: str,
    max_line_bytes: int,
    is_strict: bool,  # noqa: FBT001 - of a call in another thread
) -> tuple[list[Line], list[Problem]]:
    try:
        with path.open("rb") as file, noting_ignored("a line of a batch", is_strict=is_strict):
            return read_lines(file, endpoint, max_line_bytes=max_line_bytes)
    except OSError as exc:
        return [], [Problem(code="file_not_readable", message=f"The input file cannot be read: {exc.strerror}.")]


def _drop_old(store: BatchStore, *, folder: Path, before: float, now: float) -> None:
    in_use = {batch.input_file_id for batch in store.unfinished()}
    for file in store.files():
        is_over = file.created_at < before or (file.expires_at is not None and file.expires_at < now)
        if is_over and file.file_id not in in_use:
            store.delete_file(file.file_id)
            drop_file(folder, file.file_id)
    for batch in store.batches():
        if batch.created_at < before and batch.status.is_final:
            store.delete_batch(batch.batch_id)
