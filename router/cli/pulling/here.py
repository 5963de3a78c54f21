"""Pulls in this process, for want of a server; and how a pull ended, whoever ran it. Not here: the verbs."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any

from registry.pull.events import Done, Failed, PullEvent, Registered, Started, Stopped
from router.cli.models.readiness import notes, readiness
from router.cli.pulling.plan import fit_of
from router.cli.pulling.progress import printer_for
from router.cli.terminal.catalogue import open_registry, open_registry_for_reading
from router.cli.terminal.context import CommandError, current_paths, read_config
from router.cli.terminal.output import size
from router.config.hub import hub_settings
from router.config.paths import Paths
from router.config.roots import models_dir
from router.jobs.conversions import Converter
from router.jobs.jobs import Jobs
from router.jobs.pulls import Pulls, open_pulls
from router.placement.memory import read_budget, weights_budget
from router.workers.launch import worker_environment


@asynccontextmanager
async def pulls_here(paths: Paths, endpoint: str | None = None) -> AsyncIterator[Pulls]:
    """Open what runs pulls in this process; folders and catalogue are made when needed."""
    open_registry(paths).close()
    config = read_config(paths)
    hub, folder = hub_settings(config, os.environ, endpoint=endpoint), models_dir(config, paths)
    budget = weights_budget(read_budget(paths.working_set_file))
    converter = Converter(paths.registry_db, folder, worker_environment(os.environ))
    async with (
        Jobs() as jobs,
        open_pulls(hub, folder, paths.registry_db, jobs, converter=converter, budget_bytes=budget) as pulls,
    ):
        yield pulls


class PullOutcome:
    """Shows the events of a pull, and keeps what its end needs to know of them."""

    def __init__(self, *, is_json: bool) -> None:
        self.is_json = is_json
        self.number: int | None = None
        self.models: list[Registered] = []
        self.final: PullEvent | None = None
        self._printer = printer_for(is_json=is_json)

    def take(self, event: PullEvent) -> None:
        """Show an event, and keep what counts of it."""
        match event:
            case Started(id=number):
                self.number = number
            case Registered():
                self.models.append(event)
        self.final = event
        self._printer.show(event)

    @contextmanager
    def following(self, advice: str) -> Iterator[None]:
        """Show what is taken in; Ctrl-C leaves the pull, and says what becomes of it.

        Args:
            advice: With `{number}` for that of the pull.
        """
        with self._printer:
            try:
                yield
            except KeyboardInterrupt:
                self._printer.__exit__(None, None, None)
                if self.number is not None:
                    print(advice.format(number=self.number), file=sys.stderr)
                raise


def pull_here(
    paths: Paths,
    begin: Callable[[Pulls], Coroutine[Any, Any, AsyncIterator[PullEvent]]],
    *,
    endpoint: str | None = None,
    is_json: bool,
) -> int:
    """Run a pull in this process to its end; Ctrl-C pauses it.

    Raises:
        CommandError: It failed or was stopped.
    """
    outcome = PullOutcome(is_json=is_json)
    with outcome.following("Pull {number} is paused; `mlxr models pulls resume {number}` goes on."):
        asyncio.run(_follow(pulls_here(paths, endpoint), begin, outcome))
    return conclude(outcome)


async def _follow(
    opening: AbstractAsyncContextManager[Pulls],
    begin: Callable[[Pulls], Coroutine[Any, Any, AsyncIterator[PullEvent]]],
    outcome: PullOutcome,
) -> None:
    async with opening as pulls:
        events = await begin(pulls)
        try:
            async for event in events:
                outcome.take(event)
        except asyncio.CancelledError:
            if outcome.number is not None:
                await pulls.pause(outcome.number)
            raise


def conclude(outcome: PullOutcome, hint: str = "") -> int:
    """Say how a pull ended; the exit code.

    Raises:
        CommandError: It failed or was stopped; `hint` is added where the hub wants to know who asks.
    """
    match outcome.final:
        case Failed(code=code, message=message):
            raise CommandError(message + (hint if code in {"hub_unauthorized", "hub_gated"} else ""))
        case Stopped(state="queued"):
            raise CommandError("The server was stopped; the pull goes on when it runs again.")
        case Stopped(state="paused"):
            raise CommandError(f"The pull was paused; `mlxr models pulls resume {outcome.number}` goes on with it.")
        case Stopped():
            raise CommandError("The pull was cancelled.")
        case Done():
            if not outcome.is_json:
                print_models(outcome.models)
    return 0


def print_models(models: list[Registered]) -> None:
    """Say of the models that a pull brought what runs them, and which are too large for this machine."""
    with open_registry_for_reading(current_paths()) as registry:
        for name in dict.fromkeys(model.model for model in models):
            found = registry.models.get(name)
            print("\n".join([readiness(found), *notes(found)]))
    for model in models:
        fit = fit_of(model.path)
        if fit is not None and not fit.is_fitting:
            numbers = f"{size(fit.required_bytes)} at a context of {fit.context_length} tokens"
            print(f"It needs {numbers}, this machine has {size(fit.limit_bytes)}; see `mlxr models fit {model.model}`.")
