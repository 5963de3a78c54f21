"""`mlxr models show`: everything that is known of one model."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import to_builtins
from msgspec.structs import replace

from registry.catalogue import Artifact, FileHash, Model, all_files
from registry.errors import ModelNotFoundError
from registry.facts import ArtifactFormat
from registry.gguf import read_header
from registry.mlx.config import read_chat_template
from registry.settings import set_settings
from registry.vision import VISION_FAMILIES
from router.cli.models.adapters import adapter_facts, description
from router.cli.models.conversion_report import report_facts, stored_report
from router.cli.models.listing import UNMEASURED, ago, resident_engines, upstreams_of_server
from router.cli.terminal.catalogue import open_registry_for_reading
from router.cli.terminal.context import CommandError, current_paths, read_config
from router.cli.terminal.options import json_option, model_argument
from router.cli.terminal.output import count, picture_sides, print_facts, print_json, shown, shown_answer, size
from router.cli.terminal.verbs import option, verb
from router.config import Config
from router.config.paths import Paths
from router.models.defaults import sampling_origins
from router.models.load_settings import load_settings_of
from router.models.load_spec import load_spec_of
from router.models.vision import vision_source
from router.placement.context import planned_spec
from router.placement.memory import MemoryBudget, read_budget, this_machine
from router.placement.memory_need import memory_need, tower_keeps_scores
from router.placement.vision_need import ImageSides, counted_side_px, image_sides
from router.protocols.control.capabilities import capability_report, field_capabilities, generating_engines

SHOWN_CONTEXTS = (2048, 8192, 32_768, 131_072)

MAX_SHOWN_CHARS = 200
"""A system prompt or template of a setting is cut here; `--json` and `settings export` have all of it."""


@verb
@model_argument()
@option("--template", is_flag=True, help="Print the chat template and nothing else.")
@json_option()
def show(name: str, template: bool, is_json: bool) -> None:
    """Show everything that is known of a model, and what requests to it may ask.

    Examples: `mlxr models show smollm2-135m-instruct`, `mlxr models show smollm2-135m-instruct --template`.
    """
    paths = current_paths()
    with open_registry_for_reading(paths) as registry:
        try:
            model = registry.models.get(name)
        except ModelNotFoundError:
            if not _is_shown_elsewhere(name, paths, is_json=is_json):
                raise
            return
        hashes = registry.files.hashes(file for artifact in model.artifacts for file in all_files(artifact))
    if template:
        print(shown_answer(_template(model)))
        return
    if is_json:
        print_json(_description(model, hashes, read_config(paths), read_budget(paths.working_set_file)))
        return
    settings = set_settings(model.settings)
    config, budget = read_config(paths), read_budget(paths.working_set_file)
    sampling = sampling_origins(config.generation, model)
    print_facts(
        [
            ("name", model.name),
            ("aliases", ", ".join(model.aliases) or None),
            ("engines", ", ".join(model.engines) or "none that works"),
            ("engine setting", model.engine or "the global one"),
            ("loaded", resident_engines(paths).get(model.name)),
            ("last used", None if model.last_used_at is None else ago(time.time() - model.last_used_at)),
            *((f"setting {key}", str(value)[:MAX_SHOWN_CHARS]) for key, value in settings.items()),
            ("sampling", _sampling_line(sampling)),
            *adapter_facts(model),
        ]
    )
    for artifact in model.artifacts:
        print()
        shown_images = _shown_images(artifact, model, config, budget)
        _print_artifact(artifact, shown_images)
        if artifact.status == "ok":
            print_facts([("memory", ", ".join(_needs(artifact, model, config)))])
        _print_files(artifact, hashes)
    _print_capabilities(model)


def _is_shown_elsewhere(name: str, paths: Paths, *, is_json: bool) -> bool:
    """Show what is known of a model that only upstreams of the running server have; tell whether one has it."""
    having = {
        upstream.name: model
        for upstream in upstreams_of_server(paths)
        for model in upstream.models
        if model.name == name.lower()
    }
    if is_json and having:
        print_json({"name": name.lower(), "upstreams": to_builtins(having)})
    elif having:
        print_facts([("name", name.lower()), ("engines", ", ".join(f"upstream:{each}" for each in having))])
        for upstream, model in having.items():
            print()
            print_facts([("upstream", upstream), ("called there", model.model_id), ("context", model.context_length)])
    return bool(having)


def _sampling_line(sampling: dict[str, tuple[Any, str]]) -> str:
    """Write how tokens are drawn and who says so, what is off left out, e.g. `temperature 0.6 (the config)`."""
    shown_values = {name: pair for name, pair in sampling.items() if pair[0] is not None and pair[1] != "off"}
    return ", ".join(f"{name} {value} ({origin})" for name, (value, origin) in shown_values.items())


def _description(model: Model, hashes: dict[str, FileHash], config: Config, budget: MemoryBudget) -> dict[str, Any]:
    from router.protocols.table import ENDPOINTS  # noqa: PLC0415 - too much for a look at a model

    plain: dict[str, Any] = to_builtins(model) | {
        "settings": set_settings(model.settings),
        "sampling": {
            name: {"value": value, "origin": origin}
            for name, (value, origin) in sampling_origins(config.generation, model).items()
        },
        "adapters": [description(adapter) for adapter in model.adapters],
        "capabilities": to_builtins(capability_report(ENDPOINTS, model)),
    }
    for artifact, source in zip(plain["artifacts"], model.artifacts, strict=True):
        artifact["files"] = [
            {"path": file, "sha256": item.sha256 if (item := _valid(file, hashes)) is not None else None}
            for file in all_files(source)
        ]
        artifact.update(UNMEASURED)
        artifact["conversion"] = to_builtins(stored_report(source))
        artifact["text_only_reason"] = source.text_only_reason
        artifact["images"] = to_builtins(_shown_images(source, model, config, budget))
    return plain


def _valid(file: str, hashes: dict[str, FileHash]) -> FileHash | None:
    """Give a checksum if the file still is as it was then."""
    known = hashes.get(file)
    try:
        info = Path(file).stat()
    except OSError:
        return None
    is_same = known is not None and (known.size_bytes, known.mtime_ns) == (info.st_size, info.st_mtime_ns)
    return known if is_same else None


def _template(model: Model) -> str:
    """Give the template in force: the user's own, or that of the first artifact that has one."""
    if model.settings.template is not None:
        return model.settings.template
    for artifact in model.artifacts:
        if artifact.facts.chat_template is None or artifact.status == "missing":
            continue
        path = Path(artifact.path)
        text = read_header(path).chat_template if artifact.format is ArtifactFormat.GGUF else read_chat_template(path)
        if text is not None:
            return text
    remedy = f"`mlxr models set {model.name} template=@FILE` gives it one"
    raise CommandError(f"{model.name} has no chat template; {remedy}.")


