"""A scenario, what it is given to run with, and what a run comes to.

Not here: talking to the server (`server.py`), what a scenario needs (`needs.py`), how it is shown
(`router.cli.scenario`).
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from examples.stage.needs import NOTHING, Needs
from examples.stage.server import Server
from router.status import WorkerRef


class Teller(Protocol):
    """Shows people what a scenario says while it runs; makes it safe for a terminal."""

    def say(self, text: str) -> None:
        """Show a line."""

    def table(self, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Show aligned columns."""


class Check(msgspec.Struct, frozen=True):
    """What the router is to have done, whether it did, and what was seen of it."""

    claim: str
    holds: bool
    seen: str


class Stage:
    """What a scenario is given, and what it tells.

    Args:
        model: As the server knows it, perhaps `NAME@ENGINE`.
        workers: The processes that have the model, at least as many as the scenario needs; none where it needs none.
        given: The file or folder that the user gave; None = the scenario has its own.

    Attributes:
        seed: What is drawn is drawn from it, so that a run can be repeated.
        checks: Those that were made so far.
        figures: What was measured so far; what JSON has.
    """

    def __init__(
        self,
        server: Server,
        teller: Teller,
        *,
        model: str,
        workers: Sequence[WorkerRef] = (),
        seed: int = 0,
        given: Path | None = None,
    ) -> None:
        self.server = server
        self.model = model
        self.workers = tuple(workers)
        self.seed = seed
        self.given = given
        self.checks: list[Check] = []
        self.figures: dict[str, Any] = {}
        self._teller = teller

    def say(self, text: str = "") -> None:
        """Show a line."""
        self._teller.say(text)

    def table(self, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Show aligned columns."""
        self._teller.table(head, rows)

    def check(self, claim: str, holds: bool, seen: object) -> bool:  # noqa: FBT001 - reads as a sentence
        """Tell whether the router did what is claimed. The run goes on either way, and fails where it did not.

        Args:
            seen: What was, for people.
        """
        self.checks.append(Check(claim, bool(holds), str(seen)))
        self.say(f"{'ok  ' if holds else 'NOT '} {claim}: {seen}")
        return bool(holds)


class Scenario(msgspec.Struct, frozen=True):
    """One of them.

    Attributes:
        name: By which it is run.
        summary: What it shows, one sentence.
        run: Does it; raises ClientError or OSError where something cannot be done at all.
        takes: What `--input` may name, for people; None = it takes nothing.
    """

    name: str
    summary: str
    run: Callable[[Stage], None]
    needs: Needs = NOTHING
    takes: str | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a run came to; the document that `--json` prints.

    Attributes:
        holds: Whether all checks do.
        seconds: The run's own, without loading the model and starting workers.
        figures: Each scenario's own; docs/scenarios.md.
    """

    scenario: str
    model: str
    workers: tuple[WorkerRef, ...]
    seed: int
    holds: bool
    seconds: float
    checks: tuple[Check, ...]
    figures: dict[str, Any]


def perform(scenario: Scenario, stage: Stage) -> Outcome:
    """Run a scenario to its end.

    Raises:
        ClientError: The server cannot do what the scenario wants.
    """
    started_s = time.monotonic()
    scenario.run(stage)
    return Outcome(
        scenario=scenario.name,
        model=stage.model,
        workers=stage.workers,
        seed=stage.seed,
        holds=all(check.holds for check in stage.checks),
        seconds=round(time.monotonic() - started_s, 3),
        checks=tuple(stage.checks),
        figures=stage.figures,
    )
