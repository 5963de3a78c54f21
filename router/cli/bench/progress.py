"""Shows how far a benchmark is, on stderr: a bar on a terminal, one line per sample elsewhere. Not here: the report."""

import sys
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from router.bench.events import BenchProgress, BenchSampled, BenchStarted, BenchStep
from router.cli.terminal.output import Printer, shown


def printer_for() -> Printer[BenchProgress]:
    """Choose by where stderr goes."""
    return BarPrinter() if sys.stderr.isatty() else LinePrinter()


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


class LinePrinter(Printer[BenchProgress]):
    """For files and pipes."""

    def show(self, event: BenchProgress) -> None:
        """Print the beginning and every sample."""
        match event:
            case BenchStarted():
                print(head_line(event), file=sys.stderr, flush=True)
            case BenchSampled():
                print(sample_line(event), file=sys.stderr, flush=True)
            case BenchStep():
                pass


class BarPrinter(Printer[BenchProgress]):
    """For terminals."""

    def __init__(self) -> None:
        columns = (BarColumn(24), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
        console = Console(stderr=True, markup=False, highlight=False)
        self._progress: Progress = Progress(*columns, console=console, transient=True)
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, event: BenchProgress) -> None:
        """Move the bar; failures are printed above it."""
        match event:
            case BenchStarted():
                self._progress.console.print(head_line(event))
                self._task = self._progress.add_task("", total=1.0)
            case BenchStep(what=what, share=share):
                if self._task is not None:
                    self._progress.update(self._task, completed=share, description=shown(what))
            case BenchSampled():
                if event.error is not None:
                    self._progress.console.print(sample_line(event))
