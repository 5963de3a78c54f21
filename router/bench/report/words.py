"""The words of every report: what a comparison means, in sentences, and what was compared. Pure.

Not here: how numbers are written (`amounts.py`), and how a form escapes a text.
"""

import string
from pathlib import PurePath
from typing import Final

from registry.bench_record import BenchContestant, BenchNotice, BenchQuality, BenchRecord
from router.bench.figures.figures import (
    DECISION_KINDS,
    DRAFT_KINDS,
    IMAGE_KINDS,
    KINDS,
    KINDS_BY_NAME,
    SIDE_KINDS,
    TALK_KINDS,
    TALK_WAYS,
    WAY_WORDS,
    FigureKind,
)
from router.bench.figures.statistics import Interval
from router.bench.figures.summary import WINNING_FIGURE, BenchSummary, ContestantFigures, Figure, ScenarioSummary
from router.bench.report.amounts import amount, between, digits, duration, moment, plain, size


def label(record: BenchRecord, contestant: int) -> str:
    """Name a contestant; two of the same label are told apart by their place."""
    text = plain(record.contestants[contestant].label)
    is_unique = sum(other.label == record.contestants[contestant].label for other in record.contestants) == 1
    return text if is_unique else f"{text} ({letter(contestant)})"


def letter(contestant: int) -> str:
    """Give the letter that a contestant is known by in drawings and where its label is cut off."""
    return string.ascii_uppercase[contestant % len(string.ascii_uppercase)]


def run_words(record: BenchRecord) -> str:
    """Name a run with when it was, how long it took and by which mlxr."""
    rounds = f"{record.repeats} rounds in {duration(record.duration_s)}"
    cut = "" if record.is_complete else ", stopped before all was measured"
    return f"{record.bench_id}, {moment(record.created_at)}, {rounds}{cut}, mlxr {plain(record.version)}"


def notice_words(notice: BenchNotice) -> str:
    """Write a notice, with the scenario that it is about."""
    return plain(notice.message if notice.scenario is None else f"{notice.scenario}: {notice.message}")


def measured_sides(summary: BenchSummary) -> list[FigureKind]:
    """List what was measured beside the scenarios, of any contestant."""
    return [kind for kind in SIDE_KINDS if any(side.figures[kind.name].value is not None for side in summary.sides)]


WHAT_PICTURES_ARE: Final = (
    "Where pictures are shown, time to first token is that of a new one; for the same picture again it stands beside. "
    "The picture's own time is what the server says that its rows took."
)


def has_pictures(scenario: ScenarioSummary) -> bool:
    """Tell whether its prompts had any."""
    return any(kind.name in one.figures for one in scenario.contestants for kind in IMAGE_KINDS)


def is_talk(scenario: ScenarioSummary) -> bool:
    """Tell whether it is a long talk."""
    return any(TALK_KINDS[0].name in one.figures for one in scenario.contestants)


def is_decisions(scenario: ScenarioSummary) -> bool:
    """Tell whether it is one of decisions."""
    return any(DECISION_KINDS[0].name in one.figures for one in scenario.contestants)


def scenario_kinds(scenario: ScenarioSummary) -> list[FigureKind]:
    """List what is shown of a scenario: of pictures, drafts and talks, what was measured of any contestant."""
    usual: tuple[FigureKind, ...] = ()
    others: tuple[FigureKind, ...] = ()
    if is_talk(scenario):
        others = TALK_KINDS
    elif is_decisions(scenario):
        others = DECISION_KINDS
    elif has_pictures(scenario):
        others = (*KINDS, *IMAGE_KINDS)
    else:
        usual = KINDS
    figures = [one.figures for one in scenario.contestants]
    measured = (
        kind
        for kind in (*others, *DRAFT_KINDS)
        if any(kind.name in found and found[kind.name].value is not None for found in figures)
    )
    return [*usual, *measured]


def headline(record: BenchRecord, summary: BenchSummary) -> str:
    """Say in one or two sentences who is faster at what."""
    if any(notice.is_void and notice.scenario is None for notice in record.notices):
        return "This comparison is void; the notices say why."
    run = [scenario for scenario in summary.scenarios if scenario.skipped is None]
    if not record.contestants:
        return "Nothing was measured."
    if len(record.contestants) == 1:
        return f"{label(record, 0)} was measured alone."
    parts = []
    for number in range(len(record.contestants)):
        won = [scenario.name for scenario in run if scenario.winner == number]
        if won:
            parts.append(f"{label(record, number)} is faster in {_listed(won)}")
    tied = [scenario.name for scenario in run if scenario.winner is None and _is_compared(scenario)]
    unknown = [scenario.name for scenario in run if scenario.winner is None and not _is_compared(scenario)]
    if tied:
        parts.append(f"nobody is measurably faster in {_places(tied, run)}")
    if unknown:
        parts.append(f"there are too few rounds to tell who is faster in {_places(unknown, run)}")
    return f"{_begun('; '.join(parts))}." if parts else "Nothing was measured."


