"""The timeline of a run's page, as SVG: when each token of a typical round came. Pure.

Not here: the other drawings (`plots.py`).
"""

from collections.abc import Sequence
from statistics import median
from typing import Final

from registry.bench_record import BenchRecord, BenchSample
from router.bench.figures.figures import answers_of
from router.bench.figures.summary import ScenarioSummary
from router.bench.report.amounts import digits
from router.bench.report.axis import LinearAxis
from router.bench.report.markup import Markup, element
from router.bench.report.plots import WIDE, bar, colour, drawing, grid, letter_mark

LANE: Final = 9.0
MAX_LANES: Final = 8
"""Parallel answers that are drawn of one contestant."""

MAX_MARKS: Final = 2000
"""Tokens that are drawn of one answer; of longer ones every second, third, ..."""


def timeline_plot(record: BenchRecord, scenario: ScenarioSummary) -> Markup | None:
    """Draw when each token of a typical round came: the wait before the first one, then a line per token.

    Returns:
        The drawing; None when no answer has its tokens' times.
    """
    rounds = [_typical_round(answers_of(record, scenario.name, one.contestant)) for one in scenario.contestants]
    ends = [_offset_ms(one, found) + one.token_times_ms[-1] for found in rounds for one in found]
    if not ends or max(ends) <= 0:
        return None
    axis = LinearAxis(max(ends) / 1000, 22.0, WIDE - 90)
    y, drawn = 6.0, []
    for place, found in enumerate(rounds):
        num_tokens = sum(one.num_output_tokens for one in found)
        words = f"{num_tokens} tokens" if found else "not measured"
        middle = y + LANE * max(len(found), 2) / 2
        drawn.append(letter_mark(place, middle))
        drawn.append(element("text", words, x=WIDE, y=middle + 4, class_="end"))
        height = LANE if len(found) > 1 else 2 * LANE
        for one in found:
            drawn += _lane(axis, y, height - 2, place, one, _offset_ms(one, found))
            y += height
        y += 10 if found else 2 * LANE
    drawn += grid(axis, (2, y), y + 12, "{:g} s")
    said = f"{scenario.name}: when each token of a typical round came; the last one after {digits(max(ends) / 1000)} s"
    return drawing(said, WIDE, y + 18, drawn, "timeline")


def _lane(axis: LinearAxis, y: float, height: float, place: int, one: BenchSample, offset_ms: float) -> list[Markup]:
    begin = axis.place(offset_ms / 1000)
    first = axis.place((offset_ms + one.token_times_ms[0]) / 1000)
    step = 1 + len(one.token_times_ms) // MAX_MARKS
    path = "".join(
        f"M{axis.place((offset_ms + time) / 1000):.1f} {y:.1f}v{height:.1f}" for time in one.token_times_ms[::step]
    )
    wait = bar(begin, first, y + height / 2, 3.0, place)
    return [wait, element("path", d=path, class_=f"token {colour(place)}")]


def _typical_round(answers: Sequence[BenchSample]) -> list[BenchSample]:
    """Choose the round whose answers took as long as the median round's."""
    timed = [one for one in answers if one.token_times_ms]
    lengths = {
        turn: max(_offset_ms(one, _of_round(timed, turn)) + one.token_times_ms[-1] for one in _of_round(timed, turn))
        for turn in sorted({one.round for one in timed})
    }
    if not lengths:
        return []
    middle = median(lengths.values())
    chosen = min(lengths, key=lambda turn: abs(lengths[turn] - middle))
    return _of_round(timed, chosen)[:MAX_LANES]


def _of_round(answers: Sequence[BenchSample], turn: int) -> list[BenchSample]:
    """Give the answers of one round, in the order in which they began."""
    return sorted((one for one in answers if one.round == turn), key=lambda one: one.started_s)


def _offset_ms(one: BenchSample, found: Sequence[BenchSample]) -> float:
    return 1000 * (one.started_s - min(other.started_s for other in found))
