"""`mlxr models pull`: get a model from a hub, a web address or a path, and put it into the catalogue.

A running server does the work, so that closing the terminal stops nothing; without one this process does (`here.py`).
Not here: showing it (`progress.py`), `--dry-run` (`plan.py`), and the list of pulls (`pulls.py`).
"""

import asyncio
import os
from contextlib import closing
from pathlib import Path

from registry.engines import PullEngines
from registry.errors import InvalidReferenceError
from registry.hub.references import LocalReference, parse_pull_reference
from registry.names import check_new_name
from registry.pull import PullOptions
from registry.pull.events import Registered
from registry.scan import register_path
from router.cli.client.errors import ServerUnreachableError
from router.cli.client.jobs import JobClient
from router.cli.pulling.here import PullOutcome, conclude, print_models, pull_here, pulls_here
from router.cli.pulling.plan import show_plan
from router.cli.pulling.progress import JSONPrinter
from router.cli.terminal.catalogue import open_registry
from router.cli.terminal.context import CommandError, current_paths, read_config
from router.cli.terminal.options import engine_option, json_option
from router.cli.terminal.output import shown
from router.cli.terminal.verbs import argument, option, verb
from router.config.instance import RunningInstance, read_instance
from router.config.roots import is_own


@verb
@argument("reference", help="ORG/REPO[:QUANT|/FILE][@REVISION], an https address, or a path.")
@engine_option("mlx, llamacpp or both.")
@option(
    "--vision/--no-vision",
    default=None,
    help="Demand a GGUF model's vision projector, or leave it; else it comes where there is one.",
)
@option("--name", metavar="NAME", help="Name of the model, or of the one it joins.")
@option("--endpoint", metavar="URL", help="Another hub; pulls in this terminal.")
@option("--dry-run", is_flag=True, help="Only show what would be fetched.")
@json_option("Print one JSON event per line.")
def pull(
    reference: str,
    engine: str | None,
    vision: bool | None,
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


def _pull_by_server(instance: RunningInstance, reference: str, options: PullOptions, *, is_json: bool) -> int:
    outcome = PullOutcome(is_json=is_json)
    shows, ends = "`mlxr models pulls` shows it", "`mlxr models pulls cancel {number}` ends it"
    try:
        with (
            outcome.following(f"The server goes on with pull {{number}}. {shows}, {ends}."),
            JobClient(instance) as client,
            closing(client.pull(reference, options)) as events,
        ):
            for event in events:
                outcome.take(event)
    except ServerUnreachableError as exc:
        if outcome.number is None:
            raise
        raise CommandError(f"{exc} The pull goes on when the server runs again.") from exc
    has_token = any(os.environ.get(name) for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"))
    hint = " The server runs the pull, with the token that it was started with." if has_token else ""
    return conclude(outcome, hint)


def _checked_name(name: str | None) -> str | None:
    if name is not None:
        check_new_name(name)
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
        model = register_path(registry, path, name=name, is_owned=is_own(path, read_config(paths), paths))
    registered = Registered(model=model.name, engines=model.engines, path=str(path))
    JSONPrinter().show(registered) if is_json else print_models([registered])
    return 0
