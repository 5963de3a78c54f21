"""latency: one request after the other, prefill and decode apart, each with an interval.

For a comparison of engines, settings and servers use `mlxr bench`: this is the smallest program that measures honestly.
The prompts are new each time, so that no cache answers for the engine, and what is said of the rates is an interval
that holds the median of such requests nineteen times of twenty (docs/bench-statistics.md).
"""

from examples.stage.scenario import Scenario, Stage
from router.bench.figures.statistics import Interval, median_interval
from router.bench.plan.texts import generator, prose

NUM_REQUESTS = 8
PROMPT_CHARS = 1200
ANSWER_TOKENS = 32


def run(stage: Stage) -> None:
    """Warm up once, then ask one after the other."""
    draw = generator(stage.seed, "latency")
    stage.server.ask(prose(draw, PROMPT_CHARS), max_tokens=ANSWER_TOKENS)  # the first pays for what is loaded lazily
    answers = []
    for _ in range(NUM_REQUESTS):
        said = f"{prose(draw, PROMPT_CHARS)} What is this about?"
        answers.append(stage.server.ask(said, max_tokens=ANSWER_TOKENS, ignore_eos=True))
    figures: dict[str, list[float | None]] = {
        "ttft_ms": [answer.ttft_ms for answer in answers],
        "prefill_tokens_per_s": [answer.timings.prompt_per_second for answer in answers],
        "decode_tokens_per_s": [answer.timings.predicted_per_second for answer in answers],
    }
    computed = [answer.timings.prompt_n for answer in answers]
    cached = [answer.timings.cache_n for answer in answers]
    head = ("REQUEST", "COMPUTED", "CACHED", "TTFT ms", "PREFILL tok/s", "DECODE tok/s")
    columns = [[_rounded(value) for value in values] for values in figures.values()]
    stage.table(head, list(zip(range(1, NUM_REQUESTS + 1), computed, cached, *columns, strict=True)))
    stage.say()
    intervals = {}
    for name, unit in (("ttft_ms", "ms"), ("prefill_tokens_per_s", "tok/s"), ("decode_tokens_per_s", "tok/s")):
        known = [value for value in figures[name] if value is not None]
        intervals[name] = median_interval(known, seed=stage.seed)
        stage.say(f"{name.split('_')[0]:8} {_words(intervals[name], unit)}")
    stage.figures |= figures | {"computed_tokens": computed, "cached_tokens": cached, "intervals": intervals}
    new = [one > other for one, other in zip(computed, cached, strict=True)]
    stage.check("each prompt was computed", all(new), f"{sum(new)} of {NUM_REQUESTS}")
    measured = [name for name, interval in intervals.items() if interval is not None]
    stage.check("prefill and decode were measured apart", len(measured) == len(intervals), ", ".join(measured))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _words(interval: Interval | None, unit: str) -> str:
    if interval is None:
        return "too few values"
    return f"{interval.mid:.1f} {unit}, 95 % between {interval.low:.1f} and {interval.high:.1f}"


SCENARIO = Scenario("latency", "One request after the other: prefill and decode apart, with intervals.", run)
