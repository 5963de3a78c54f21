"""The figures that a run is summed up in: their names and units, and each one of a round's samples. Pure.

A figure that was not measured is None, never 0. Not here: medians over rounds and what they mean (`summary.py`).
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise
from statistics import median
from typing import Final, Literal, NamedTuple, get_args

from registry.bench_record import BenchRecord, BenchSample, TalkWay
from router.bench.figures.statistics import percentile

Clock = Literal["server", "client"]

RoundFigure = Callable[[Sequence[BenchSample], Clock], float | None]


class FigureKind(NamedTuple):
    """What a figure is.

    Attributes:
        name: Stable, with its unit.
        is_higher_better: True for rates, False for times; None = neither is better, so nothing is compared.
    """

    name: str
    title: str
    unit: str
    is_higher_better: bool | None


KINDS: Final = (
    FigureKind("ttft_p50_ms", "time to first token", "ms", is_higher_better=False),
    FigureKind("ttft_p95_ms", "time to first token, p95", "ms", is_higher_better=None),
    FigureKind("prefill_tokens_per_s", "prompt reading", "tok/s", is_higher_better=True),
    FigureKind("decode_tokens_per_s", "writing", "tok/s", is_higher_better=True),
    FigureKind("effective_tokens_per_s", "whole answer", "tok/s", is_higher_better=True),
    FigureKind("gap_p99_ms", "gaps between tokens, p99", "ms", is_higher_better=False),
)
"""Of a scenario, in the order in which they are shown."""

IMAGE_KINDS: Final = (
    FigureKind("ttft_again_ms", "time to first token, picture again", "ms", is_higher_better=False),
    FigureKind("encode_ms", "picture", "ms", is_higher_better=False),
    FigureKind("rows_per_s", "picture's rows", "rows/s", is_higher_better=True),
    FigureKind("equal_answers_percent", "answers that are the first's", "%", is_higher_better=None),
)
"""Of a scenario with pictures, beside `KINDS`; no other one has them."""

DRAFT_KINDS: Final = (
    FigureKind("accepted_drafts_percent", "drafted tokens that were right", "%", is_higher_better=None),
    FigureKind("model_drafts_percent", "drafted tokens of a draft model", "%", is_higher_better=None),
)
"""Of a scenario in which tokens were drafted; no other one has them."""

TALK_WAYS: Final[tuple[TalkWay, ...]] = get_args(TalkWay)
WAY_WORDS: Final[dict[TalkWay, str]] = {"wind": "wound", "truncated": "oldest turns left out", "full": "whole"}

TALK_KINDS: Final = (
    *(
        FigureKind(f"{way}_{name}", f"{title}, {WAY_WORDS[way]}", unit, is_higher_better=is_higher_better)
        for way in TALK_WAYS
        for name, title, unit, is_higher_better in (
            ("recall_percent", "facts recalled", "%", None),
            ("outdated_percent", "facts in an old form", "%", None),
            ("turn_tokens", "prompt of a turn", "tok", None),
            ("turn_p50_ms", "a turn", "ms", False),
            ("turn_p95_ms", "a turn, p95", "ms", None),
        )
    ),
    FigureKind("num_winds", "winds of a talk", "winds", is_higher_better=None),
)
"""Of a scenario that is a long talk, by what of it was shown, in the place of `KINDS`; no other one has them."""

DECISION_KINDS: Final = (
    FigureKind("decisions_p50_ms", "all decisions of a state", "ms", is_higher_better=False),
    FigureKind("agreement_percent", "decisions that are the first's", "%", is_higher_better=None),
    FigureKind("difference_percent", "difference of probabilities, mean", "%", is_higher_better=None),
    FigureKind("difference_most_percent", "difference of probabilities, largest", "%", is_higher_better=None),
)
"""Of a scenario of decisions, in the place of `KINDS`; no other one has them."""

SIDE_KINDS: Final = (
    FigureKind("load_s", "cold load", "s", is_higher_better=False),
    FigureKind("swap_s", "swap from the other engine", "s", is_higher_better=False),
    FigureKind("unload_s", "unload", "s", is_higher_better=False),
    FigureKind("freed_bytes", "memory given back", "bytes", is_higher_better=None),
    FigureKind("peak_memory_bytes", "peak memory", "bytes", is_higher_better=None),
    FigureKind("energy_j", "energy of the machine", "J", is_higher_better=None),
)
"""Of a contestant, measured beside the scenarios."""

KINDS_BY_NAME: Final = {
    kind.name: kind for kind in (*KINDS, *IMAGE_KINDS, *DRAFT_KINDS, *TALK_KINDS, *DECISION_KINDS, *SIDE_KINDS)
}


def answers_of(record: BenchRecord, scenario: str, contestant: int) -> list[BenchSample]:
    """List a contestant's answers to a scenario; requests that failed are left out."""
    return [
        sample
        for sample in record.samples
        if sample.scenario == scenario and sample.contestant == contestant and sample.error is None
    ]