def _is_compared(scenario: ScenarioSummary) -> bool:
    return any(one.figures[WINNING_FIGURE].ratio is not None for one in scenario.contestants)


def _places(names: list[str], run: list[ScenarioSummary]) -> str:
    return "any scenario" if len(names) == len(run) else _listed(names)


def _begun(text: str) -> str:
    """Begin a sentence with a capital, but leave a contestant's name as it is."""
    return text[0].upper() + text[1:] if text.startswith(("nobody is", "there are")) else text


def scenario_sentences(record: BenchRecord, scenario: ScenarioSummary) -> tuple[str, ...]:
    """Say what a scenario showed, for someone who has never read a benchmark.

    Returns:
        A sentence for each contestant but the first, or one that says why there is none.
    """
    if scenario.skipped is not None:
        return (f"Not run: {plain(scenario.skipped).rstrip('.')}.",)
    if scenario.is_void:
        return ("These figures cannot be compared; the notices say why.",)
    others = scenario.contestants[1:]
    sentences = [_versus_first(record, scenario, other) for other in others]
    sentences += [_equal_words(record, other) for other in others if _num_compared(other)]
    if is_decisions(scenario):
        sentences += [_agreement_words(record, other) for other in others if other.figures["agreement_percent"].num]
    if is_talk(scenario):
        sentences += [_talk_words(record, one) for one in scenario.contestants if one.num_answers]
    sentences += [
        f"{label(record, one.contestant)}: {one.num_failed} of {one.num_failed + one.num_answers} requests failed."
        for one in scenario.contestants
        if one.num_failed
    ]
    return tuple(sentences)


def _num_compared(one: ContestantFigures) -> int:
    figure = one.figures.get("equal_answers_percent")
    return 0 if figure is None else figure.num


def _equal_words(record: BenchRecord, other: ContestantFigures) -> str:
    figure = other.figures["equal_answers_percent"]
    num_equal = round(figure.num * (figure.value or 0.0) / 100)
    who, first = label(record, other.contestant), label(record, 0)
    return f"{num_equal} of {figure.num} greedy answers of {who} are those of {first}."


def _agreement_words(record: BenchRecord, other: ContestantFigures) -> str:
    agreed, mean, most = (other.figures[kind.name] for kind in DECISION_KINDS[1:])
    num_agreed = round(agreed.num * (agreed.value or 0.0) / 100)
    who, first = label(record, other.contestant), label(record, 0)
    apart = f"by {digits(mean.value or 0.0)} points in the mean, {digits(most.value or 0.0)} at most"
    return f"{num_agreed} of {agreed.num} decisions of {who} are those of {first}; probabilities differ {apart}."


def _talk_words(record: BenchRecord, one: ContestantFigures) -> str:
    parts = []
    for way in TALK_WAYS:
        recalled, turn = one.figures[f"{way}_recall_percent"], one.figures[f"{way}_turn_p50_ms"]
        if recalled.num:
            took = amount(KINDS_BY_NAME[f"{way}_turn_p50_ms"], turn.value)
            parts.append(f"{WAY_WORDS[way]} {recalled.value:.0f} % of {recalled.num} ({took} a turn)")
    told = ", ".join(parts) or "none, the talks did not come to their ends"
    return f"{label(record, one.contestant)}: facts recalled of the talk: {told}."


def _versus_first(record: BenchRecord, scenario: ScenarioSummary, other: ContestantFigures) -> str:
    first, second = label(record, 0), label(record, other.contestant)
    whole = other.figures[WINNING_FIGURE]
    if whole.ratio is None:
        return f"{second} and {first} were measured too few times to be compared."
    if whole.verdict == "no difference":
        speed = f"the speed of {second}'s whole answers is {between(whole.ratio)} times that of {first}'s"
        sentence = f"No difference could be measured: {speed}"
    else:
        sentence = _faster(first, second, whole.ratio)
    return f"{sentence}{_exceptions(scenario, other, first, second)}."


def _faster(first: str, second: str, ratio: Interval) -> str:
    """Name the faster one first, so that the number is above 1."""
    if ratio.mid < 1:
        first, second = second, first
        ratio = ratio.inverted()
    return f"{second} gives whole answers {digits(ratio.mid)} times as fast as {first} ({between(ratio)})"


