"""From a candidate to what the catalogue records: an artifact's draft, or why it is none. Opens the files.

Not here: finding candidates (`folders.py`) and recording the result (`discovery.py`).
"""

import re
from typing import Final

from registry.catalogue import ArtifactDraft, SkippedFile
from registry.errors import ArtifactError, GGUFError
from registry.facts import ArtifactFormat, ModelFacts, ModelKind
from registry.folders import Candidate
from registry.gguf import read_header
from registry.gguf.split import facts_from_headers
from registry.mlx_dir import read_mlx_dir
from registry.names import derive_name, sanitise_org, strip_suffixes

MMPROJ_CODE: Final = ModelKind.MMPROJ.value

_MMPROJ_PATTERN: Final = re.compile(r"(?:\A|[-._])mmproj(?:[-._]|\Z)", re.IGNORECASE)

_NOT_MODELS: Final = {
    ModelKind.MMPROJ: "it is a vision projector; it serves with the model beside it",
    ModelKind.LORA: "it is a LoRA adapter, which needs its base model",
    ModelKind.VOCAB_ONLY: "it has a vocabulary but no weights",
    ModelKind.IMATRIX: "it is an importance matrix for quantizing, not a model",
}


def inspect(candidate: Candidate) -> ArtifactDraft | SkippedFile:
    """Read a candidate's files.

    Args:
        candidate: What was found.

    Returns:
        The draft of an artifact (its projector is not looked for yet), or the reason why it is none.
    """
    try:
        facts = _read_facts(candidate)
    except ArtifactError as exc:
        return skipped(candidate, kind="bad", code=exc.code, reason=_reason(exc, candidate))
    if facts.kind in _NOT_MODELS:
        return skipped(candidate, kind="not_a_model", code=facts.kind.value, reason=_NOT_MODELS[facts.kind])
    provenance = facts.provenance
    parts = (provenance.basename, provenance.size_label, provenance.finetune)
    from_parts = "-".join(part for part in parts if part) if provenance.basename else None
    return ArtifactDraft(
        format=candidate.format,
        path=str(candidate.path),
        files=tuple(map(str, candidate.files)),
        size_bytes=candidate.size_bytes,
        mtime_ns=candidate.mtime_ns,
        is_owned=candidate.is_owned,
        facts=facts,
        name=derive_name(*candidate.hints, from_parts, provenance.name),
        organization=sanitise_org(candidate.organization),
        origin=candidate.origin,
    )


def skipped(candidate: Candidate, *, kind: str, code: str, reason: str) -> SkippedFile:
    """Describe a candidate that is no artifact.

    Args:
        candidate: What was found.
        kind: `bad` or `not_a_model`.
        code: Machine-readable reason.
        reason: The sentence for the user.

    Returns:
        The description.
    """
    return SkippedFile(
        path=str(candidate.path),
        size_bytes=candidate.size_bytes,
        mtime_ns=candidate.mtime_ns,
        kind="bad" if kind == "bad" else "not_a_model",
        code=code,
        reason=reason,
    )


def projector_stem(file_name: str) -> str:
    """Give the model name that a projector's file name speaks of; empty for a bare `mmproj-f16.gguf`.

    Args:
        file_name: E.g. `mmproj-gemma-3-4b-it-f16.gguf`.

    Returns:
        E.g. `gemma-3-4b-it`.
    """
    stem = re.sub(r"\.gguf\Z", "", file_name, flags=re.IGNORECASE)
    return strip_suffixes(_MMPROJ_PATTERN.sub("-", stem))


def choose_projector(model_file: str, neighbours: tuple[str, ...], projectors: tuple[str, ...]) -> str | None:
    """Choose the projector that belongs to a model in the same folder.

    Args:
        model_file: The model's file name.
        neighbours: File names of all models in the folder, this one included.
        projectors: File names of the projectors in the folder.

    Returns:
        The file name of one that names this model, or of one that can only mean this model because every model of the
        folder is a form of the same; float16 before others. None when there is none.
    """
    name = strip_suffixes(model_file)
    fitting = [projector for projector in projectors if projector_stem(projector) == name]
    if not fitting and len({strip_suffixes(neighbour) for neighbour in neighbours}) == 1:
        fitting = list(projectors)
    return min(fitting, key=lambda projector: ("f16" not in projector.lower(), projector), default=None)


def _read_facts(candidate: Candidate) -> ModelFacts:
    try:
        str(candidate.path).encode("utf-8")
    except UnicodeEncodeError as exc:
        raise ArtifactError("bad_path", "its path is not UTF-8 text; rename it") from exc
    if candidate.problem is not None:
        raise candidate.problem
    if candidate.format is ArtifactFormat.MLX:
        return read_mlx_dir(candidate.path)
    return facts_from_headers([read_header(file) for file in candidate.files])


def _reason(exc: ArtifactError, candidate: Candidate) -> str:
    """Leave out the path when it is the candidate's own, which is shown beside the reason."""
    inner = "" if exc.path in {None, candidate.path} else f"{exc.path.name}: " if exc.path is not None else ""
    where = f" (at byte {exc.offset})" if isinstance(exc, GGUFError) else ""
    file = getattr(exc, "file", None)
    return f"{inner}{exc.reason}{where}{f' (in {file})' if file else ''}"
