"""One batch while it is driven: which lines may run as others end, why it stops, what it has used. No I/O, no clock."""

import asyncio
from collections import deque
from collections.abc import Sequence

from router.jobs.batches.base import Batch, FailurePolicy, Line, LineEnd, not_run


class LineGraph:
    """The lines of one batch that have not ended.

    Args:
        lines: All lines, ended ones too; without circles.
    """

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lines = {line.number: line for line in lines}
        ended = {line.number: line.is_ok for line in lines if line.is_ok is not None}
        self._waits_for = {
            line.number: {number for number in line.depends_on if not ended.get(number, False)}
            for line in lines
            if line.is_ok is None
        }
        self._dependents: dict[int, list[int]] = {}
        for number, waits_for in self._waits_for.items():
            for other in waits_for:
                self._dependents.setdefault(other, []).append(number)
        self._ready = deque(number for number, waits_for in self._waits_for.items() if not waits_for)
        self._failed_before = [number for number, is_ok in ended.items() if not is_ok]

    @property
    def num_open(self) -> int:
        """Lines that have not ended, running ones among them."""
        return len(self._waits_for)

    def take(self) -> Line | None:
        """Return the next line that may run, each once; None when none may now."""
        return self._lines[self._ready.popleft()] if self._ready else None

    def end(self, number: int, *, is_ok: bool) -> list[Line]:
        """Note that a line has ended; return those that can no longer be answered, which have ended by that, too."""
        self._waits_for.pop(number, None)
        if not is_ok:
            return self._fail_dependents(number)
        for dependent in self._dependents.get(number, []):
            waits_for = self._waits_for.get(dependent)
            if waits_for is not None and number in waits_for:
                waits_for.remove(number)
                if not waits_for:
                    self._ready.append(dependent)
        return []

    def lost(self) -> list[Line]:
        """Return the lines that depend on one that had failed before this graph was made."""
        return [line for number in self._failed_before for line in self._fail_dependents(number)]

    def drop_rest(self, running: set[int]) -> list[Line]:
        """Take out all lines that have not ended, but for those that run; return them in their order."""
        rest = sorted(set(self._waits_for) - running)
        for number in rest:
            del self._waits_for[number]
        self._ready.clear()
        return [self._lines[number] for number in rest]

    def _fail_dependents(self, number: int) -> list[Line]:
        lost: list[Line] = []
        pending = [number]
        while pending:
            for dependent in self._dependents.get(pending.pop(), []):
                if self._waits_for.pop(dependent, None) is not None:
                    lost.append(self._lines[dependent])
                    pending.append(dependent)
        return lost


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
        self._num_lines = 0
        self._why: tuple[str, str] = ("", "")

    @property
    def is_stopped(self) -> bool:
        """Whether no further line is to start."""
        return self.stopped.is_set()

    @property
    def num_open(self) -> int:
        """Lines that have not ended, running ones among them."""
        return self._graph.num_open

    @property
    def share(self) -> float | None:
        """Share of its lines that have ended, 0..1; None = it has none, or has not begun with them."""
        return 1 - self.num_open / self._num_lines if self._num_lines else None

    def begin(self, lines: Sequence[Line], num_tokens: int) -> None:
        """Take over the lines as the store has them."""
        self._graph = LineGraph(lines)
        self._num_lines = len(lines)
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