def clock_of(samples: Sequence[BenchSample]) -> Clock:
    """Choose whose figures of decoding are compared: one clock for all contestants of a scenario.

    Returns:
        `server` when each of them has the server's own figure, else `client`.
    """
    has_all = all(sample.decode_ms is not None for sample in samples if sample.num_output_tokens > 1)
    return "server" if has_all else "client"


def ttft_ms(samples: Sequence[BenchSample], _clock: Clock) -> float | None:
    """Give the median time to the first token, by the client's clock; where there are pictures, with them new."""
    return _median([sample.ttft_ms for sample in samples if sample.image != "again"])


def ttft_again_ms(samples: Sequence[BenchSample], _clock: Clock) -> float | None:
    """Give the same for pictures that were shown before, but for those whose rows the server had to make anew."""
    again = [sample for sample in samples if sample.image == "again"]
    return _median([sample.ttft_ms for sample in again if sample.is_image_cached in {None, True}])


def encode_ms(samples: Sequence[BenchSample], _clock: Clock) -> float | None:
    """Give the median time that towers took for a picture. Only servers can tell."""
    return _median([sample.encode_ms for sample in samples])


def row_rate(samples: Sequence[BenchSample], _clock: Clock) -> float | None:
    """Give the median rate at which towers made rows. Only servers can tell."""
    return _median([_rate(sample.num_image_tokens or 0, sample.encode_ms) for sample in samples])


def prefill_rate(samples: Sequence[BenchSample], _clock: Clock) -> float | None:
    """Give the median rate of prompt tokens that were computed; cached ones do not count. Only servers can tell."""
    return _median([_prefill_rate(sample) for sample in samples])


def _prefill_rate(sample: BenchSample) -> float | None:
    if sample.num_prompt_tokens is None or sample.num_cached_tokens is None:
        return None
    if sample.image is not None:
        return None  # the tower's time is in it
    return _rate(sample.num_prompt_tokens - sample.num_cached_tokens, sample.prefill_ms)


def decode_rate(samples: Sequence[BenchSample], clock: Clock) -> float | None:
    """Give the median rate of one stream's tokens after its first."""
    rates = [
        _rate(sample.num_output_tokens - 1, sample.decode_ms if clock == "server" else _span_ms(sample))
        for sample in samples
    ]
    return _median(rates)


def effective_rate(samples: Sequence[BenchSample], _clock: Clock) -> float | None:
    """Give the answers' tokens over the time that they took together: that of parallel streams counts once."""
    ended = [sample for sample in samples if sample.total_ms is not None]
    if not ended:
        return None
    num_tokens = sum(sample.num_output_tokens for sample in ended)
    if max(sample.num_parallel for sample in ended) == 1:
        return _rate(num_tokens, sum(sample.total_ms or 0.0 for sample in ended))
    begin_s = min(sample.started_s for sample in ended)
    end_s = max(sample.started_s + (sample.total_ms or 0.0) / 1000 for sample in ended)
    return _rate(num_tokens, (end_s - begin_s) * 1000)


def gap_p99_ms(samples: Sequence[BenchSample], _clock: Clock) -> float | None:
    """Give the 99th percentile of the time between two pieces of an answer, by the client's clock."""
    return percentile(
        [later - earlier for sample in samples for earlier, later in pairwise(sample.token_times_ms)], 0.99
    )


def accepted_drafts(samples: Sequence[BenchSample], _clock: Clock) -> float | None:
    """Give the share of drafted tokens that were right, percent. Only servers can tell."""
    num_drafted = sum(sample.num_drafted or 0 for sample in samples)
    return 100 * sum(sample.num_accepted or 0 for sample in samples) / num_drafted if num_drafted else None


def model_drafts(samples: Sequence[BenchSample], _clock: Clock) -> float | None:
    """Give the share of drafted tokens that a draft model drafted, percent; the others were looked up."""
    num_drafted = sum(sample.num_drafted or 0 for sample in samples)
    return 100 * sum(sample.num_drafted_by_model or 0 for sample in samples) / num_drafted if num_drafted else None


ROUND_FIGURES: Final[dict[str, RoundFigure]] = {
    "ttft_p50_ms": ttft_ms,
    "prefill_tokens_per_s": prefill_rate,
    "decode_tokens_per_s": decode_rate,
    "effective_tokens_per_s": effective_rate,
    "gap_p99_ms": gap_p99_ms,
}
"""Those of a round; `ttft_p95_ms` is one of all samples, because a round has few."""


