"""What the benchmarks print: medians, ratios against their targets, and what else the machine did meanwhile."""

import math
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
import psutil

ROWS_VARIABLE: Final = "MLXR_BENCH_ROWS"
"""Environment variable: a file to which benchmarks append what they print, for `compare.py`."""

IDLE_CORES: Final = 0.1
"""Cores that others may use where a machine still counts as idle."""


class Row(msgspec.Struct, frozen=True):
    """One ratio of a benchmark.

    Attributes:
        ratio: Median of the rounds.
        others_cores: As in `print_ratio`.
    """

    what: str
    ratio: float
    least: float
    most: float
    num_rounds: int
    at_least: float | None
    at_most: float | None
    others_cores: float | None

    @property
    def is_met(self) -> bool:
        """Whether it reaches its target; so does one without a target."""
        return (self.at_least is None or self.ratio >= self.at_least) and (
            self.at_most is None or self.ratio <= self.at_most
        )


def note(finding: Row | float) -> None:
    """Append a row, or the cores that others used during those before it, to the file of `compare.py`."""
    if path := os.environ.get(ROWS_VARIABLE):
        with Path(path).open("ab") as file:
            file.write(msgspec.json.encode(finding) + b"\n")


@contextmanager
def machine_watch() -> Iterator[None]:
    """Print at the end how busy the machine was with others while the benchmark ran.

    The processes that the benchmark started must have ended by then: only ended children are known to the system by
    their times.
    """
    started_at, busy_before, ours_before = time.monotonic(), busy_s(), _ours_s()
    load = os.getloadavg()[0]
    yield
    duration_s = time.monotonic() - started_at
    others = max(0.0, busy_s() - busy_before - (_ours_s() - ours_before)) / duration_s
    note(others)
    print(
        f"machine: {os.cpu_count()} cores, load average {load:.2f} before; "
        f"others kept {others:.2f} cores busy during {duration_s:.0f} s"
    )


def busy_s() -> float:
    """Return how long the machine's cores have worked since it was started, all together, seconds."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    counted_twice = getattr(times, "guest", 0.0) + getattr(
        times, "guest_nice", 0.0
    )  # they are in user and nice as well
    return float(sum(times) - idle - counted_twice)


def _ours_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def in_turns(sides: Sequence[str], num_rounds: int) -> Iterator[tuple[int, str]]:
    """Yield (round, side) in the order A B, B A, A B, ..., so that the machine's drift falls on all sides."""
    for index in range(num_rounds):
        for side in sides if index % 2 == 0 else reversed(sides):
            yield index, side


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def print_ratio(
    what: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    others_cores: float | None = None,
) -> None:
    """Print the median of the rounds' ratios, which the machine's drift moves least, and whether it meets the target.

    Args:
        what: Names of both sides, as in `mlxr / llama-server`.
        ours: One figure per round.
        theirs: The same number of figures.
        at_least: The target when more is better.
        at_most: The target when less is better.
        others_cores: Cores that others used meanwhile; None = what `machine_watch` says.
    """
    by_rounds = [our / their for our, their in zip(ours, theirs, strict=True)]
    ratio = statistics.median(by_rounds)
    of_medians = statistics.median(ours) / statistics.median(theirs)
    shown_rounds = ", ".join(f"{value:.2f}" for value in by_rounds)
    target = verdict(ratio, at_least=at_least, at_most=at_most)
    if others_cores is not None and others_cores > IDLE_CORES:
        target = f" (not measured: others used {others_cores:.2f} cores)"
    print(f"{what}: ratio {ratio:.3f}{target}; rounds {shown_rounds}; of the medians {of_medians:.3f}", flush=True)
    note(Row(what.strip(), ratio, min(by_rounds), max(by_rounds), len(by_rounds), at_least, at_most, others_cores))


def print_value(what: str, value: float, *, at_least: float | None = None, at_most: float | None = None) -> None:
    """Print one figure, and whether it meets its target."""
    print(f"{what}: {value:.3f}{verdict(value, at_least=at_least, at_most=at_most)}", flush=True)
    note(Row(what.strip(), value, value, value, 1, at_least, at_most, None))


def verdict(value: float, *, at_least: float | None = None, at_most: float | None = None) -> str:
    """Return ` (target ...: met)` or ` (target ...: missed)`; empty without a target."""
    if at_least is not None:
        return f" (target at least {at_least:g}: {'met' if value >= at_least else 'missed'})"
    if at_most is not None:
        return f" (target at most {at_most:g}: {'met' if value <= at_most else 'missed'})"
    return ""


def shown(values: Sequence[float], unit: str, digits: int = 2) -> str:
    """Return the median and the range."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"median {middle:.{digits}f} {unit} ({low:.{digits}f} to {high:.{digits}f})"
