"""Which lines of a batch may run, as others end. Pure."""

from collections import deque
from collections.abc import Sequence

from router.jobs.batches.base import Line


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
