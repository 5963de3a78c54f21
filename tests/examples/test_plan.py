"""A plan is looked at before anything runs."""

from typing import Any

import msgspec
import pytest

from examples.review.performing import StepEnd, parallelism_of
from examples.review.plan import Step, phases_of, problems_of
from examples.script_review import PLAN, TOKEN_BUDGET
from examples.script_review_adversarial import TOKEN_BUDGET as ADVERSARIAL_BUDGET
from examples.script_review_adversarial import plan as adversarial_plan
from examples.script_review_parallel import TOKEN_BUDGET as PARALLEL_BUDGET
from examples.script_review_parallel import plan as parallel_plan
from examples.stage.server import Answer
from router.protocols.answers import CachedTokens, ReasoningTokens
from router.protocols.openai.answer_schemas import Timings, Usage
from router.status import WorkerRef

TIMINGS: dict[str, Any] = {
    **dict.fromkeys(("cache_n", "prompt_n", "predicted_n"), 1),
    **dict.fromkeys(("load_ms", "queue_ms"), 0.0),
    **dict.fromkeys(
        (
            *("prompt_per_token_ms", "prompt_per_second", "predicted_per_token_ms", "predicted_per_second"),
            *("engine", "engine_reason"),
        )
    ),
}
USAGE = Usage(
    prompt_tokens=1,
    completion_tokens=1,
    total_tokens=2,
    prompt_tokens_details=CachedTokens(0),
    completion_tokens_details=ReasoningTokens(0),
)
WORKERS = (WorkerRef(1, 100), WorkerRef(2, 101))


def step(name: str, *needs: str, **fields: Any) -> Step:
    values: dict[str, Any] = {"phase": "any", "worker": 0, "max_tokens": 10, "prompt": lambda _: "?"} | fields
    return Step(name=name, needs=needs, **values)


@pytest.mark.parametrize(
    ("steps", "budget"),
    [(PLAN, TOKEN_BUDGET), (parallel_plan(), PARALLEL_BUDGET), (adversarial_plan(), ADVERSARIAL_BUDGET)],
)
def test_the_scenarios_own_plans_can_run(steps: list[Step], budget: int) -> None:
    assert problems_of(steps, WORKERS, budget) == []
    assert sum(len(phase) for phase in phases_of(steps)) == len(steps)


@pytest.mark.parametrize(
    ("steps", "workers", "problem"),
    [
        ([step("a", "b")], WORKERS, "a needs b, which no step writes."),
        ([step("a", "a")], WORKERS, "These steps wait for each other, so that none can begin: a."),
        (
            [step("a", "c"), step("b", "a"), step("c", "b"), step("d")],
            WORKERS,
            "These steps wait for each other, so that none can begin: a, b, c.",
        ),
        ([step("a"), step("a")], WORKERS, "2 steps are called a."),
        ([step("a", max_tokens=0)], WORKERS, "a may write 0 tokens; give it 1 at least."),
        (
            [step("a", max_tokens=60), step("b", max_tokens=41)],
            WORKERS,
            "The steps may write 101 tokens together, and the budget is 100.",
        ),
        ([step("a", worker=2)], WORKERS, "a: there is no worker 2; 2 are there, from 0."),
        (
            [step("a"), step("b", worker=1)],
            (WorkerRef(1, 100), WorkerRef(2, 100)),
            "2 workers are one process, PID 100: nothing would run at the same time.",
        ),
        ([step("a")], (WorkerRef(1, None),), "Worker 0 is no process of this machine."),
    ],
)
def test_what_is_wrong_with_a_plan_is_said(steps: list[Step], workers: tuple[WorkerRef, ...], problem: str) -> None:
    assert problems_of(steps, workers, 100) == [problem]


def test_all_that_is_wrong_is_said_at_once() -> None:
    steps = [step("a", "b", "nobody", worker=5), step("b", "a", max_tokens=200)]
    assert len(problems_of(steps, WORKERS, 100)) == 4


def test_a_worker_that_no_step_uses_may_be_any_process() -> None:
    assert problems_of([step("a")], (WorkerRef(1, 100), WorkerRef(2, None)), 100) == []


def test_steps_that_need_nothing_of_each_other_share_a_phase() -> None:
    steps = [step("join", "left", "right"), step("left", "root"), step("right", "root"), step("root")]
    assert [[each.name for each in phase] for phase in phases_of(steps)] == [["root"], ["left", "right"], ["join"]]


def answered(started_s: float, ended_s: float, *, computing_ms: float, pid: int) -> StepEnd:
    timings = msgspec.convert(TIMINGS | {"prompt_ms": computing_ms / 4, "predicted_ms": computing_ms * 3 / 4}, Timings)
    answer = Answer(
        text="", started_s=started_s, first_s=ended_s, ended_s=ended_s, timings=timings, usage=USAGE,
        worker=WorkerRef(pid, pid),
    )  # fmt: skip
    return StepEnd(step=step(f"s{pid}"), answer=answer)


def test_steps_overlap_while_both_are_computed_and_not_while_one_waits() -> None:
    both = parallelism_of([answered(0, 4, computing_ms=4000, pid=1), answered(0, 6, computing_ms=3000, pid=2)])
    assert both is not None
    assert (both["wall_s"], both["work_s"], both["overlap_s"]) == (6, 7, 1)
    after = parallelism_of([answered(0, 4, computing_ms=4000, pid=1), answered(0, 8, computing_ms=3500, pid=1)])
    assert after is not None
    assert after["overlap_s"] == 0
    assert parallelism_of([StepEnd(step=step("lost"), code="engine_crashed")]) is None