def _print_capabilities(model: Model) -> None:
    """Print the names of all fields per engine and by what becomes of them; engines that agree share a block."""
    blocks: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for engine in generating_engines(model):
        by_support: dict[str, dict[str, None]] = {}
        for row in field_capabilities([engine]):
            by_support.setdefault(row.engines[engine].value, {})[row.name] = None
        facts = tuple((support, ", ".join(names)) for support, names in by_support.items())
        blocks.setdefault(facts, []).append(engine)
    for facts, engines in blocks.items():
        print()
        unknown = ("any other", "left out, and named in the header X-Mlxr-Ignored; with X-Mlxr-Strict: true, refused")
        print_facts([("requests on", " and ".join(engines)), *facts, unknown])


def _shown_images(artifact: Artifact, model: Model, config: Config, budget: MemoryBudget) -> ImageSides | None:
    """Tell how large it would be shown pictures if it were loaded now; None = it cannot see, or is not to."""
    load = load_settings_of(model.settings)
    source = vision_source(artifact)
    if source is None or load.vision == "off":
        return None
    spec = planned_spec(artifact, config, load, machine=this_machine(), budget=budget)
    need = memory_need(artifact.facts, spec, this_machine(), image_side_px=counted_side_px(config.images))
    free_bytes = budget.available_for(artifact.engine) - need.required_bytes
    return image_sides(
        source.facts,
        source.family,
        config.images,
        keeps_scores=tower_keeps_scores(artifact.facts, spec, this_machine()),
        total_bytes=budget.total_bytes,
        free_bytes=free_bytes,
    )


def _vision_facts(artifact: Artifact, shown_images: ImageSides | None) -> list[tuple[str, object]]:
    """Tell what it sees with, and how large; nothing of models that have nothing to see with."""
    vision, source = artifact.facts.vision, vision_source(artifact)
    if vision is None:
        return []
    if source is None:
        return [("sees", f"no pictures: {artifact.text_only_reason}")]
    whole = VISION_FAMILIES[source.family].most_patches is None
    square = f", squares of {vision.image_size} pixels" if whole and vision.image_size else ""
    facts: list[tuple[str, object]] = [
        ("sees", f"pictures ({source.family}, tower of {size(vision.size_bytes)}{square})")
    ]
    if shown_images is None:
        return [*facts, ("pictures", "none: it is set to vision: off")]
    return [*facts, ("pictures", picture_sides(shown_images.usual, shown_images.high))]


