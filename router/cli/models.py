"""`mlxr models …`: what is in the catalogue, and getting models in. Taking them out is in `removal.py`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.cli import fit, removal
from router.cli.context import CommandError, check_engine, current_paths, open_registry, open_registry_for_reading
from router.cli.output import count, plural, print_facts, print_json, print_table, shown, size
from router.cli.quick import QuickCommand, QuickGroup

if TYPE_CHECKING:
    from registry.catalogue import Artifact, Model
    from registry.discovery import ScanFailure, ScanReport

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]

models = typer.Typer(
    name="models",
    cls=QuickGroup,
    no_args_is_help=True,
    help="List, show, find, add and remove models.",
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Add the group."""
    removal.register(models)
    fit.register(models)
    app.add_typer(models)


@models.command("list", cls=QuickCommand)
def list_models(is_json: JsonFlag = False) -> None:
    """List the models.

    Examples: `mlxr models list`, `mlxr models list --json`.
    """
    with open_registry_for_reading(current_paths()) as registry:
        found = registry.list_models()
    if is_json:
        print_json([_summary(model) for model in found])
    elif found:
        head = ("NAME", "ENGINES", "SETTING", "QUANTIZATION", "PARAMETERS", "CONTEXT", "SIZE", "REMARK")
        print_table(head, [_row(model) for model in found])
    else:
        print("There are no models yet. `mlxr models add PATH` adds one, `mlxr models scan` looks for them.")


def _row(model: "Model") -> tuple[object, ...]:
    facts = [artifact.facts for artifact in model.artifacts]
    labels = [fact.quantization.label for fact in facts if fact.quantization is not None]
    remarks = [f"{artifact.format} {artifact.status}" for artifact in model.artifacts if artifact.status != "ok"]
    return (
        model.name,
        ", ".join(model.engines) or None,
        model.engine,
        " / ".join(labels) or None,
        count(max(fact.parameter_count for fact in facts)),
        max((fact.context_length or 0 for fact in facts), default=0) or None,
        size(sum(artifact.size_bytes for artifact in model.artifacts)),
        ", ".join(remarks),
    )


def _summary(model: "Model") -> dict[str, Any]:
    return {
        "name": model.name,
        "aliases": model.aliases,
        "engine": model.engine,
        "engines": model.engines,
        "last_used_at": model.last_used_at,
        "artifacts": [_artifact_summary(artifact) for artifact in model.artifacts],
    }


def _artifact_summary(artifact: "Artifact") -> dict[str, Any]:
    facts = artifact.facts
    return {
        "format": artifact.format,
        "engine": artifact.engine,
        "path": artifact.path,
        "size_bytes": artifact.size_bytes,
        "status": artifact.status,
        "reason": artifact.reason,
        "is_owned": artifact.is_owned,
        "architecture": facts.architecture,
        "quantization": None if facts.quantization is None else facts.quantization.label,
        "parameter_count": facts.parameter_count,
        "context_length": facts.context_length,
    }


@models.command("show", cls=QuickCommand)
def show(name: Annotated[str, typer.Argument(help="Model or alias.")], is_json: JsonFlag = False) -> None:
    """Show everything that is known of a model, and what requests to it may ask.

    Example: `mlxr models show smollm2-135m-instruct`.
    """
    from msgspec import to_builtins

    from registry.settings import set_settings
    from router.capabilities import report

    with open_registry_for_reading(current_paths()) as registry:
        model = registry.get_model(name)
    if is_json:
        print_json(to_builtins(model) | {"capabilities": report(model)})
        return
    print_facts(
        [
            ("name", model.name),
            ("aliases", ", ".join(model.aliases) or None),
            ("engines", ", ".join(model.engines) or "none that works"),
            ("engine setting", model.engine or "the global one"),
            *((f"setting {key}", value) for key, value in set_settings(model.settings).items()),
        ]
    )
    for artifact in model.artifacts:
        print()
        _print_artifact(artifact)
    _print_capabilities(model)


def _print_capabilities(model: "Model") -> None:
    """Print the names of all fields per engine and by what becomes of them; engines that agree share a block."""
    from router.capabilities import CAPABILITIES, generating_engines

    blocks: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for engine in generating_engines(model):
        by_support: dict[str, list[str]] = {}
        for row in CAPABILITIES:
            by_support.setdefault(row.support_on(engine).value, []).append(row.name)
        facts = tuple((support, ", ".join(names)) for support, names in by_support.items())
        blocks.setdefault(facts, []).append(engine)
    for facts, engines in blocks.items():
        print()
        print_facts([("requests on", " and ".join(engines)), *facts])


def _print_artifact(artifact: "Artifact") -> None:
    facts, quantization = artifact.facts, artifact.facts.quantization
    bits = (
        None if quantization is None or quantization.bits_per_weight is None else f"{quantization.bits_per_weight:.2f}"
    )
    template = facts.chat_template
    abilities = (
        [] if template is None else ["chat"] + ["tools"] * template.has_tools + ["thinking"] * template.has_thinking
    )
    print_facts(
        [
            ("artifact", f"{artifact.format} (engine {artifact.engine})"),
            ("status", artifact.status if artifact.reason is None else f"{artifact.status}: {artifact.reason}"),
            ("path", artifact.path),
            ("files", len(artifact.files) if len(artifact.files) > 1 else None),
            ("projector", artifact.mmproj_path),
            ("size", size(artifact.size_bytes)),
            ("sha256", artifact.sha256),
            ("kept by", "mlxr" if artifact.is_owned else "you (removing the model leaves the files)"),
            ("kind", facts.kind),
            ("architecture", facts.architecture),
            ("parameters", count(facts.parameter_count)),
            ("quantization", None if quantization is None else quantization.label),
            ("bits per weight", bits),
            ("context length", facts.context_length),
            ("vocabulary", facts.vocabulary_size),
            ("layers", None if facts.kv is None else facts.kv.num_layers),
            ("template", ", ".join(abilities) or None),
        ]
    )