IMAGE_FIGURES: Final[dict[str, RoundFigure]] = {
    "ttft_again_ms": ttft_again_ms,
    "encode_ms": encode_ms,
    "rows_per_s": row_rate,
}
"""Those of a round of a scenario with pictures, beside `ROUND_FIGURES`."""


DRAFT_FIGURES: Final[dict[str, RoundFigure]] = {
    "accepted_drafts_percent": accepted_drafts,
    "model_drafts_percent": model_drafts,
}
"""Those of a round of a scenario with drafts."""


def turn_tokens(way: TalkWay, samples: Sequence[BenchSample], _clock: Clock) -> float | None:
    """Give the median length of a turn's prompt, as the server counted it."""
    return _median([sample.num_prompt_tokens for sample in turns_of(samples, way)])


def turn_ms(way: TalkWay, samples: Sequence[BenchSample], _clock: Clock) -> float | None:
    """Give the median time of a turn, from sending to the end."""
    return _median([sample.total_ms for sample in turns_of(samples, way)])


def num_winds(samples: Sequence[BenchSample], _clock: Clock) -> float | None:
    """Give how often the server told a talk again. Only servers can tell."""
    turns = turns_of(samples, "wind")
    ids = [sample.context_id for sample in turns if sample.context_id is not None]
    return float(len(set(ids))) if turns else None


def turns_of(samples: Iterable[BenchSample], way: TalkWay) -> list[BenchSample]:
    """List a talk's turns, without the questions behind it."""
    return [sample for sample in samples if sample.talk == way and sample.turn is not None]


TALK_FIGURES: Final[dict[str, RoundFigure]] = {
    **{f"{way}_turn_tokens": partial(turn_tokens, way) for way in TALK_WAYS},
    **{f"{way}_turn_p50_ms": partial(turn_ms, way) for way in TALK_WAYS},
    "num_winds": num_winds,
}
"""Those of a round of a long talk; shares of facts and `turn_p95_ms` are of all rounds together."""


def decisions_ms(samples: Sequence[BenchSample], _clock: Clock) -> float | None:
    """Give the median time of a request, from sending to the end."""
    return _median([sample.total_ms for sample in samples if sample.decisions is not None])


DECISION_FIGURES: Final[dict[str, RoundFigure]] = {"decisions_p50_ms": decisions_ms}
"""Those of a round of decisions; what they agree in is of all rounds together."""

ALL_ROUND_FIGURES: Final = ROUND_FIGURES | IMAGE_FIGURES | DRAFT_FIGURES | TALK_FIGURES | DECISION_FIGURES


def round_figures_of(samples: Iterable[BenchSample]) -> dict[str, RoundFigure]:
    """Return the figures of a round that a scenario has.

    Args:
        samples: Of all contestants.
    """
    samples = list(samples)
    has_images = any(sample.image is not None for sample in samples)
    has_drafts = any(sample.num_drafted for sample in samples)
    figures = ROUND_FIGURES | (IMAGE_FIGURES if has_images else {}) | (DRAFT_FIGURES if has_drafts else {})
    figures |= TALK_FIGURES if any(sample.talk is not None for sample in samples) else {}
    return figures | (DECISION_FIGURES if any(sample.decisions is not None for sample in samples) else {})


def equal_answers(first: Sequence[BenchSample], other: Sequence[BenchSample]) -> list[bool]:
    """Tell of each question that two contestants answered greedily whether their answers are equal."""
    theirs = {(sample.round, sample.image): sample.answer_digest for sample in first}
    pairs = [(theirs.get((sample.round, sample.image)), sample.answer_digest) for sample in other]
    return [one == another for one, another in pairs if one is not None and another is not None]


def _span_ms(sample: BenchSample) -> float | None:
    times = sample.token_times_ms
    return times[-1] - times[0] if len(times) > 1 else None


def _rate(num_tokens: int, took_ms: float | None) -> float | None:
    if took_ms is None or took_ms <= 0 or num_tokens <= 0:
        return None
    return num_tokens * 1000 / took_ms


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def opinions_of(
    first: Sequence[BenchSample], other: Sequence[BenchSample]
) -> list[tuple[tuple[float, ...], tuple[float, ...]]]:
    """Pair what two contestants think of each question that both were asked: their options' probabilities."""
    theirs = {sample.round: sample.decisions for sample in first}
    pairs = ((theirs.get(sample.round), sample.decisions) for sample in other)
    return [each for one, another in pairs if one and another for each in zip(one, another, strict=True)]


def is_agreed(one: tuple[float, ...], another: tuple[float, ...]) -> bool:
    """Tell whether two take the same option for the likeliest; of yes or no, of which there is one number, the same."""
    if len(one) == 1:
        return (one[0] >= _EVEN) == (another[0] >= _EVEN)
    return one.index(max(one)) == another.index(max(another))


_EVEN: Final = 0.5
