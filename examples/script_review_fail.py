"""script-review-fail: one of two workers is killed in the middle of its review.

What that costs is that review: the other one goes on, what was written before is kept, the router starts another worker
in the place of the killed one, and what was lost is asked for again. `--seed` draws who dies, and when.
"""

import os
import signal
import time

from examples.review.performing import Ends, perform_plan
from examples.review.plan import Step
from examples.script_review_parallel import AUTHORS, TOKEN_BUDGET, plan, tell
from examples.stage.needs import Needs
from examples.stage.scenario import Scenario, Stage
from examples.stage.workers import PATIENCE_S, POLL_S, workers_of
from router.bench.plan.texts import generator
from router.status import WorkerRef

MOST_CHARS = 40
"""Of the review come before its worker dies, at most."""


class Killer:
    """Kills the worker of one step once so much of its text has come; used on that step's thread."""

    def __init__(self, worker: WorkerRef, step: str, after_chars: int) -> None:
        self._worker = worker
        self._step = step
        self._left = after_chars
        self.has_killed = False

    def on_piece(self, step: Step, piece: str) -> None:
        """Count, and kill."""
        if step.name != self._step or self.has_killed:
            return
        self._left -= len(piece)
        if self._left <= 0 and self._worker.pid is not None:
            os.kill(self._worker.pid, signal.SIGKILL)
            self.has_killed = True


def run(stage: Stage) -> None:
    """Write and review as script-review-parallel does, but for the killing."""
    draw = generator(stage.seed, "script-review-fail")
    author, after_chars = draw.choice(AUTHORS), draw.randint(1, MOST_CHARS)
    steps = plan()
    victim_step = next(step for step in steps if step.name == f"review-{author}")
    victim = stage.workers[victim_step.worker]
    stage.say(f"PID {victim.pid} will be killed once {after_chars} characters of {victim_step.name} are there.")
    killer = Killer(victim, victim_step.name, after_chars)
    ends = perform_plan(stage, steps, TOKEN_BUDGET, watch=killer.on_piece)
    if ends is None:
        return
    tell(stage, ends)
    report(stage, ends, victim_step, victim)
    stage.check("the worker was killed in mid-review", killer.has_killed, f"PID {victim.pid}")
    others = [name for name in ends if name != victim_step.name]
    kept = [name for name in others if ends[name].answer is not None]
    stage.check("nothing else was lost", kept == others, f"answered: {', '.join(kept)}")
    check_recovery(stage, steps, ends, victim_step, victim)


def report(stage: Stage, ends: Ends, victim_step: Step, victim: WorkerRef) -> None:
    """Say what was lost, and check that its client was told so."""
    end = ends[victim_step.name]
    lost = {"step": end.step.name, "pid": victim.pid, "came": end.text, "code": end.code, "why": end.why}
    stage.figures["lost"] = lost
    stage.say(f"[Lost] {lost['step']}, PID {victim.pid}: {len(end.text)} characters had come, the rest did not.")
    stage.say(f"[Lost] {end.why}")
    stage.check("the lost review ended with an error", end.code == "engine_crashed", f"{end.code}")


def check_recovery(stage: Stage, steps: list[Step], ends: Ends, victim_step: Step, victim: WorkerRef) -> None:
    """Check that the router has as many workers again, and that the review can be had after all."""
    survivor = next(worker for worker in stage.workers if worker.id != victim.id)
    give_up_s = time.monotonic() + PATIENCE_S
    while len(now := workers_of(stage.server, survivor.id)) < len(stage.workers) and time.monotonic() < give_up_s:
        time.sleep(POLL_S)
    pids = [worker.pid for worker in now]
    stage.figures["pids_after"] = pids
    stage.check(
        "another worker took the place of the killed one",
        len(pids) >= len(stage.workers) and victim.pid not in pids and survivor.pid in pids,
        f"PIDs {', '.join(map(str, pids))}",
    )
    texts = {step.name: ends[step.name].text for step in steps}
    again = stage.server.ask(victim_step.prompt(texts), max_tokens=victim_step.max_tokens)
    stage.check("asked again, the review comes", bool(again.text), f"PID {again.worker.pid}")


SCENARIO = Scenario(
    "script-review-fail", "A worker is killed in mid-review: what is lost, and what is not.", run, Needs(num_workers=2)
)
