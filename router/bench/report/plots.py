"""The drawings of a run's page, as SVG: ratios, figures with every answer's dot, when each token came. Pure.

Colours are classes (`c0`, `c1`, ...) that the page's style sheet gives a meaning; each contestant also has its letter,
so that nothing hangs on colour. Each drawing says in words what it shows. Not here: the page around them (`page.py`).
"""

from collections.abc import Sequence
from statistics import median
from typing import Final

from registry.bench_record import BenchRecord, BenchSample
from router.bench.figures.figures import ALL_ROUND_FIGURES, KINDS_BY_NAME, answers_of
from router.bench.figures.statistics import Interval
from router.bench.figures.summary import BenchSummary, ContestantFigures, ScenarioSummary
from router.bench.report.amounts import amount, amount_and_interval, digits
from router.bench.report.axis import LinearAxis, RatioAxis, reach_of
from router.bench.report.markup import Markup, element
from router.bench.report.words import label, letter

WIDE: Final = 720.0
NARROW: Final = 360.0
ROW: Final = 34.0
AXIS_HEIGHT: Final = 30.0
NUM_COLOURS: Final = 6
SECOND_MS: Final = 1000
MAX_NAME: Final = 20
"""Characters of a scenario's name that have room."""

LANE: Final = 9.0
MAX_LANES: Final = 8
"""Parallel answers that are drawn of one contestant."""

MAX_MARKS: Final = 2000
"""Tokens that are drawn of one answer; of longer ones every second, third, ..."""

COMPARED: Final = (
    ("effective_tokens_per_s", "whole answer"),
    ("ttft_p50_ms", "first token"),
    ("decode_tokens_per_s", "writing"),
    ("encode_ms", "picture"),
)


def ratio_plot(record: BenchRecord, summary: BenchSummary, contestant: int) -> Markup | None:
    """Draw how many times as fast as the first a contestant is, scenario by scenario.

    Args:
        contestant: Not the first.

    Returns:
        The drawing; None when nothing was compared.
    """
    rows = [
        (scenario.name if not place else "", title, ratio)
        for scenario in summary.scenarios
        if scenario.skipped is None
        for place, (title, ratio) in enumerate(_speeds(scenario.contestants[contestant]))
    ]
    if not rows:
        return None
    axis = RatioAxis(reach_of([end for *_, ratio in rows for end in (ratio.low, ratio.high)]), 240.0, WIDE - 20)
    first, second = label(record, 0), label(record, contestant)
    places = _row_places([name for name, *_ in rows])
    top, bottom = 26.0, places[-1] + 14
    drawn = [
        element("text", f"← {first} is faster", x=axis.left, y=14, class_="muted"),
        element("text", f"{second} is faster →", x=axis.right, y=14, class_="muted end"),
        *grid(axis, (top, bottom), bottom + 16, "{:g}"),
    ]
    for y, (name, title, ratio) in zip(places, rows, strict=True):
        drawn += _ratio_row(axis, y, (name, title), ratio, (0, contestant))
    said = "; ".join(f"{title} {digits(ratio.mid)}" for _, title, ratio in rows)
    return drawing(
        f"How many times as fast {second} is as {first}: {said}", WIDE, bottom + AXIS_HEIGHT, drawn, "ratios"
    )


def _row_places(names: list[str]) -> list[float]:
    """Give the place of each row; one with a name begins a scenario, with room above it."""
    places, y = [], 20.0
    for name in names:
        y += 30.0 if name else 20.0
        places.append(y)
    return places


def _speeds(one: ContestantFigures) -> list[tuple[str, Interval]]:
    """Give the ratios as speeds: that of a time turned around."""
    found = []
    for name, title in COMPARED:
        ratio = one.figures[name].ratio if name in one.figures else None
        if ratio is not None:
            is_rate = KINDS_BY_NAME[name].is_higher_better
            found.append((title, ratio if is_rate else ratio.inverted()))
    return found


