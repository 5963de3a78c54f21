"""One batch while it is driven: its graph, why it stops, what it has used. No I/O, no clock."""

import asyncio
from collections.abc import Sequence

from router.jobs.batches.base import Batch, FailurePolicy, Line, LineEnd, not_run
from router.jobs.batches.graph import LineGraph


class BatchRun:
    """One of them, owned by the task that drives it.

    Attributes:
        stopped: Set when no further line is to start.
        cuts_running: Whether lines that run are given up, too.
        first_failure: With `fail_fast`, number and words of the line that ended it; None = there is none.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.stopped = asyncio.Event()
        self.cuts_running = False
        self.num_tokens = 0
        self.first_failure: tuple[int, str] | None = None
        self._graph = LineGraph(())
        self._why: tuple[str, str] = ("", "")

    @property
    def is_stopped(self) -> bool:
        """Whether no further line is to start."""
        return self.stopped.is_set()

    @property
    def num_open(self) -> int:
        """Lines that have not ended, running ones among them."""
        return self._graph.num_open

    def begin(self, lines: Sequence[Line], num_tokens: int) -> None:
        """Take over the lines as the store has them."""
        self._graph = LineGraph(lines)
        self.num_tokens = num_tokens
        failed = next((line for line in lines if line.is_ok is False), None)
        if failed is not None:
            self._note_failure(failed)

    def lost_before(self) -> list[LineEnd]:
        """Return the ends of lines that depend on one that failed in an earlier gateway."""
        return [self._lost(line) for line in self._graph.lost()]

    def take(self) -> Line | None:
        """Return the next line that is to start, or None."""
        return None if self.is_stopped else self._graph.take()

    def on_end(self, line: Line, end: LineEnd) -> list[LineEnd]:
        """Take over how a line ended; return that end, and those of lines that can no longer be answered."""
        self.num_tokens += end.usage.num_tokens
        lost = self._graph.end(line.number, is_ok=end.is_ok)
        if not end.is_ok:
            self._note_failure(line)
        return [end, *(self._lost(each) for each in lost)]

    def stop(self, code: str, message: str, *, cuts_running: bool) -> None:
        """Let no further line start.

        Args:
            code: Of the error of all lines that are left.
            cuts_running: Whether those that run are given up, too.
        """
        self._why = (code, message)
        self.cuts_running = cuts_running
        self.stopped.set()

    def drop_rest(self, running: set[int]) -> list[LineEnd]:
        """Return the ends of all lines that will not run, but for those that still do."""
        code, message = self._why
        return [not_run(self.batch, line, code, message) for line in self._graph.drop_rest(running)]

    def _lost(self, line: Line) -> LineEnd:
        return not_run(
            self.batch,
            line,
            "dependency_failed",
            "A line that this one depends on was not answered; see its own error.",
        )

    def _note_failure(self, line: Line) -> None:
        if self.batch.failure_policy is FailurePolicy.FAIL_FAST and self.first_failure is None:
            self.first_failure = (
                line.number,
                f"The line {line.custom_id} was not answered, and the policy is fail_fast.",
            )
            if not self.is_stopped:
                self.stop("batch_failed", self.first_failure[1], cuts_running=False)
