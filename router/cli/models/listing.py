"""`mlxr models list`: what is in the catalogue, as far as it is asked for."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec.structs import asdict

from registry.catalogue import ArtifactSummary, ModelSummary
from registry.engines import EngineSetting
from router.cli.client.errors import ClientError
from router.cli.terminal.catalogue import open_registry_for_reading
from router.cli.terminal.context import CommandError, check_engine, current_paths
from router.cli.terminal.options import engine_option, json_option
from router.cli.terminal.output import count, print_json, print_table, size
from router.cli.terminal.server import client_if_running
from router.cli.terminal.verbs import argument, option, verb
from router.config.paths import Paths
from router.status.upstreams import UpstreamStatus

SORTS: Final = ("name", "size", "parameters", "context", "used", "added", "speed")

UNMEASURED: Final = {"prefill_tokens_per_s": None, "decode_tokens_per_s": None}
"""What lists have a place for and nothing measures of an artifact; `mlxr bench` does, of a run."""

_AGES: Final = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"))


@verb
@argument("text", required=False, help="Only models with this in their name, alias or path.")
@engine_option("Only models that this engine runs.")
@option("--arch", metavar="ARCH", help="Only models of this architecture.")
@option("--tag", metavar="TAG", help="Only models with this tag; `mlxr models set NAME tags=A,B` gives them.")
@option("--min-context", metavar="TOKENS", help="Only models trained for at least this context; 32k is 32768.")
@option("--sort", default="name", metavar="KEY", help=f"One of {', '.join(SORTS)}.")
@json_option()
def list_models(
    text: str | None,
    engine: str | None,
    arch: str | None,
    tag: str | None,
    min_context: str | None,
    sort: str,
    is_json: bool,
) -> None:
    """List the models.

    Examples: `mlxr models list`, `mlxr models list --tag code`,
    `mlxr models list qwen --engine mlx --min-context 32k --sort size`.
    """
    check_engine(engine)
    if sort not in SORTS:
        raise CommandError(f"Models cannot be sorted by {sort!r}; choose {', '.join(SORTS)}.", exit_code=2)
    paths = current_paths()
    with open_registry_for_reading(paths) as registry:
        known = registry.models.summaries()
    min_tokens = None if min_context is None else _tokens(min_context)
    found = [model for model in known if _is_wanted(model, text, engine, arch, min_tokens)]
    found = [model for model in found if tag is None or tag.lower() in model.tags]
    found.sort(key=_sort_key(sort))
    resident, upstreams = _running(paths)
    offered = {name: those for name, those in _offered(upstreams).items() if text is None or text.lower() in name}
    here = {name for model in known for name in (model.name, *model.aliases)}
    is_filtered = engine is not None or arch is not None or tag is not None or min_tokens is not None
    elsewhere = {} if is_filtered else {name: those for name, those in offered.items() if name not in here}
    if is_json:
        print_json(
            [summary_of(model, resident) | {"upstreams": offered.get(model.name, [])} for model in found]
            + [_remote_summary(name, those) for name, those in elsewhere.items()]
        )
    elif found:
        head = (
            "NAME",
            "ENGINES",
            "SETTING",
            "QUANTIZATION",
            "PARAMETERS",
            "CONTEXT",
            "SEES",
            "SIZE",
            "TOKENS/S",
            "LOADED",
            "TAGS",
        )
        print_table((*head, "USED", "REMARK"), [_row(model, resident) for model in found])
        _print_elsewhere(elsewhere)
    elif elsewhere:
        _print_elsewhere(elsewhere)
    elif known:
        print(f"None of the {len(known)} models is like that. `mlxr models list` shows all.")
    else:
        print("There are no models yet. `mlxr models pull ORG/REPO` gets one, `mlxr models search TEXT` finds some,")
        print("`mlxr models add PATH` adds a file, `mlxr models scan` looks for those that are here.")


def _offered(upstreams: Sequence[UpstreamStatus]) -> dict[str, list[str]]:
    """Return which upstreams have which model: its name -> `upstream:NAME`."""
    found: dict[str, list[str]] = {}
    for upstream in upstreams:
        for model in upstream.models:
            found.setdefault(model.name, []).append(f"upstream:{upstream.name}")
    return dict(sorted(found.items()))


def _print_elsewhere(elsewhere: dict[str, list[str]]) -> None:
    """Print the models that only upstreams have."""
    if elsewhere:
        print()
        print_table(("MODEL", "OF"), [(name, ", ".join(those)) for name, those in elsewhere.items()])


def _remote_summary(name: str, upstreams: list[str]) -> dict[str, Any]:
    nothing: dict[str, Any] = {
        "aliases": [],
        "tags": [],
        "engine": None,
        "engines": [],
        "resident_engine": None,
        "last_used_at": None,
    }
    return {"name": name, **nothing, "artifacts": [], "adapters": [], "upstreams": upstreams}


def resident_engines(paths: Paths) -> dict[str, str]:
    """Ask the running server which models are loaded: model -> engine. None are when no server runs or answers."""
    return _running(paths)[0]


def upstreams_of_server(paths: Paths) -> Sequence[UpstreamStatus]:
    """Ask the running server for its upstreams; there are none where no server runs or answers."""
    return _running(paths)[1]


def _running(paths: Paths) -> tuple[dict[str, str], Sequence[UpstreamStatus]]:
    """Ask the running server which models are loaded, on which engine, and how its upstreams stand."""
    client = client_if_running(paths)
    if client is None:
        return {}, ()
    try:
        with client:
            status = client.status()
    except ClientError:
        return {}, ()
    loaded = {"ready", "generating", "draining"}
    workers = [each for each in status.workers if each.model is not None and each.state in loaded]
    return {worker.model: worker.engine for worker in workers if worker.model is not None}, status.upstreams


def summary_of(model: ModelSummary, resident: dict[str, str] | None = None) -> dict[str, Any]:
    """Give what JSON lists say of a model; without `resident_engines`, nothing is known of where it is loaded."""
    return {
        "name": model.name,
        "aliases": model.aliases,
        "tags": model.tags,
        "engine": model.engine,
        "engines": model.engines,
        "resident_engine": None if resident is None else resident.get(model.name),
        "last_used_at": model.last_used_at,
        "artifacts": [_artifact_summary(artifact) for artifact in model.artifacts],
        "adapters": [{"name": name, "engine": engine} for name, engine in model.adapters],
    }


def _artifact_summary(artifact: ArtifactSummary) -> dict[str, Any]:
    return {"engine": artifact.engine, **asdict(artifact), **UNMEASURED}


def _row(model: ModelSummary, resident: dict[str, str]) -> tuple[object, ...]:
    artifacts = model.artifacts
    labels = [artifact.quantization for artifact in artifacts if artifact.quantization is not None]
    remarks = [f"{artifact.format} {artifact.status}" for artifact in artifacts if artifact.status != "ok"]
    return (
        model.name,
        ", ".join(model.engines) or None,
        model.engine,
        " / ".join(labels) or None,
        count(_most(artifacts, "parameter_count") or None),
        _most(artifacts, "context_length") or None,
        ", ".join(artifact.engine for artifact in artifacts if artifact.sees and artifact.status == "ok") or None,
        size(_num_bytes(model)),
        UNMEASURED["decode_tokens_per_s"],
        resident.get(model.name),
        ", ".join(model.tags) or None,
        None if model.last_used_at is None else ago(time.time() - model.last_used_at),
        ", ".join(remarks),
    )


def ago(seconds: float) -> str:
    """Write how long ago something was, e.g. `3 h ago`."""
    for unit_s, unit in _AGES:
        if seconds >= unit_s:
            return f"{seconds / unit_s:.0f} {unit} ago"
    return "just now"


def _tokens(text: str) -> int:
    number, factor = (text[:-1], 1024) if text.lower().endswith("k") else (text, 1)
    try:
        return int(number) * factor
    except ValueError as exc:
        raise CommandError(f"--min-context: {text!r} is no number of tokens; give 8192 or 8k.", exit_code=2) from exc


def _is_wanted(
    model: ModelSummary, text: str | None, engine: str | None, arch: str | None, min_tokens: int | None
) -> bool:
    if text is not None:
        places = (model.name, *model.aliases, *(artifact.path for artifact in model.artifacts))
        if not any(text.lower() in place.lower() for place in places):
            return False
    if engine not in {None, EngineSetting.AUTO} and engine not in model.engines:
        return False
    if arch is not None and all((artifact.architecture or "").lower() != arch.lower() for artifact in model.artifacts):
        return False
    return min_tokens is None or _most(model.artifacts, "context_length") >= min_tokens


def _most(artifacts: Sequence[ArtifactSummary], field: str) -> Any:
    return max((getattr(artifact, field) or 0 for artifact in artifacts), default=0)


def _num_bytes(model: ModelSummary) -> int:
    return sum(artifact.size_bytes for artifact in model.artifacts)


def _sort_key(sort: str) -> Callable[[ModelSummary], tuple[Any, str]]:
    """Names go up, everything else begins with the most."""
    keys: dict[str, Callable[[ModelSummary], Any]] = {
        "name": lambda _model: 0,
        "size": _num_bytes,
        "parameters": lambda model: _most(model.artifacts, "parameter_count"),
        "context": lambda model: _most(model.artifacts, "context_length"),
        "used": lambda model: model.last_used_at or 0.0,
        "added": lambda model: model.created_at,
        "speed": lambda _model: 0,
    }
    return lambda model: (-keys[sort](model), model.name)
