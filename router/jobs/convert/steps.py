"""Making an MLX form of a model: in processes of their own, in a temporary folder, compared with its source.

In the order of the steps: leftovers of earlier ones are swept; disk space is looked at; `backends.converting` converts
into `models/.convert-*` (discovery does not enter hidden folders); source and result read a fixed text, one after the
other; what came out is written beside the weights and synced; the folder is renamed into place and registered. A kill
at any moment leaves a hidden folder that the next conversion sweeps, or a whole, compared model.

Not here: the converters (`backends.converting`), who asks for it (`conversions.py`), and what is printed.
"""

import contextlib
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from backends.wire.load import LoadSpec
from registry.catalogue import Artifact, Model
from registry.disk import free_bytes, move, sync_file, sync_folder
from registry.engines import EngineKind
from registry.errors import ArtifactError
from registry.facts import ArtifactFormat, ModelFacts, ModelKind
from registry.gguf import read_header
from registry.mlx.folder import read_mlx_dir, read_tensors
from registry.scan import register_path
from registry.store import Registry
from registry.threads import in_thread, with_registry
from router.errors import ConversionError
from router.jobs.convert.process import read_parity, run_converter
from router.jobs.convert.progress import ConversionSteps
from router.jobs.convert.report import REPORT_NAME, ConversionOptions, ConversionReport, Dtype, Parity, read_report
from router.jobs.convert.scratch import scratch_folder, sweep
from router.placement.memory import read_budget, this_machine
from router.placement.memory_need import memory_need

_PARITY_CONTEXT_LENGTH: Final = 512

SPARE_BYTES: Final = 200_000_000
"""Left free on the disk beside what the conversion takes."""

FLOAT_LABELS: Final = frozenset({"F32", "F16", "BF16"})
_NEED_THEIR_REPOSITORY: Final = frozenset({"qwen2vl", "qwen3vl", "qwen3vlmoe", "gemma3", "mllama", "paligemma"})
"""Architectures of GGUF files. Source: gguf2mlx 2.2, vlm.py: it takes them for models that see, with a projector or
without, and wants config, tokenizer and processor of the original repository."""
_DTYPE_BYTES: Final = {"float16": 2, "bfloat16": 2, "float32": 4}


class ConversionPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done.

    Attributes:
        name: Of the model that gets the result.
        taken: Own name of the model that is called so already; None = there is none.
        options: With its dtype chosen.
    """

    source: Artifact
    model: str
    name: str
    taken: str | None = None
    options: ConversionOptions
    folder: Path
    disk_bytes: int


def plan_conversion(
    registry: Registry, model: Model, options: ConversionOptions, models_dir: Path, *, has_metal: bool
) -> ConversionPlan:
    """Choose source, name and folder, and check what can be checked before anything is written.

    Args:
        has_metal: Whether MLX computes on a GPU here, where 16 bits are best; a CPU computes in 32.

    Raises:
        ConversionError: It cannot be done; one sentence with the way out.
        ArtifactError: The source's files are not whole any more.
    """
    source = _choose_source(model)
    _check_whole(source)
    is_folder = source.format is ArtifactFormat.MLX
    dtype: Dtype = options.dtype or ("float16" if has_metal else "float32")
    if dtype == "bfloat16" and not is_folder:
        raise ConversionError("--dtype bfloat16 is not possible from a GGUF; use float16 or float32.")
    label = f"{options.bits}bit-g{options.group_size}" if options.bits is not None else dtype
    name = options.name or (f"{model.name}-{label}" if is_folder else model.name)
    taken = registry.models.find(name)
    if taken is not None and taken.artifact_for(EngineKind.MLX) is not None:
        raise ConversionError(
            f"{name} has an MLX artifact already; give the new one a name with --as NAME, "
            f"or make the old one a model of its own: mlxr models unlink {name} --format mlx"
        )
    folder = models_dir / f"{name.replace('/', '--')}-mlx-{label}"
    num_parameters = source.facts.parameter_count
    disk_bytes = num_parameters * _DTYPE_BYTES[dtype] + SPARE_BYTES
    if options.bits is not None:
        disk_bytes += int(num_parameters * (options.bits / 8 + 2 * _DTYPE_BYTES[dtype] / options.group_size))
    options = msgspec.structs.replace(options, dtype=dtype)
    return ConversionPlan(
        source=source,
        model=model.name,
        name=name,
        taken=None if taken is None else taken.name,
        options=options,
        folder=folder,
        disk_bytes=disk_bytes,
    )


async def convert(
    database: Path,
    plan: ConversionPlan,
    environment: Mapping[str, str],
    steps: ConversionSteps,
    *,
    is_forced: bool = False,
) -> tuple[Model, ConversionReport]:
    """Do it. Cancelling the task leaves nothing of it.

    Args:
        environment: Of the processes; no secrets.
        is_forced: Keep a result that the comparison speaks against.

    Returns:
        The model that has the result now, and what is stored beside it.

    Raises:
        ConversionError: It failed; nothing is left of it.
        RegistryError: The result cannot be registered.
    """
    existing = await in_thread(partial(_prepare, plan))
    if existing is not None:  # renamed, and killed before it was registered
        return await with_registry(database, partial(_register, plan)), existing
    stack = contextlib.ExitStack()
    try:
        scratch = await in_thread(lambda: stack.enter_context(scratch_folder(plan.folder.parent)))
        out = scratch / "mlx"
        report = await _make(plan, out, environment, steps)
        if report.parity is not None and not is_forced:
            _check_parity(report.parity, plan.options)
        steps.tell("saving")
        await in_thread(partial(_save, out, report))
        return await with_registry(database, partial(_put_in_place, out, plan)), report
    finally:
        await in_thread(stack.close)


def _prepare(plan: ConversionPlan) -> ConversionReport | None:
    """Give what is stored beside a result that is there already; None when the way is free."""
    sweep(plan.folder.parent)
    existing = read_report(plan.folder)
    if existing is None and plan.folder.exists():
        raise ConversionError(f"{plan.folder} is in the way; register it with `mlxr models add`, or delete it.")
    free = free_bytes(plan.folder.parent)
    if existing is None and free < plan.disk_bytes:
        raise ConversionError(
            f"The conversion needs {plan.disk_bytes / 1e9:.1f} GB on the disk of {plan.folder.parent}, but "
            f"{free / 1e9:.1f} GB are free; free some space."
        )
    return existing


async def _make(
    plan: ConversionPlan, out: Path, environment: Mapping[str, str], steps: ConversionSteps
) -> ConversionReport:
    """Convert into `out`, and compare."""
    await steps.begin("converting")
    tokenizer = plan.source.facts.tokenizer
    await run_converter(
        plan.source.path,
        out,
        plan.options,
        pre=None if tokenizer is None else tokenizer.pre,
        environment=environment,
        on_share=partial(steps.tell, "converting"),
    )
    facts = await in_thread(partial(_checked_facts, out))
    has_memory = _can_load(plan.source.facts) and _can_load(facts)
    return ConversionReport(
        source=plan.source.path,
        source_size_bytes=plan.source.size_bytes,
        source_sha256=plan.source.sha256,
        options=plan.options,
        parity=await _compare(plan, out, environment, steps) if has_memory else None,
        parity_skipped=None if has_memory else "there was too little memory to load the two in turn",
        leaves_vision=plan.source.text_only_reason is None,
    )


def _save(out: Path, report: ConversionReport) -> None:
    """Write the report beside the weights, and have all of it on the disk."""
    (out / REPORT_NAME).write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    for path in out.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                sync_file(file.fileno())
    sync_folder(out)


def _put_in_place(out: Path, plan: ConversionPlan, registry: Registry) -> Model:
    try:
        move(out, plan.folder)
    except OSError as exc:
        raise ConversionError(f"{plan.folder} cannot be made: {exc.strerror}.") from exc
    return _register(plan, registry)


def _register(plan: ConversionPlan, registry: Registry) -> Model:
    return register_path(registry, plan.folder, name=plan.name, is_owned=True)


def _choose_source(model: Model) -> Artifact:
    gguf, folder = model.artifact_for(EngineKind.LLAMACPP), model.artifact_for(EngineKind.MLX)
    usable = [item for item in (gguf, folder) if item is not None and item.status == "ok"]
    if not usable:
        raise ConversionError(f"{model.name} has no usable artifact to convert; see `mlxr models show {model.name}`.")
    source = usable[0]
    if source.facts.kind is not ModelKind.MODEL:
        raise ConversionError(f"{model.name} is of kind {source.facts.kind}; only models that generate are converted.")
    if source.facts.split is not None or (len(source.files) > 1 and source.format is ArtifactFormat.GGUF):
        raise ConversionError(f"{model.name} is split into {len(source.files)} files; merge it with llama-gguf-split.")
    architecture = source.facts.architecture
    if source.format is ArtifactFormat.GGUF and architecture in _NEED_THEIR_REPOSITORY:
        raise ConversionError(
            f"{model.name} is of the architecture {architecture}, whose models can see: a GGUF has not all that their "
            "MLX form needs. Pull that: `mlxr models search NAME`, `mlxr models pull ORG/REPO --engine mlx`."
        )
    quantization = source.facts.quantization
    if source.format is ArtifactFormat.MLX and (quantization is None or quantization.label not in FLOAT_LABELS):
        label = None if quantization is None else quantization.label
        raise ConversionError(f"{model.name} is quantized already ({label}); convert its GGUF or its float folder.")
    return source


def _check_whole(source: Artifact) -> None:
    """Look into the source's headers once more: a file may have been cut since it was registered."""
    if source.format is ArtifactFormat.MLX:
        read_tensors(Path(source.path))
    for file in source.files if source.format is ArtifactFormat.GGUF else ():
        read_header(file)


