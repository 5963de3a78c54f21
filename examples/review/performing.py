"""A plan is run: phase by phase, the steps of one at the same time, and what proves that they were. Not here: plans."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from examples.review.plan import Step, phases_of, problems_of
from examples.stage.scenario import Stage
from examples.stage.server import Answer, at_once
from router.cli.client.errors import ClientError, ServerAnswerError

NOT_BEGUN: Final = "not_begun"
"""The code of a step whose inputs were lost."""

Watch = Callable[[Step, str], None]
"""Told each piece of a step's text, on the step's own thread."""


class StepEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a step ended.

    Attributes:
        text: All that came of it, also where it failed.
        answer: None = it failed.
        code: Why, as the API names it.
        why: Why, for people.
    """

    step: Step
    text: str = ""
    answer: Answer | None = None
    code: str | None = None
    why: str | None = None


Ends = dict[str, StepEnd]


def perform_plan(
    stage: Stage, steps: Sequence[Step], token_budget: int, *, watch: Watch = lambda _step, _piece: None
) -> Ends | None:
    """Look at a plan, and run it where nothing is wrong with it; returns None where something is.

    A step that fails costs those that need it, and no other. Each phase is told as a line of `[Parallelism]`.
    """
    problems = problems_of(steps, stage.workers, token_budget)
    num_phases = "no" if problems else len(phases_of(steps))
    stage.say(f"[Plan] {len(steps)} steps, {num_phases} phases, at most {sum(s.max_tokens for s in steps)} tokens")
    for problem in problems:
        stage.say(f"[Plan] {problem}")
    if not stage.check("the plan can run", not problems, f"{len(problems)} problems"):
        return None
    ends: Ends = {}
    told = []
    for phase in phases_of(steps):
        came = at_once([partial(_perform, stage, step, ends, watch) for step in phase])
        ends |= {end.step.name: end for end in came}
        if (facts := parallelism_of(came)) is not None:
            told.append(facts)
            stage.say(_line(facts))
    stage.figures["parallelism"] = told
    used = sum(end.answer.usage.completion_tokens for end in ends.values() if end.answer is not None)
    stage.figures["tokens"] = {"budget": token_budget, "used": used, "left": token_budget - used}
    return ends


def check_parallelism(stage: Stage, phases: Collection[str]) -> None:
    """Check of phases with several steps that they were served by several processes at the same time."""
    for facts in stage.figures["parallelism"]:
        if facts["phase"] in phases:
            stage.check(
                f"{facts['phase']} ran on two processes at the same time",
                len(set(facts["pids"])) > 1 and facts["overlap_s"] > 0,
                f"PIDs {', '.join(map(str, facts['pids']))}, {facts['overlap_s']:.2f} s of overlap",
            )


def parallelism_of(ends: Iterable[StepEnd]) -> dict[str, Any] | None:
    """Return what proves that a phase's steps were computed at the same time; None = nothing was answered."""
    came = [(end.step, end.answer) for end in ends if end.answer is not None]
    if not came:
        return None
    began_s = min(answer.started_s for _, answer in came)
    computing = [(computing_since_s(answer), answer.ended_s) for _, answer in came]
    both_s = min(until_s for _, until_s in computing) - max(since_s for since_s, _ in computing)
    return {
        "phase": came[0][0].phase,
        "pids": [answer.worker.pid for _, answer in came],
        "wall_s": max(answer.ended_s for _, answer in came) - began_s,
        "work_s": sum(until_s - since_s for since_s, until_s in computing),
        "overlap_s": max(0.0, both_s) if len(came) > 1 else 0.0,
        "steps": [
            {"name": step.name, "pid": answer.worker.pid, "from_s": since_s - began_s, "to_s": until_s - began_s}
            for (step, answer), (since_s, until_s) in zip(came, computing, strict=True)
        ],
    }


def computing_since_s(answer: Answer) -> float:
    """Return from when on a worker computed an answer, prompt and text, by its own account: waiting is none of it."""
    computing_ms = answer.timings.prompt_ms + answer.timings.predicted_ms
    return max(answer.started_s, answer.ended_s - computing_ms / 1000)


def _line(facts: Mapping[str, Any]) -> str:
    steps = ", ".join(f"{s['name']} PID {s['pid']} {s['from_s']:.2f}-{s['to_s']:.2f} s" for s in facts["steps"])
    both = f", overlap {facts['overlap_s']:.2f} s" if len(facts["steps"]) > 1 else ""
    return f"[Parallelism] {facts['phase']}: {steps}; wall {facts['wall_s']:.2f} s, work {facts['work_s']:.2f} s{both}"


def _perform(stage: Stage, step: Step, ends: Ends, watch: Watch) -> StepEnd:
    lost = [need for need in step.needs if ends[need].answer is None]
    if lost:
        return StepEnd(step=step, code=NOT_BEGUN, why=f"it needs {', '.join(lost)}")
    pieces: list[str] = []

    def on_piece(piece: str) -> None:
        pieces.append(piece)
        watch(step, piece)

    try:
        answer = stage.server.ask(
            step.prompt({need: ends[need].text for need in step.needs}),
            worker=stage.workers[step.worker],
            max_tokens=step.max_tokens,
            on_piece=on_piece,
            **step.fields,
        )
    except ClientError as exc:
        code = exc.code if isinstance(exc, ServerAnswerError) else ClientError.code
        return StepEnd(step=step, text="".join(pieces), code=code, why=str(exc))
    return StepEnd(step=step, text=answer.text, answer=answer)
