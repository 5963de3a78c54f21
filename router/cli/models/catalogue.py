"""`mlxr models scan`, `add`, `link`, `unlink` and `alias`: getting models into the catalogue, and their names there.

Not here: showing what is in it (`listing.py`, `show.py`), what is set on it (`settings.py`), and taking
models out (`removal.py`).
"""

from pathlib import Path
from typing import Any

from registry.catalogue import Model
from registry.facts import ArtifactFormat
from registry.scan import ScanFailure, ScanReport, register_path
from registry.scan import scan as scan_folders
from registry.store.database import rescue_registry
from router.cli.models.readiness import notes, readiness
from router.cli.terminal.catalogue import open_registry
from router.cli.terminal.context import CommandError, check_engine, current_paths, read_config
from router.cli.terminal.options import config_option, engine_option, json_option, model_argument
from router.cli.terminal.output import plural, print_json, shown
from router.cli.terminal.verbs import argument, option, verb
from router.config.instance import read_instance
from router.config.roots import is_own, scan_roots


@verb
@config_option()
@option("--rescue/--no-rescue", default=False, help="Put a damaged catalogue aside and start a new one.")
@json_option()
def scan(config: str | None, rescue: bool, is_json: bool) -> None:
    """Look for models in mlxr's folder, the config's extra folders and the stores of other tools.

    Examples: `mlxr models scan`, `mlxr models scan --json`.
    """
    paths = current_paths()
    roots = scan_roots(read_config(paths, config), paths)
    if rescue:
        _put_catalogue_aside()
    with open_registry(paths) as registry:
        report = scan_folders(registry, roots)
        found = registry.models.summaries()
    if is_json:
        print_json(report)
    else:
        _print_report(report, len(found))


def _put_catalogue_aside() -> None:
    paths = current_paths()
    if read_instance(paths) is not None:
        raise CommandError("The running server uses the catalogue; stop the server first.")
    aside = rescue_registry(paths.registry_db)
    if aside is not None:
        print(f"The old catalogue is now {shown(aside)}.")


def _print_report(report: ScanReport, num_models: int) -> None:
    counts = (("new", report.added), ("changed", report.updated), ("copy", report.copied), ("missing", report.missing))
    parts = [f"{len(items)} {word}" for word, items in counts if items]
    print(f"{plural(num_models, 'model')} known: {', '.join([*parts, f'{report.num_unchanged} unchanged'])}.")
    for word, items in counts:
        for path in items:
            print(f"  {word:<8} {shown(path)}")
    _print_failures("broken", report.failed)
    _print_failures("no model", report.skipped)
    _print_failures("unpaired", report.unpaired)


def _print_failures(word: str, failures: tuple[ScanFailure, ...]) -> None:
    for failure in failures:
        print(f"  {word:<8} {shown(failure.path)}: {shown(failure.reason)}")


@verb
@argument("path", help="A .gguf file, or a folder with an MLX model.")
@option("--name", help="Name of the model, or of the one this is another form of.")
@engine_option("Also set the model's engine.")
@json_option()
def add(path: str, name: str | None, engine: str | None, is_json: bool) -> None:
    """Put a model into the catalogue where it lies; nothing is copied.

    Examples: `mlxr models add ~/models/qwen3-4b-q4_k_m.gguf`, `mlxr models add ./qwen3-4b-mlx --name qwen3-4b`.
    """
    setting = check_engine(engine)
    paths = current_paths()
    given = Path(path).expanduser().absolute()
    with open_registry(paths) as registry:
        model = register_path(registry, given, name=name, is_owned=is_own(given, read_config(paths), paths))
        if setting is not None:
            model = registry.models.change_settings(model.name, {"engine": setting})
    if is_json:
        print_json(_registered(model))
    else:
        print("\n".join([readiness(model), *notes(model)]))


def _registered(model: Model) -> dict[str, Any]:
    """Give what `list` says of it, from the full form."""
    return {
        "name": model.name,
        "aliases": model.aliases,
        "engine": model.engine,
        "engines": model.engines,
        "artifacts": [
            {"format": item.format, "engine": item.engine, "path": item.path, "status": item.status}
            for item in model.artifacts
        ],
    }


@verb
@argument("source", help="Model that is given up.")
@argument("target", help="Model that gets its artifacts.")
def link(source: str, target: str) -> None:
    """Make the artifacts of one model artifacts of another: two forms of one model under one name.

    Example: `mlxr models link qwen3-4b-mlx qwen3-4b`.
    """
    with open_registry(current_paths()) as registry:
        model = registry.models.link(source, target)
    print(f"{model.name}: runs on {' and '.join(model.engines) or 'no engine'}.")


@verb
@model_argument()
@option("--format", "artifact_format", required=True, metavar="FORMAT", help="gguf or mlx.")
def unlink(name: str, artifact_format: str) -> None:
    """Make one artifact of a model a model of its own.

    Example: `mlxr models unlink qwen3-4b --format mlx`.
    """
    if artifact_format not in {item.value for item in ArtifactFormat}:
        raise CommandError(f"There is no format {artifact_format!r}; choose gguf or mlx.", exit_code=2)
    with open_registry(current_paths()) as registry:
        model = registry.models.unlink(name, ArtifactFormat(artifact_format))
    print(f"The {artifact_format} artifact of {name} is now the model {model.name}.")


@verb
@model_argument()
@argument("other", metavar="ALIAS", help="The other name.")
@option("--remove", is_flag=True, help="Take the alias away.")
def alias(name: str, other: str, remove: bool) -> None:
    """Give a model another name, or take one away.

    Examples: `mlxr models alias qwen3-4b gpt-4`, `mlxr models alias qwen3-4b gpt-4 --remove`.
    """
    with open_registry(current_paths()) as registry:
        if not remove:
            model = registry.aliases.set(other, name)
        else:
            model = registry.models.get(name)
            if other not in model.aliases:
                raise CommandError(f"{other!r} is no alias of {model.name}.")
            registry.aliases.remove(other)
            model = registry.models.get(model.name)
    print(f"{model.name}: {', '.join(model.aliases) or 'no other names'}")