def _checked_facts(out: Path) -> ModelFacts:
    try:
        facts = read_mlx_dir(out)
    except ArtifactError as exc:
        raise ConversionError(f"The converter made no sound model: {exc.reason}.") from exc
    if not facts.loadable:
        raise ConversionError(f"The converter made a model that cannot be loaded: {'; '.join(facts.reasons)}.")
    return facts


async def _compare(plan: ConversionPlan, out: Path, environment: Mapping[str, str], steps: ConversionSteps) -> Parity:
    await steps.begin("reading with the source")
    before = await read_parity(plan.source.engine, plan.source.path, environment=environment)
    await steps.begin("reading with the result")
    after = await read_parity(EngineKind.MLX, str(out), environment=environment, token_ids=before.token_ids)
    same = sum(one == other for one, other in zip(before.likeliest_ids, after.likeliest_ids, strict=True))
    return Parity(
        num_tokens=len(before.likeliest_ids),
        agreement=same / len(before.likeliest_ids),
        source_perplexity=before.perplexity,
        perplexity=after.perplexity,
        is_same_tokens=before.own_ids == after.own_ids,
    )


def _check_parity(parity: Parity, options: ConversionOptions) -> None:
    """Refuse what is plainly another model. The bounds are wide: few bits cost a lot on small models.

    Raises:
        ConversionError: The numbers, and the way out.
    """
    ratio, agreement = {None: (1.1, 0.9), 8: (1.2, 0.85), 6: (1.3, 0.8), 5: (1.5, 0.7), 4: (2.0, 0.5)}.get(
        options.bits, (4.0, 0.25)
    )
    is_far = parity.perplexity > parity.source_perplexity * ratio and parity.agreement < agreement
    if is_far or not math.isfinite(parity.perplexity) or parity.agreement < agreement / 2:
        raise ConversionError(
            f"The result reads a text with perplexity {parity.perplexity:.1f}, the source with "
            f"{parity.source_perplexity:.1f}, and they agree at {parity.agreement:.0%} of the places; it was not kept. "
            "More bits or smaller groups may do; --force keeps it."
        )


def _can_load(facts: ModelFacts) -> bool:
    machine = this_machine()
    spec = LoadSpec(model_path="", context_length=_PARITY_CONTEXT_LENGTH, max_sequences=1, cache_slots=0)
    need = memory_need(facts, spec, machine)
    return need.required_bytes <= read_budget().available_for(need.engine)
