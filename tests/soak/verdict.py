"""What the soak has shown: figures and judgements, pure."""

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from tests.soak.ground import Outage, Sample
from tests.soak.requests import Watched

GRACE_S = 3.0
"""How much later than the outage a client may notice it."""

MAX_GROWTH_SHARE = 0.05
MAX_GROWTH_BYTES = 4 << 20
"""RSS may grow by the larger of these over the last, quiet part."""

LEAST_S = 300.0
"""A slope over less is the warming up."""

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


def memory_line(samples: Sequence[Sample]) -> Line:
    """Judge the growth of the gateway that served last, over what is left of its time after it became warm."""
    last = [each for each in samples if each.pid == samples[-1].pid]
    warm = last[len(last) // 4 :]
    if warm[-1].at - warm[0].at < LEAST_S:
        return Line(is_good=True, text=f"RSS: {warm[-1].rss_bytes / 1e6:.1f} MB; too short a time for a slope")
    slope, _ = statistics.linear_regression([each.at for each in warm], [float(each.rss_bytes) for each in warm])
    duration_s = warm[-1].at - warm[0].at
    growth = slope * duration_s
    is_good = growth <= max(MAX_GROWTH_SHARE * warm[0].rss_bytes, MAX_GROWTH_BYTES)
    most = max(each.rss_bytes for each in samples)
    return Line(
        is_good,
        f"RSS: {warm[0].rss_bytes / 1e6:.1f} MB to {warm[-1].rss_bytes / 1e6:.1f} MB in {duration_s / 60:.1f} min, "
        f"slope {slope * 3600 / 1e6:+.1f} MB/h; at most {most / 1e6:.1f} MB",
    )


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