@models.command("scan", cls=QuickCommand)
def scan(
    config: Annotated[str | None, typer.Option(metavar="FILE", help="Config file, instead of mlxr's own.")] = None,
    rescue: Annotated[bool, typer.Option(help="Put a damaged catalogue aside and start a new one.")] = False,
    is_json: JsonFlag = False,
) -> None:
    """Look for models in mlxr's folder, the config's extra folders and Hugging Face's cache.

    Examples: `mlxr models scan`, `mlxr models scan --json`.
    """
    from registry.discovery import scan as scan_folders
    from router.cli.context import read_config
    from router.config.roots import scan_roots

    paths = current_paths()
    roots = scan_roots(read_config(paths, config), paths)
    if rescue:
        _put_catalogue_aside()
    with open_registry(paths) as registry:
        report = scan_folders(registry, roots)
        found = registry.list_models()
    if is_json:
        print_json(report)
    else:
        _print_report(report, len(found))


def _put_catalogue_aside() -> None:
    from registry.database import rescue_registry
    from router.cli.context import running_instance

    paths = current_paths()
    if running_instance(paths) is not None:
        raise CommandError("The running server uses the catalogue; stop the server first.")
    aside = rescue_registry(paths.registry_db)
    if aside is not None:
        print(f"The old catalogue is now {shown(aside)}.")


def _print_report(report: "ScanReport", num_models: int) -> None:
    counts = (("new", report.added), ("changed", report.updated), ("missing", report.missing))
    parts = [f"{len(items)} {word}" for word, items in counts if items]
    print(f"{plural(num_models, 'model')} known: {', '.join([*parts, f'{report.num_unchanged} unchanged'])}.")
    for word, items in counts:
        for path in items:
            print(f"  {word:<8} {shown(path)}")
    _print_failures("broken", report.failed)
    _print_failures("no model", report.skipped)


def _print_failures(word: str, failures: "tuple[ScanFailure, ...]") -> None:
    for failure in failures:
        print(f"  {word:<8} {shown(failure.path)}: {shown(failure.reason)}")


@models.command("add", cls=QuickCommand)
def add(
    path: Annotated[str, typer.Argument(help="A .gguf file, or a folder with an MLX model.")],
    name: Annotated[str | None, typer.Option(help="Name of the model, or of the one this is another form of.")] = None,
    engine: Annotated[str | None, typer.Option(metavar="ENGINE", help="Also set the model's engine.")] = None,
    is_json: JsonFlag = False,
) -> None:
    """Put a model into the catalogue where it lies; nothing is copied.

    Examples: `mlxr models add ~/models/qwen3-4b-q4_k_m.gguf`, `mlxr models add ./qwen3-4b-mlx --name qwen3-4b`.
    """
    from pathlib import Path

    from registry.discovery import register_path

    check_engine(engine)
    paths = current_paths()
    given = Path(path).expanduser().absolute()
    with open_registry(paths) as registry:
        model = register_path(registry, given, name=name, is_owned=given.is_relative_to(paths.models_dir))
        if engine is not None:
            model = registry.set_engine(model.name, engine)  # type: ignore[arg-type]  # checked above
    if is_json:
        print_json(_summary(model))
    else:
        print(f"{model.name}: runs on {' and '.join(model.engines) or 'no engine'}. Try: mlxr run {model.name}")


@models.command("link", cls=QuickCommand)
def link(
    source: Annotated[str, typer.Argument(help="Model that is given up.")],
    target: Annotated[str, typer.Argument(help="Model that gets its artifacts.")],
) -> None:
    """Make the artifacts of one model artifacts of another: two forms of one model under one name.

    Example: `mlxr models link qwen3-4b-mlx qwen3-4b`.
    """
    with open_registry(current_paths()) as registry:
        model = registry.link(source, target)
    print(f"{model.name}: runs on {' and '.join(model.engines) or 'no engine'}.")


@models.command("unlink", cls=QuickCommand)
def unlink(
    name: Annotated[str, typer.Argument(help="Model or alias.")],
    artifact_format: Annotated[str, typer.Option("--format", metavar="FORMAT", help="gguf or mlx.")],
) -> None:
    """Make one artifact of a model a model of its own.

    Example: `mlxr models unlink qwen3-4b --format mlx`.
    """
    from registry.facts import ArtifactFormat

    if artifact_format not in {item.value for item in ArtifactFormat}:
        raise CommandError(f"There is no format {artifact_format!r}; choose gguf or mlx.", exit_code=2)
    with open_registry(current_paths()) as registry:
        model = registry.unlink(name, ArtifactFormat(artifact_format))
    print(f"The {artifact_format} artifact of {name} is now the model {model.name}.")
