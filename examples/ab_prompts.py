"""ab-prompts: the same prompts on both engines, the answers side by side.

`--input FILE` has your own: `.jsonl` with a text or an object with `prompt` a line, or texts that lines of `---` part.
Each engine answers all prompts before the other one is loaded: one swap, however many there are. `mlxr bench` compares
the engines by rounds, which is the better measure; this shows what they say.
"""

from itertools import zip_longest
from pathlib import Path
from typing import Any

from examples.stage.needs import ENGINES, Needs
from examples.stage.scenario import Scenario, Stage
from examples.stage.server import Answer, Server
from router.bench.figures.statistics import median_interval, ratio_interval, share_interval, verdict
from router.bench.plan.prompts_file import UserPrompt, read_prompts

SAMPLES = Path(__file__).parent / "samples" / "prompts.txt"
ANSWER_TOKENS = 24


def run(stage: Stage) -> None:
    """Ask the one engine, then the other one, and compare."""
    prompts = read_prompts(stage.given or SAMPLES)
    answers = {engine: ask_all(stage, engine, prompts) for engine in ENGINES}
    rows = [dict(zip(ENGINES, pair, strict=True)) for pair in zip(*answers.values(), strict=True)]
    for prompt, row in zip(prompts, rows, strict=True):
        stage.say(f"> {prompt.messages[-1]['content']}")
        for engine, answer in row.items():
            stage.say(f"{engine:>8} | {answer.text.strip()}")
        stage.say(f"         | {_likeness([answer.text for answer in row.values()])}")
    stage.say()
    equal = [len({answer.text for answer in row.values()}) == 1 for row in rows]
    share = share_interval(sum(equal), len(equal))
    assert share is not None
    stage.say(
        f"equal answers: {sum(equal)} of {len(equal)}, {share.mid:.0%}, "
        f"95 % between {share.low:.0%} and {share.high:.0%}"
    )
    stage.figures |= {"equal": {"number": sum(equal), "of": len(equal), "share": share}, "speed": speed(stage, answers)}
    stage.figures["answers"] = [
        {"prompt": prompt.messages[-1]["content"]} | {engine: answer.text for engine, answer in row.items()}
        for prompt, row in zip(prompts, rows, strict=True)
    ]
    served = {engine: {answer.timings.engine for answer in own} for engine, own in answers.items()}
    stage.check(
        "each engine answered all prompts itself",
        all(served[engine] == {engine} for engine in ENGINES),
        ", ".join(f"{engine} {len(own)}" for engine, own in answers.items()),
    )
    pids = {answer.worker.pid for own in answers.values() for answer in own}
    stage.check(
        "in processes of their own", len(pids) >= len(ENGINES), f"PIDs {', '.join(map(str, sorted(pids, key=str)))}"
    )


def ask_all(stage: Stage, engine: str, prompts: tuple[UserPrompt, ...]) -> list[Answer]:
    """Ask one engine all prompts, one after the other, the first twice: it pays for what is loaded lazily."""
    server = Server(stage.server.client, f"{stage.model.partition('@')[0]}@{engine}")
    server.ask(list(prompts[0].messages), max_tokens=1)
    return [server.ask(list(prompt.messages), max_tokens=prompt.max_tokens or ANSWER_TOKENS) for prompt in prompts]


def speed(stage: Stage, answers: dict[str, list[Answer]]) -> dict[str, Any]:
    """Say how fast each engine writes, and which is faster; return the figures."""
    rates = {engine: [answer.timings.predicted_per_second or 0.0 for answer in own] for engine, own in answers.items()}
    figures: dict[str, Any] = {}
    for engine, values in rates.items():
        interval = median_interval(values, seed=stage.seed)
        figures[engine] = {"decode_tokens_per_s": values, "interval": interval}
        words = (
            "too few answers to say"
            if interval is None
            else f"{interval.mid:.1f} tok/s, 95 % between {interval.low:.1f} and {interval.high:.1f}"
        )
        stage.say(f"{engine:>8} writes {words}")
    first, second = ENGINES
    ratio = ratio_interval(rates[first], rates[second], seed=stage.seed)
    judged = verdict(ratio, is_higher_better=True)
    if ratio is not None:
        words = f"{judged} that counts between them" if judged == "no difference" else f"{second} is {judged}"
        stage.say(f"{words} ({ratio.mid:.2f} times, 95 % between {ratio.low:.2f} and {ratio.high:.2f})")
    return figures | {"ratio": ratio, "verdict": judged}


def _likeness(texts: list[str]) -> str:
    """Say how far answers are the same."""
    first, second = texts
    if first == second:
        return "equal"
    same = next((place for place, (one, other) in enumerate(zip_longest(first, second)) if one != other), len(first))
    return f"differ from character {same + 1} on"


SCENARIO = Scenario(
    "ab-prompts",
    "The same prompts on both engines: answers side by side, equal share, speed.",
    run,
    Needs(both_engines=True),
    takes="a file of prompts",
)
