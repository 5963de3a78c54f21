"""A run as one HTML page that needs nothing else: no script, no network, light and dark. Not here: its drawings."""

from collections.abc import Sequence
from typing import Final

from registry.bench_record import BenchNotice, BenchRecord
from router.bench.figures.figures import FigureKind
from router.bench.figures.summary import BenchSummary, ContestantFigures, Figure, ScenarioSummary, summarize
from router.bench.report.amounts import NOT_MEASURED, amount, amount_and_interval
from router.bench.report.markup import Markup, element, join
from router.bench.report.plots import colour, figure_plot, ratio_plot, timeline_plot
from router.bench.report.style import STYLE
from router.bench.report.words import (
    WHAT_PICTURES_ARE,
    contestant_facts,
    has_pictures,
    headline,
    is_decisions,
    is_talk,
    label,
    letter,
    machine_words,
    measured_sides,
    notice_words,
    quality_sentences,
    run_words,
    scenario_kinds,
    scenario_sentences,
)

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Not even a browser that is talked into it fetches anything for this page."""

PLOTTED: Final = (
    ("ttft_p50_ms", "Time to first token: shorter is better"),
    ("decode_tokens_per_s", "Writing, tokens per second: longer is better"),
    ("ttft_again_ms", "Time to first token, picture again: shorter is better"),
    ("encode_ms", "Time of the picture: shorter is better"),
)

HOW_MEASURED: Final = (
    "Each contestant does the same work in every round, in changing order. A figure is the median of its rounds; the "
    "numbers below it are a bootstrap interval that holds the true median 95 times of 100. Two contestants are called "
    "different only when the interval of their ratio, taken within rounds, does not hold 1."
)
WHAT_FIGURES_ARE: Final = (
    "Time to first token is the wait before anything can be read. Prompt reading counts the tokens of the prompt that "
    "were computed, cached ones left out. Writing is the pace of one answer after its first token. Whole answer is all "
    "tokens over the whole wait, parallel answers together; it decides who is called faster."
)


def as_page(record: BenchRecord) -> str:
    """Write a run as a page."""
    summary = summarize(record)
    title = f"{record.model}: benchmark {record.bench_id}"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("link", rel="icon", href="data:,"),
        element("title", title),
        element("style", Markup(STYLE)),
    )
    body = element(
        "body",
        element(
            "main",
            _head(record, summary),
            _contestants(record),
            _overview(record, summary),
            *(_scenario(record, scenario) for scenario in summary.scenarios if scenario.skipped is None),
            _not_run(record, summary),
            _sides(record, summary),
            element(
                "section",
                element("h2", "How to read this"),
                element("p", HOW_MEASURED),
                element("p", WHAT_FIGURES_ARE),
                element("p", WHAT_PICTURES_ARE) if any(map(has_pictures, summary.scenarios)) else None,
            ),
        ),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _head(record: BenchRecord, summary: BenchSummary) -> Markup:
    return element(
        "header",
        element("h1", record.model),
        element("p", headline(record, summary), class_="lead"),
        element("p", f"Run {run_words(record)}. {machine_words(record)}.", class_="quiet"),
        *(_notice(notice) for notice in record.notices),
    )


def _notice(notice: BenchNotice) -> Markup:
    title = element("b", "Void: " if notice.is_void else "Note: ")
    return element("p", title, notice_words(notice), class_="notice void" if notice.is_void else "notice")


def _contestants(record: BenchRecord) -> Markup:
    cards = []
    for number, contestant in enumerate(record.contestants):
        facts = [
            part for name, value in contestant_facts(contestant) for part in (element("dt", name), element("dd", value))
        ]
        cards.append(
            element(
                "div",
                element("h2", _name(record, number)),
                element("dl", *facts),
                class_=f"contestant {colour(number)}",
            )
        )
    return element("section", element("div", *cards, class_="contestants"))


def _overview(record: BenchRecord, summary: BenchSummary) -> Markup | None:
    drawn = [ratio_plot(record, summary, number) for number in range(1, len(record.contestants))]
    figures = [
        element("figure", element("figcaption", f"{label(record, number)} against {label(record, 0)}"), plot)
        for number, plot in enumerate(drawn, start=1)
        if plot is not None
    ]
    if not figures:
        return None
    text = "How many times as fast, with 95 % intervals. A grey one holds 1: no difference could be measured."
    return element("section", element("h2", "Who is faster"), element("p", text, class_="quiet"), *figures)


def _scenario(record: BenchRecord, scenario: ScenarioSummary) -> Markup:
    said = [element("p", sentence) for sentence in scenario_sentences(record, scenario)]
    known = scenario.contestants[0].figures if scenario.contestants else {}
    # A talk has hundreds of turns, of several ways, and decisions have no tokens to wait for: their tables say more.
    is_plain = not is_talk(scenario) and not is_decisions(scenario)
    plotted = PLOTTED if is_plain else ()
    plots = [(caption, figure_plot(record, scenario, name)) for name, caption in plotted if name in known]
    pair = [element("figure", element("figcaption", caption), plot) for caption, plot in plots if plot is not None]
    timeline = timeline_plot(record, scenario) if is_plain else None
    caption = "When each token of a typical round came: a line per token, after the wait for the first"
    return element(
        "section",
        element("h2", scenario.name),
        element("p", scenario.what, class_="quiet"),
        *said,
        element("div", *pair, class_="pair"),
        None if timeline is None else element("figure", element("figcaption", caption), timeline),
        _table(record, scenario_kinds(scenario), scenario.contestants),
    )


def _not_run(record: BenchRecord, summary: BenchSummary) -> Markup | None:
    rows = [
        part
        for scenario in summary.scenarios
        if scenario.skipped is not None
        for part in (element("dt", scenario.name), element("dd", *scenario_sentences(record, scenario)))
    ]
    return element("section", element("h2", "Not run"), element("dl", *rows)) if rows else None


def _sides(record: BenchRecord, summary: BenchSummary) -> Markup | None:
    kinds = measured_sides(summary)
    said = [element("p", sentence) for sentence in quality_sentences(record)]
    if not kinds and not said:
        return None
    table = _table(record, kinds, summary.sides) if kinds else None
    return element("section", element("h2", "Loading, memory and quality"), table, *said)


def _table(record: BenchRecord, kinds: Sequence[FigureKind], rows: Sequence[ContestantFigures]) -> Markup:
    head = element("tr", element("th", "", scope="col"), *(element("th", kind.title, scope="col") for kind in kinds))
    body = [
        element(
            "tr",
            element("th", _name(record, one.contestant), scope="row"),
            *(_cell(kind, one.figures[kind.name]) for kind in kinds),
        )
        for one in rows
    ]
    return element("div", element("table", element("thead", head), element("tbody", *body)), class_="scroll")


def _cell(kind: FigureKind, figure: Figure) -> Markup:
    if figure.value is None:
        return element("td", NOT_MEASURED)
    value = amount(kind, figure.value)
    interval = amount_and_interval(kind, figure).removeprefix(value).strip(" ()")
    return element(
        "td",
        value,
        element("small", interval) if interval else None,
        class_="best" if figure.verdict == "faster" else None,
    )


def _name(record: BenchRecord, contestant: int) -> Markup:
    key = element("span", letter(contestant), class_=f"key {colour(contestant)}")
    return join(key, " ", label(record, contestant))
