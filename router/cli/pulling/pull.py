"""`mlxr models pull`: get a model from a hub, a web address or a path, and put it into the catalogue.

A running server does the work, so that closing the terminal stops nothing; without one this process does. Not here:
showing it (`progress.py`), `--dry-run` (`plan.py`), and the list of pulls (`pulls.py`).
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path
from typing import Any

from registry.engines import PullEngines
from registry.errors import InvalidReferenceError
from registry.hub.references import LocalReference, parse_pull_reference
from registry.names import check_model_name
from registry.pull import PullOptions
from registry.pull.events import Done, Failed, PullEvent, Registered, Started, Stopped
from registry.scan import register_path
from router.cli.client.errors import ServerUnreachableError
from router.cli.client.jobs import JobClient
from router.cli.pulling.plan import fit_of, show_plan
from router.cli.pulling.progress import JSONPrinter, printer_for
from router.cli.terminal.catalogue import open_registry
from router.cli.terminal.context import CommandError, current_paths, read_config
from router.cli.terminal.options import engine_option, json_option
from router.cli.terminal.output import Printer, shown, size
from router.cli.terminal.verbs import argument, option, verb
from router.config.hub import hub_settings
from router.config.instance import RunningInstance, read_instance
from router.config.paths import Paths
from router.jobs.conversions import Converter
from router.jobs.job import Jobs
from router.jobs.pulls import Pulls, open_pulls, weights_budget
from router.placement.memory import read_budget
from router.workers.launch import worker_environment


@verb
@argument("reference", help="ORG/REPO[:QUANT|/FILE][@REVISION], an https address, or a path.")
@engine_option("mlx, llamacpp or both.")
@option("--vision", is_flag=True, help="Also get the vision projector of a GGUF model.")
@option("--name", metavar="NAME", help="Name of the model, or of the one it joins.")
@option("--endpoint", metavar="URL", help="Another hub; pulls in this terminal.")
@option("--dry-run", is_flag=True, help="Only show what would be fetched.")
@json_option("Print one JSON event per line.")
def pull(
    reference: str,
    engine: str | None,
    vision: bool,
    name: str | None,
    endpoint: str | None,
    dry_run: bool,
    is_json: bool,
) -> int:
    """Get a model. Without a quantization it is Q4_K_M, or the nearest below it that fits into memory.

    Examples: `mlxr models pull Qwen/Qwen3-4B-GGUF`, `mlxr models pull unsloth/Qwen3-4B-GGUF:Q8_0 --engine both`.
    """
    if engine is not None and engine not in set(PullEngines):
        raise CommandError(f"There is no engine {engine!r}; choose {', '.join(PullEngines)}.", exit_code=2)
    paths = current_paths()
    options = PullOptions(
        engine=None if engine is None else PullEngines(engine), vision=vision, name=_checked_name(name)
    )
    path = _local_path(reference)
    if path is not None:
        return _register_local(path, name, dry_run=dry_run, is_json=is_json)
    if dry_run:
        return asyncio.run(show_plan(pulls_here(paths, endpoint), reference, options, is_json=is_json))
    instance = read_instance(paths) if endpoint is None else None
    if instance is not None:
        return _pull_by_server(instance, reference, options, is_json=is_json)
    return pull_here(paths, lambda pulls: pulls.start(reference, options), endpoint=endpoint, is_json=is_json)


@asynccontextmanager
async def pulls_here(paths: Paths, endpoint: str | None = None) -> AsyncIterator[Pulls]:
    """Open what runs pulls in this process; folders and catalogue are made when needed."""
    open_registry(paths).close()
    hub = hub_settings(read_config(paths), os.environ, endpoint=endpoint)
    budget = weights_budget(read_budget())
    converter = Converter(paths.registry_db, paths.models_dir, worker_environment(os.environ))
    async with (
        Jobs() as jobs,
        open_pulls(hub, paths.models_dir, paths.registry_db, jobs, converter=converter, budget_bytes=budget) as pulls,
    ):
        yield pulls


class _Follower:
    """Keeps what the end of a pull needs to know of its events."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.models: list[Registered] = []
        self.final: PullEvent | None = None

    def take(self, event: PullEvent) -> None:
        match event:
            case Started(id=number):
                self.number = number
            case Registered():
                self.models.append(event)
        self.final = event


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
    follower = _Follower()
    with printer_for(is_json=is_json) as printer:
        try:
            asyncio.run(_follow(pulls_here(paths, endpoint), begin, follower, printer))
        except KeyboardInterrupt:
            printer.__exit__(None, None, None)
            if follower.number is not None:
                advice = f"`mlxr models pulls resume {follower.number}` goes on"
                print(f"Pull {follower.number} is paused; {advice}.", file=sys.stderr)
            raise
    return _conclude(follower, is_json=is_json, hint="")