_PHRASES: Final = {"ttft_p50_ms": "begins to answer sooner", "decode_tokens_per_s": "writes faster once it has begun"}


def _exceptions(scenario: ScenarioSummary, other: ContestantFigures, first: str, second: str) -> str:
    """Add where the first token or the writing says something else than the whole answer."""
    overall = other.figures[WINNING_FIGURE].verdict
    found = ""
    for name, phrase in _PHRASES.items():
        said = other.figures[name].verdict
        if said in {None, "no difference", overall}:
            continue
        who, figure, against = (
            (second, other.figures[name], scenario.contestants[0].figures[name])
            if said == "faster"
            else (first, scenario.contestants[0].figures[name], other.figures[name])
        )
        found += f"; {who} {phrase} ({_pair(name, figure, against)})"
    return found


def _pair(name: str, figure: Figure, against: Figure) -> str:
    kind = KINDS_BY_NAME[name]
    return f"{amount(kind, figure.value)} against {amount(kind, against.value)}"


def quality_sentences(record: BenchRecord) -> list[str]:
    """Say how good each contestant's answers are beside the first one's; those that were not measured are left out."""
    sentences = (_quality_sentence(record, contestant) for contestant in range(len(record.contestants)))
    return [sentence for sentence in sentences if sentence is not None]


def _quality_sentence(record: BenchRecord, contestant: int) -> str | None:
    quality = record.contestants[contestant].quality
    if quality is None:
        return None
    parts = []
    if quality.perplexity is not None:
        first = record.contestants[0].quality
        parts.append(f"perplexity {digits(quality.perplexity)}{_worse(quality, first if contestant else None)}")
    if quality.num_compared_tokens:
        share = 100 * quality.num_equal_tokens / quality.num_compared_tokens
        where = (
            "" if quality.first_divergence is None else f", the first other one at position {quality.first_divergence}"
        )
        parts.append(f"{share:.0f} % of its greedy tokens are those of {label(record, 0)}{where}")
    return f"{label(record, contestant)}: {'; '.join(parts)}." if parts else None


def _worse(quality: BenchQuality, first: BenchQuality | None) -> str:
    if first is None or first.perplexity is None or quality.perplexity is None:
        return ""
    change = 100 * (quality.perplexity / first.perplexity - 1)
    word = "worse" if change > 0 else "better"
    return " (the same)" if abs(change) < 0.1 else f" ({abs(change):.1f} % {word})"  # noqa: PLR2004 - what one digit shows


def _threads(contestant: BenchContestant) -> str | None:
    most, least = contestant.num_threads, contestant.least_threads
    if most is None:
        return None
    if least is not None and least < most:
        return f"{least} to {most}, as other programs left cores"
    return f"{most}, held for the benchmark" if contestant.are_threads_held else str(most)


def contestant_facts(contestant: BenchContestant) -> list[tuple[str, str]]:
    """Name what a contestant is; what is not known is left out, and so is the folder: reports are shown to others."""
    known = contestant
    facts: list[tuple[str, object]] = [
        ("model", known.model),
        ("engine", known.engine or "a server by URL"),
        ("URL", known.url),
        ("settings", " ".join(f"{name}={value}" for name, value in known.settings.items()) or None),
        ("weights", known.quantization),
        ("bits per weight", None if known.bits_per_weight is None else digits(known.bits_per_weight)),
        ("size of weights", None if known.size_bytes is None else size(known.size_bytes)),
        ("context", None if known.context_length is None else f"{known.context_length} tokens"),
        ("draft model", known.draft),
        ("threads", _threads(known)),
        ("weights are on", ", ".join(known.devices) or None),
        ("libraries", ", ".join(f"{name} {version}" for name, version in known.engine_versions.items()) or None),
        ("build", known.features or None),
        ("file", None if known.artifact_path is None else PurePath(known.artifact_path).name),
        ("SHA-256", known.artifact_sha256),
    ]
    return [(name, plain(value)) for name, value in facts if value is not None]


def machine_words(record: BenchRecord) -> str:
    """Describe the machine on one line."""
    machine = record.machine
    parts = [
        machine.system,
        machine.cpu,
        None if machine.num_cores is None else f"{machine.num_cores} cores",
        None if machine.memory_bytes is None else size(machine.memory_bytes),
    ]
    return ", ".join(plain(part) for part in parts if part is not None)


def _listed(names: list[str]) -> str:
    safe = [plain(name) for name in names]
    return safe[0] if len(safe) == 1 else f"{', '.join(safe[:-1])} and {safe[-1]}"
