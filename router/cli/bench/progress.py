"""Shows how far a benchmark is, on stderr: a bar on a terminal, one line per sample elsewhere. Not here: the report."""

import sys
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from router.bench.events import BenchProgress, BenchSampled, BenchStarted, BenchStep
from router.cli.terminal.output import Printer, shown


def head_line(event: BenchStarted) -> str:
    """Return what is begun, in one line."""
    who = " against ".join(shown(label) for label in event.contestants)
    return f"{event.bench_id}: {shown(event.model)}, {who}, at most {event.minutes:g} minutes"


def sample_line(event: BenchSampled) -> str:
    """Return one sample in one line."""
    where = f"{shown(event.contestant)}: {event.scenario}, round {event.round + 1}"
    if event.error is not None:
        return f"{where}: failed: {shown(event.error)}"
    return f"{where}: first token after {event.ttft_ms or 0.0:.0f} ms, {event.tokens_per_s or 0.0:.1f} tokens/s"


class BenchPrinter(Printer[BenchProgress]):
    """A bar on a terminal, with failures above it; one line per sample elsewhere."""

    def __init__(self) -> None:
        self._has_bar = sys.stderr.isatty()
        columns = (BarColumn(24), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
        console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
        self._progress: Progress = Progress(*columns, console=console, transient=True, disable=not self._has_bar)
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, event: BenchProgress) -> None:
        """Move the bar, or print a line."""
        match event:
            case BenchStarted():
                self._progress.console.print(head_line(event))
                self._task = self._progress.add_task("", total=1.0)
            case BenchStep(what=what, share=share):
                if self._task is not None:
                    self._progress.update(self._task, completed=share, description=shown(what))
            case BenchSampled():
                if event.error is not None or not self._has_bar:
                    self._progress.console.print(sample_line(event))