async def _follow(
    opening: AbstractAsyncContextManager[Pulls],
    begin: Callable[[Pulls], Coroutine[Any, Any, AsyncIterator[PullEvent]]],
    follower: _Follower,
    printer: Printer[PullEvent],
) -> None:
    async with opening as pulls:
        events = await begin(pulls)
        try:
            async for event in events:
                follower.take(event)
                printer.show(event)
        except asyncio.CancelledError:
            if follower.number is not None:
                await pulls.pause(follower.number)
            raise


def _pull_by_server(instance: RunningInstance, reference: str, options: PullOptions, *, is_json: bool) -> int:
    follower = _Follower()
    with printer_for(is_json=is_json) as printer, JobClient(instance) as client:
        try:
            with closing(client.pull(reference, options)) as events:
                for event in events:
                    follower.take(event)
                    printer.show(event)
        except KeyboardInterrupt:
            printer.__exit__(None, None, None)
            if follower.number is not None:
                number = follower.number
                print(f"The server goes on with pull {number}. `mlxr models pulls` shows it, ", end="", file=sys.stderr)
                print(f"`mlxr models pulls cancel {number}` ends it.", file=sys.stderr)
            raise
        except ServerUnreachableError as exc:
            if follower.number is None:
                raise
            raise CommandError(f"{exc} The pull goes on when the server runs again.") from exc
    hint = " The server runs the pull, with the token that it was started with." if os.environ.get("HF_TOKEN") else ""
    return _conclude(follower, is_json=is_json, hint=hint)


def _conclude(follower: _Follower, *, is_json: bool, hint: str) -> int:
    """Say how it ended."""
    match follower.final:
        case Failed(code=code, message=message):
            raise CommandError(message + (hint if code in {"hub_unauthorized", "hub_gated"} else ""))
        case Stopped(state="queued"):
            raise CommandError("The server was stopped; the pull goes on when it runs again.")
        case Stopped(state="paused"):
            raise CommandError(f"The pull was paused; `mlxr models pulls resume {follower.number}` goes on with it.")
        case Stopped():
            raise CommandError("The pull was cancelled.")
        case Done():
            if not is_json:
                _print_models(follower.models)
    return 0


def _print_models(models: list[Registered]) -> None:
    for name, engines in {model.model: model.engines for model in models}.items():
        if engines:
            print(f"{name}: runs on {' and '.join(engines)}. Try: mlxr run {name}")
        else:
            print(f"{name}: is there, but no engine runs it; `mlxr models show {name}` says why.")
    for model in models:
        fit = fit_of(model.path)
        if fit is not None and not fit.is_fitting:
            numbers = f"{size(fit.required_bytes)} at a context of {fit.context_length} tokens"
            print(f"It needs {numbers}, this machine has {size(fit.limit_bytes)}; see `mlxr models fit {model.model}`.")


def _checked_name(name: str | None) -> str | None:
    if name is not None:
        check_model_name(name)
    return name


def _local_path(reference: str) -> Path | None:
    """Give the path that a reference means; anything that exists here and is no ORG/REPO counts as one."""
    try:
        is_local = isinstance(parse_pull_reference(reference), LocalReference)
    except InvalidReferenceError as exc:
        if not _exists(reference):
            raise CommandError(str(exc), exit_code=2) from exc
        is_local = True
    return Path(reference).absolute() if is_local else None


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long, or with a NUL: no path at all
        return False


def _register_local(path: Path, name: str | None, *, dry_run: bool, is_json: bool) -> int:
    if dry_run:
        print(f"{shown(path)} would be registered where it lies; nothing is fetched or copied.")
        return 0
    paths = current_paths()
    with open_registry(paths) as registry:
        model = register_path(registry, path, name=name, is_owned=path.is_relative_to(paths.models_dir))
    registered = Registered(model=model.name, engines=model.engines, path=str(path))
    JSONPrinter().show(registered) if is_json else _print_models([registered])
    return 0
