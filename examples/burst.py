"""burst: many questions at the same time, spread over the workers.

`--workers N` has the model loaded by N processes. Which one answered is in `timings.worker` of each answer.
"""

from collections import Counter
from functools import partial
from statistics import median

from examples.stage.needs import Needs
from examples.stage.scenario import Scenario, Stage
from examples.stage.server import at_once
from router.bench.figures.statistics import percentile

REQUESTS_PER_WORKER = 4
TOPICS = ("bridges", "bees", "tides", "glass", "kites", "salt", "maps", "bells", "yeast", "locks", "paper", "snow")


def run(stage: Stage) -> None:
    """Ask all at once, and see who answered when."""
    number = REQUESTS_PER_WORKER * len(stage.workers)
    questions = [f"Tell me fact number {n} about {TOPICS[n % len(TOPICS)]}." for n in range(number)]
    answers = at_once([partial(stage.server.ask, question, max_tokens=32) for question in questions])
    began_s = min(answer.started_s for answer in answers)
    rows = [
        {
            "request": n,
            "worker": answer.worker.id,
            "pid": answer.worker.pid,
            "ttft_ms": round(answer.ttft_ms, 1),
            "from_ms": round((answer.started_s - began_s) * 1000),
            "to_ms": round((answer.ended_s - began_s) * 1000),
            "tokens": answer.usage.completion_tokens,
        }
        for n, answer in enumerate(answers, 1)
    ]
    stage.table([name.upper().replace("_MS", " ms") for name in rows[0]], [tuple(row.values()) for row in rows])
    wall_s = max(answer.ended_s for answer in answers) - began_s
    work_s = sum(answer.ended_s - answer.started_s for answer in answers)
    ttfts = [answer.ttft_ms for answer in answers]
    spread = {"min": min(ttfts), "p50": median(ttfts), "p95": percentile(ttfts, 0.95), "max": max(ttfts)}
    by_pid = Counter(answer.worker.pid for answer in answers)
    tokens = sum(answer.usage.completion_tokens for answer in answers)
    stage.figures |= {
        "requests": rows,
        "wall_s": wall_s,
        "work_s": work_s,
        "ttft_ms": spread,
        "by_pid": {str(pid): served for pid, served in by_pid.items()},
        "tokens_per_s": tokens / wall_s,
    }
    stage.say()
    stage.say(
        f"{number} answers, {tokens} tokens in {wall_s:.2f} s on the wall; "
        f"what each of them took adds up to {work_s:.2f} s."
    )
    stage.say("TTFT " + ", ".join(f"{name} {value:.0f} ms" for name, value in spread.items() if value is not None))
    stage.check("every request was answered", all(answer.text for answer in answers), f"{number} of {number}")
    stage.check(
        "each worker served some",
        set(by_pid) == {worker.pid for worker in stage.workers},
        ", ".join(f"PID {pid}: {served}" for pid, served in sorted(by_pid.items(), key=str)),
    )
    stage.check("they ran at the same time", wall_s < work_s, f"{work_s / wall_s:.1f} at a time on average")


SCENARIO = Scenario(
    "burst", "Many questions at once over the workers: wall clock, PIDs, TTFT spread.", run, Needs(num_workers=2)
)
