"""Shows the events of a pull: a bar on a terminal, a line per 5 % elsewhere, or one JSON object a line.

Progress goes to stderr, so that stdout has only the result; with `--json` all events go to stdout. Not here: where the
events come from (`pull.py`).
"""

import json
import sys
from typing import Any, Final, Self

import msgspec
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bars

from registry.pull.events import (
    Converting,
    FileDone,
    FileStarted,
    Planned,
    Progress,
    PullEvent,
    Registered,
    Retrying,
    Started,
    Verifying,
    Waiting,
)
from router.cli.terminal.output import Printer, plural, shown, size

STEP_PERCENT: Final = 5

_MINUTE_S: Final = 60
_HOUR_S: Final = 3600


def printer_for(*, is_json: bool) -> Printer[PullEvent]:
    """Choose by where the output goes."""
    if is_json:
        return JSONPrinter()
    return BarPrinter() if sys.stderr.isatty() else LinePrinter()


class JSONPrinter(Printer[PullEvent]):
    """One object a line, on stdout."""

    def show(self, event: PullEvent) -> None:
        """Print an event."""
        print(json.dumps(msgspec.to_builtins(event)), flush=True)


class LinePrinter(Printer[PullEvent]):
    """Lines for logs and pipes."""

    def __init__(self) -> None:
        self._next_percent = 0
        self._last_said = ""

    def show(self, event: PullEvent) -> None:
        """Print what is worth a line."""
        if isinstance(event, Progress):
            percent = percent_of(event)
            if percent >= self._next_percent:
                self.say(f"{percent:3d} %  {numbers_of(event)}")
                self._next_percent = percent - percent % STEP_PERCENT + STEP_PERCENT
        elif isinstance(event, Converting):
            self._show_step(event)
        elif (sentence := sentence_of(event)) is not None and sentence != self._last_said:
            self._last_said = sentence
            self.say(sentence)

    def _show_step(self, event: Converting) -> None:
        """Print each step of a conversion once."""
        if event.step != self._last_said:
            self._last_said = event.step
            self.say(f"{event.step} ...")

    def say(self, text: str) -> None:
        """Print a line; texts of others are made safe."""
        print(shown(text), file=sys.stderr, flush=True)


class BarPrinter(LinePrinter):
    """A bar that stays below the other lines."""

    def __init__(self) -> None:
        super().__init__()

        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:3.0f} %"),
            TextColumn("{task.fields[numbers]}", markup=False),
            console=Console(stderr=True),
            expand=True,
        )
        self._task: TaskID | None = None
        self._active: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop drawing; the bar stays as it is."""
        self._bars.stop()

    def show(self, event: PullEvent) -> None:
        """Move the bar, or print a line above it."""
        if isinstance(event, Progress):
            self._update(completed=event.done_bytes, total=event.total_bytes, numbers=numbers_of(event))
        elif isinstance(event, Started) and not event.is_joined:
            self._update(description=f"looking up {shown(event.reference)}")
        elif isinstance(event, FileStarted | Verifying | FileDone):
            self._follow_files(event)
        elif isinstance(event, Registered) and self._task is not None:
            total = self._bars.tasks[0].total
            self._update(completed=total, description="done", numbers=size(int(total or 0)))
        else:
            super().show(event)

    def _follow_files(self, event: FileStarted | Verifying | FileDone) -> None:
        """Name the file that is worked on; of several, the one that began last."""
        if isinstance(event, FileDone):
            self._active.pop(event.path, None)
        else:
            name = shown(event.path.rpartition("/")[2])
            self._active[event.path] = f"checking {name}" if isinstance(event, Verifying) else name
        self._update(description=next(reversed(self._active.values()), ""))

    def _show_step(self, event: Converting) -> None:
        """Move the bar of a conversion."""
        self._update(description=event.step, completed=(event.share or 0.0) * 100, total=100, numbers="")

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._bars.console.print(shown(text), markup=False, highlight=False, soft_wrap=True)

    def _update(self, **values: Any) -> None:
        if self._task is None:
            self._task = self._bars.add_task("", total=None, numbers="")
        self._bars.update(self._task, **values)


def percent_of(progress: Progress) -> int:
    """Give how far a pull is, 0 to 100; 100 only at its end."""
    if progress.done_bytes >= progress.total_bytes:
        return 100
    return min(99, 100 * progress.done_bytes // progress.total_bytes)


def numbers_of(progress: Progress) -> str:
    """Write sizes, speed and time to go."""
    words = [f"{size(progress.done_bytes)} of {size(progress.total_bytes)}"]
    if progress.bytes_per_s:
        words.append(f"{size(int(progress.bytes_per_s))}/s")
    if progress.eta_s is not None and progress.done_bytes < progress.total_bytes:
        words.append(f"{duration(progress.eta_s)} left")
    return "  ".join(words)


def duration(seconds: float) -> str:
    """Write a duration for people, e.g. `2 h 05 min`."""
    whole = round(seconds)
    if whole >= _HOUR_S:
        return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S:02d} min"
    return f"{whole // _MINUTE_S} min {whole % _MINUTE_S:02d} s" if whole >= _MINUTE_S else f"{whole} s"


def sentence_of(event: PullEvent) -> str | None:
    """Say what an event means; None for those that need no words."""
    match event:
        case Started(is_joined=True, id=number):
            return f"This is pull {number}, which was begun before."
        case Planned():
            return _plan_sentence(event)
        case Waiting(path=path):
            return f"Another pull is fetching {path}; waiting for it."
        case Retrying(path=path, reason=reason, delay_s=delay_s):
            return f"{path.rpartition('/')[2]}: {reason}; trying again in {duration(delay_s)}."
        case _:
            return None


def _plan_sentence(event: Planned) -> str:
    files = [file for part in event.plan.parts for file in part.files]
    quants = " and ".join(part.quant or str(part.format) for part in event.plan.parts)
    here = event.total_bytes - event.needed_bytes
    already = f"; {size(here)} of it are here" if here else ""
    if not event.needed_bytes:
        already = "; all of it is here already"
    words = f"{event.plan.reference} ({quants}): {plural(len(files), 'file')}, {size(event.total_bytes)}{already}."
    return " ".join((words, *event.plan.notes))
