"""What the soak has shown: figures and judgements, pure."""

import statistics
from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

from tests.soak.ground import DoneFault, Outage, Sample
from tests.soak.requests import Watched

GRACE_S = 3.0
"""How much later than the outage a client may notice it."""

NUM_WARMING = 2
"""How often each gentle fault comes before memory is looked at: the first time it loads code and sets a new peak."""

ARENA_BYTES = 1 << 20
"""RSS may grow by so much: Python takes memory for small objects in such pieces. Source: Objects/obmalloc.c."""

NOISE_DEVIATIONS = 2.0
"""RSS may grow by so many standard deviations from its own line: 95 of 100 looks lie within them."""

LEAST_S = 300.0
"""A slope over less tells nothing."""

SPARE_FILES = 2
"""Descriptors that may be open at the end beside those of the start: a connection that is being closed."""


class Line(NamedTuple):
    """One judgement."""

    is_good: bool
    text: str


def request_lines(watched: Sequence[Watched], outages: Sequence[Outage]) -> list[Line]:
    """Judge whether each request had one end, or was cut off by an outage."""
    counts = Counter(each.outcome for each in watched)
    bad = [each for each in watched if not _is_allowed(each, outages)]
    told = ", ".join(f"{outcome}: {num}" for outcome, num in sorted(counts.items()))
    lines = [
        Line(
            bool(counts["answered"]) and not bad, f"{len(watched)} requests ({told}), {len(bad)} without their one end"
        )
    ]
    lines += [
        Line(False, f"  {each.kind} at {each.started_at:.1f}..{each.ended_at:.1f}: {each.outcome} {each.detail}")
        for each in bad[:20]
    ]
    return lines


def _is_allowed(each: Watched, outages: Sequence[Outage]) -> bool:
    if each.outcome in {"answered", "error", "refused", "left"}:
        return True
    met = [out for out in outages if each.started_at <= out.ended_at + GRACE_S and each.ended_at >= out.started_at]
    if each.outcome == "unreached":
        return bool(met)
    # Who drains lets answers finish; who is killed ends in the middle of a line.
    return each.outcome in {"cut", "open end"} and any(not out.is_drain for out in met)


def memory_line(samples: Sequence[Sample], faults: Sequence[DoneFault], kinds: Collection[str]) -> Line:
    """Judge whether the gateway that served last still grew in the last half of its time after the warming up.

    Args:
        kinds: The faults that a gateway outlives, by name.
    """
    last = [each for each in samples if each.pid == samples[-1].pid]
    warm_at = _warm_at([each for each in faults if each.ended_at >= last[0].at], kinds)
    warm = [] if warm_at is None else [each for each in last if each.at >= warm_at]
    judged = [each for each in warm if each.at >= (warm[0].at + warm[-1].at) / 2]
    duration_s = judged[-1].at - judged[0].at if judged else 0.0
    most = max(each.rss_bytes for each in samples)
    if duration_s < LEAST_S:
        return Line(is_good=True, text=f"RSS: {_mb(last[-1].rss_bytes)}; too short a time for a slope")
    times, sizes = [each.at for each in judged], [float(each.rss_bytes) for each in judged]
    slope, start = statistics.linear_regression(times, sizes)
    noise = statistics.pstdev(size - slope * at - start for at, size in zip(times, sizes, strict=True))
    growth, bound = slope * duration_s, max(ARENA_BYTES, NOISE_DEVIATIONS * noise)
    told = (
        f"RSS: {_mb(warm[0].rss_bytes)} when warm, {_mb(sizes[0])} to {_mb(sizes[-1])} in the last "
        f"{duration_s / 60:.1f} min, by a line {growth / 1e6:+.2f} MB (bound {bound / 1e6:.2f}, "
        f"deviation {noise / 1e6:.2f}), {slope * 3600 / 1e6:+.1f} MB/h; at most {_mb(most)}"
    )
    return Line(growth <= bound, told)


def _warm_at(faults: Sequence[DoneFault], kinds: Collection[str]) -> float | None:
    """Tell when each kind had come as often as warming up takes; None = never."""
    counts = Counter[str]()
    for fault in faults:
        counts[fault.name] += 1
        if all(counts[kind] >= NUM_WARMING for kind in kinds):
            return fault.ended_at
    return None


def _mb(num_bytes: float) -> str:
    return f"{num_bytes / 1e6:.1f} MB"


def rest_line(first: Sample, last: Sample) -> Line:
    """Judge what is open when all is quiet."""
    return Line(
        last.num_files <= first.num_files + SPARE_FILES and last.num_children == first.num_children,
        f"descriptors {first.num_files} to {last.num_files}, children {first.num_children} to {last.num_children}",
    )


def outage_line(outages: Sequence[Outage]) -> Line:
    """Tell how long the gateway was away."""
    away = [each.ended_at - each.started_at for each in outages]
    text = f"back within {max(away):.1f} s (median {statistics.median(away):.1f} s)" if away else "never away"
    return Line(True, f"{len(away)} outages, {text}")