def _print_artifact(artifact: Artifact, shown_images: ImageSides | None) -> None:
    facts, quantization = artifact.facts, artifact.facts.quantization
    bits = None if quantization is None else quantization.bits_per_weight
    template = facts.chat_template
    abilities = (
        [] if template is None else ["chat"] + ["tools"] * template.has_tools + ["thinking"] * template.has_thinking
    )
    print_facts(
        [
            ("artifact", f"{artifact.format} (engine {artifact.engine})"),
            ("status", artifact.status if artifact.reason is None else f"{artifact.status}: {artifact.reason}"),
            ("path", artifact.path),
            *(("also at", path) for path in artifact.copies),
            ("projector", artifact.mmproj_path),
            *_vision_facts(artifact, shown_images),
            ("size", size(artifact.size_bytes)),
            ("kept by", _keeper(artifact)),
            ("kind", facts.kind),
            ("architecture", facts.architecture),
            ("parameters", count(facts.parameter_count)),
            ("experts", None if facts.num_experts is None else f"{facts.num_experts_used} of {facts.num_experts}"),
            ("quantization", None if quantization is None else quantization.label),
            ("bits per weight", None if bits is None else f"{bits:.2f}"),
            ("context length", facts.context_length),
            ("embedding length", facts.embedding_length),
            ("vocabulary", facts.vocabulary_size),
            *_more_facts(artifact),
            ("template", ", ".join(abilities) or None),
            *((name, getattr(facts.provenance, name)) for name in facts.provenance.__struct_fields__ if name != "name"),
            ("calls itself", facts.provenance.name),
            *(("warning", warning) for warning in facts.warnings),
            *report_facts(stored_report(artifact)),
        ]
    )


def _needs(artifact: Artifact, model: Model, config: Config) -> Iterator[str]:
    """Tell what a load takes for some contexts, e.g. `8192 tokens: 1.2 GB`; `mlxr models fit` has the details."""
    machine = this_machine()
    spec = load_spec_of(artifact, config, load_settings_of(model.settings))
    longest = artifact.facts.context_length
    for context in SHOWN_CONTEXTS:
        if longest is None or context <= longest:
            wanted = replace(spec, context_length=context, kv_cells=None)
            need = memory_need(artifact.facts, wanted, machine, image_side_px=counted_side_px(config.images))
            yield f"{context} tokens: {size(need.required_bytes)}"


def _more_facts(artifact: Artifact) -> list[tuple[str, object]]:
    kv, tokenizer = artifact.facts.kv, artifact.facts.tokenizer
    heads = None if kv is None else sorted(set(kv.num_kv_heads))
    return [
        ("layers", None if kv is None else kv.num_layers),
        ("KV heads", None if heads is None else " or ".join(map(str, heads))),
        ("sliding window", None if kv is None else kv.sliding_window),
        ("rope scaling", artifact.facts.rope_scaling_type),
        ("pooling", artifact.facts.pooling_type),
        ("tokenizer", None if tokenizer is None else " ".join(filter(None, (tokenizer.model, tokenizer.pre)))),
    ]


def _keeper(artifact: Artifact) -> str:
    if artifact.is_owned:
        return "mlxr"
    others = {"hf_cache": "Hugging Face's cache", "lm_studio": "LM Studio", "ollama": "Ollama"}
    return f"{others.get(artifact.layout, 'you')} (removing the model leaves the files)"


def _print_files(artifact: Artifact, hashes: dict[str, FileHash]) -> None:
    """Print a line for each file in the form of `sha256sum`, so that it can be checked with that."""
    folder = Path(artifact.path) if len(artifact.files) > 1 else Path(artifact.path).parent
    print(f"files in {shown(folder if folder.is_dir() else folder.parent)}")
    for file in all_files(artifact):
        known = _valid(file, hashes)
        note = "" if known is None or known.is_computed else "  (by its name)"
        sha256 = "sha256 not known yet".ljust(64) if known is None else known.sha256
        print(f"  {sha256}  {shown(Path(file).name)}{note}")