def _ratio_row(
    axis: RatioAxis, y: float, names: tuple[str, str], ratio: Interval, contestants: tuple[int, int]
) -> list[Markup]:
    winner = "even" if ratio.holds(1.0) else f"c{contestants[ratio.mid > 1]}"
    words = f"{digits(ratio.mid)} ({digits(ratio.low)} to {digits(ratio.high)})"
    name, title = names
    return [
        element("text", name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…", x=0, y=y + 4, class_="strong"),
        element("text", title, x=axis.left - 14, y=y + 4, class_="end"),
        element("line", x1=axis.place(ratio.low), x2=axis.place(ratio.high), y1=y, y2=y, class_=f"whisker {winner}"),
        element("circle", element("title", words), cx=axis.place(ratio.mid), cy=y, r=4.5, class_=f"point {winner}"),
    ]


def figure_plot(record: BenchRecord, scenario: ScenarioSummary, name: str) -> Markup | None:
    """Draw one figure of all contestants: a bar to the median, its interval, and a dot for each answer.

    Args:
        name: Of the figure's kind, one of `ALL_ROUND_FIGURES`.

    Returns:
        The drawing; None when nobody was measured.
    """
    kind = KINDS_BY_NAME[name]
    dots = [_dots(record, scenario, name, one.contestant) for one in scenario.contestants]
    figures = [one.figures[name] for one in scenario.contestants]
    known = [value for found in dots for _, value in found]
    known += [figure.interval.high for figure in figures if figure.interval is not None]
    known += [figure.value for figure in figures if figure.value is not None]
    if not known or max(known) <= 0:
        return None
    axis = LinearAxis(max(known) * 1.04, 22.0, NARROW - 76)
    bottom = 4 + ROW * len(figures)
    drawn = _linear_axis(axis, bottom, kind.unit)
    for place, figure in enumerate(figures):
        middle = 4 + ROW * (place + 0.5)
        drawn.append(letter_mark(place, middle))
        drawn.append(element("text", amount(kind, figure.value), x=NARROW, y=middle + 4, class_="end strong"))
        if figure.value is not None:
            drawn.append(bar(axis.left, axis.place(figure.value), middle, 18.0, place))
        if figure.interval is not None:
            drawn.append(_interval(axis, middle, figure.interval))
        drawn += [_dot(axis, middle, place, turn, value, amount(kind, value)) for turn, value in dots[place]]
    said = "; ".join(
        f"{label(record, place)} {amount_and_interval(kind, figure)}" for place, figure in enumerate(figures)
    )
    return drawing(f"{scenario.name}, {kind.title}: {said}", NARROW, bottom + AXIS_HEIGHT, drawn, "figures")


def _dots(record: BenchRecord, scenario: ScenarioSummary, name: str, contestant: int) -> list[tuple[int, float]]:
    """Give round and figure of each single answer."""
    found = [
        (one.round, ALL_ROUND_FIGURES[name]([one], scenario.clock))
        for one in answers_of(record, scenario.name, contestant)
    ]
    return [(turn, value) for turn, value in found if value is not None]


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


def _linear_axis(axis: LinearAxis, bottom: float, unit: str) -> list[Markup]:
    is_seconds = unit == "ms" and axis.end >= SECOND_MS
    shown = axis._replace(end=axis.end / SECOND_MS) if is_seconds else axis
    title = element("text", "s" if is_seconds else unit, x=NARROW, y=bottom + 16, class_="muted end")
    return [*grid(shown, (2, bottom), bottom + 16, "{:g}"), title]


def _interval(axis: LinearAxis, y: float, interval: Interval) -> Markup:
    low, high = axis.place(interval.low), axis.place(interval.high)
    path = f"M{low:.1f} {y - 6:.1f}v12m0-6H{high:.1f}m0-6v12"
    return element("path", d=path, class_="interval")


def _dot(axis: LinearAxis, y: float, place: int, turn: int, value: float, words: str) -> Markup:
    """Draw an answer; rounds are spread over the bar's height, so that equal ones do not hide each other."""
    offset = (turn * 5) % 13 - 6
    title = element("title", f"round {turn + 1}: {words}")
    return element("circle", title, cx=axis.place(value), cy=y + offset, r=2.6, class_=f"dot {colour(place)}")


def colour(contestant: int) -> str:
    """Give the class of a contestant's colour."""
    return f"c{contestant % NUM_COLOURS}"


def letter_mark(contestant: int, y: float) -> Markup:
    """Draw a contestant's letter at the left, its middle at `y`."""
    return element("text", letter(contestant), x=2, y=y + 4, class_=f"strong t{contestant}")


def bar(begin: float, end: float, y: float, height: float, contestant: int) -> Markup:
    """Draw a bar of a contestant, its middle at `y`."""
    width = max(end - begin, 0.0)
    return element("rect", x=begin, y=y - height / 2, width=width, height=height, class_=f"bar {colour(contestant)}")


def grid(axis: LinearAxis | RatioAxis, lines: tuple[float, float], text_y: float, words: str) -> list[Markup]:
    """Draw an axis' marks, each as a line and as words.

    Args:
        lines: Top and bottom of each line.
        words: A format of the mark's figure, e.g. `{:g} s`.
    """
    drawn = []
    for mark in axis.marks():
        x, is_one = axis.place(mark), isinstance(axis, RatioAxis) and mark == 1.0
        drawn.append(element("line", x1=x, x2=x, y1=lines[0], y2=lines[1], class_="one" if is_one else "grid"))
        drawn.append(element("text", words.format(mark), x=x, y=text_y, class_="muted middle"))
    return drawn


def drawing(said: str, width: float, height: float, drawn: Sequence[Markup], kind: str) -> Markup:
    """Put shapes into an SVG of its own.

    Args:
        said: What it shows, for those who do not see it.
        width: In units of its shapes.
    """
    box = f"0 0 {width:.0f} {height:.0f}"
    return element("svg", *drawn, viewBox=box, role="img", aria_label=said, class_=f"plot {kind}")
