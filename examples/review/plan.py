"""A plan of steps over workers: which depend on which, and what is wrong with it before anything runs. Pure.

Not here: running it (`performing.py`).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from router.status import WorkerRef

Texts = Mapping[str, str]
"""What steps have written, by their names."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One request to one worker.

    Attributes:
        phase: For people; steps of one phase run at the same time.
        worker: Its place among the workers of the run, from 0.
        max_tokens: That it may write.
        needs: Steps whose texts its prompt is made of.
        prompt: From these texts to what is asked.
        fields: Others of the request.
    """

    name: str
    phase: str
    worker: int
    max_tokens: int
    prompt: Callable[[Texts], str]
    needs: tuple[str, ...] = ()
    fields: dict[str, Any] = {}


def problems_of(steps: Sequence[Step], workers: Sequence[WorkerRef], token_budget: int) -> list[str]:
    """Return what is wrong with a plan, a sentence each; nothing = it can run.

    Args:
        token_budget: What all steps together may write.
    """
    return [
        *_wrong_names(steps),
        *_missing_inputs(steps),
        *_circles(steps),
        *_wrong_budget(steps, token_budget),
        *_wrong_workers(steps, workers),
    ]


def phases_of(steps: Sequence[Step]) -> list[list[Step]]:
    """Return the steps in the order in which they can run: those of an inner list at the same time.

    Args:
        steps: Of a plan without circles and missing inputs.
    """
    phases: list[list[Step]] = []
    done: set[str] = set()
    left = list(steps)
    while left:
        ready = [step for step in left if done.issuperset(step.needs)]
        assert ready, "the plan has a circle"
        phases.append(ready)
        done.update(step.name for step in ready)
        left = [step for step in left if step.name not in done]
    return phases


def _wrong_names(steps: Sequence[Step]) -> Iterator[str]:
    for name, times in Counter(step.name for step in steps).items():
        if times > 1:
            yield f"{times} steps are called {name}."


def _missing_inputs(steps: Sequence[Step]) -> Iterator[str]:
    known = {step.name for step in steps}
    for step in steps:
        for need in step.needs:
            if need not in known:
                yield f"{step.name} needs {need}, which no step writes."


def _circles(steps: Sequence[Step]) -> Iterator[str]:
    """Name the steps that wait for each other: those that are left when all that can run has run."""
    known = {step.name for step in steps}
    left = {step.name: {need for need in step.needs if need in known} for step in steps}
    while ready := {name for name, needs in left.items() if not needs & left.keys()}:
        left = {name: needs for name, needs in left.items() if name not in ready}
    if left:
        yield f"These steps wait for each other, so that none can begin: {', '.join(sorted(left))}."


def _wrong_budget(steps: Sequence[Step], token_budget: int) -> Iterator[str]:
    for step in steps:
        if step.max_tokens < 1:
            yield f"{step.name} may write {step.max_tokens} tokens; give it 1 at least."
    wanted = sum(step.max_tokens for step in steps)
    if wanted > token_budget:
        yield f"The steps may write {wanted} tokens together, and the budget is {token_budget}."


def _wrong_workers(steps: Sequence[Step], workers: Sequence[WorkerRef]) -> Iterator[str]:
    used = sorted({step.worker for step in steps})
    for place in used:
        if not 0 <= place < len(workers):
            names = ", ".join(step.name for step in steps if step.worker == place)
            yield f"{names}: there is no worker {place}; {len(workers)} are there, from 0."
    there = [workers[place] for place in used if 0 <= place < len(workers)]
    for place, worker in zip(used, there, strict=False):
        if worker.pid is None:
            yield f"Worker {place} is no process of this machine."
    for pid, times in Counter(worker.pid for worker in there if worker.pid is not None).items():
        if times > 1:
            yield f"{times} workers are one process, PID {pid}: nothing would run at the same time."
