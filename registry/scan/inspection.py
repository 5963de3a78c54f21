"""From a candidate to what the catalogue records: an artifact's draft, or why it is none. Opens the files.

Not here: finding candidates (`folders.py`) and recording the result (`scanning.py`).
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from registry.catalogue import ArtifactDraft, FileHash, SkippedFile
from registry.checksums.sha256 import sha256_of_blob_name
from registry.errors import ArtifactError, GGUFError
from registry.facts import ArtifactFormat, ModelFacts, ModelKind
from registry.files import is_file_at
from registry.gguf import KnownVocabularies, read_header
from registry.gguf.facts import facts_from_headers
from registry.mlx.folder import read_mlx_dir
from registry.names import derive_name, sanitise_org
from registry.scan.candidates import Candidate

MMPROJ_CODE: Final = ModelKind.MMPROJ.value

_NOT_MODELS: Final = {
    ModelKind.MMPROJ: "it is a vision projector; it serves with the model beside it",
    ModelKind.LORA: "it is a LoRA adapter; `mlxr models adapter add BASE PATH` registers it for its base model",
    ModelKind.VOCAB_ONLY: "it has a vocabulary but no weights",
    ModelKind.IMATRIX: "it is an importance matrix for quantizing, not a model",
}


_NOT_FOR_MLXR: Final = frozenset({"bad_magic", "has_adapter", "no_weights", "several_weights"})
"""What other tools rightly have in their stores."""


def inspect(candidate: Candidate, vocabularies: KnownVocabularies | None = None) -> ArtifactDraft | SkippedFile:
    """Read a candidate's files.

    Returns:
        The draft of an artifact (its projector is not looked for yet), or the reason why it is none.
    """
    try:
        facts = _read_facts(candidate, vocabularies)
        code, reason = facts.kind.value, _NOT_MODELS.get(facts.kind)
        is_sound = True
    except ArtifactError as exc:
        code, reason = exc.code, _reason(exc, candidate)
        is_sound = code in _NOT_FOR_MLXR and candidate.source.layout == "ollama"
    if reason is None:
        return draft_of(candidate, facts)
    return SkippedFile(
        path=str(candidate.path),
        size_bytes=candidate.size_bytes,
        mtime_ns=candidate.mtime_ns,
        kind="not_a_model" if is_sound else "bad",
        code=code,
        reason=reason,
    )


def draft_of(candidate: Candidate, facts: ModelFacts) -> ArtifactDraft:
    """Make the draft of a candidate whose facts are known, because the same file was read under another path."""
    provenance, projector = facts.provenance, candidate.projector
    parts = (provenance.basename, provenance.size_label, provenance.finetune)
    from_parts = "-".join(part for part in parts if part) if provenance.basename else None
    return ArtifactDraft(
        format=candidate.format,
        path=str(candidate.path),
        files=tuple(map(str, candidate.files)),
        mmproj_path=str(projector) if projector is not None and is_file_at(projector) else None,
        size_bytes=candidate.size_bytes,
        mtime_ns=candidate.mtime_ns,
        is_owned=candidate.is_owned,
        facts=facts,
        name=candidate.names[0] if candidate.names else derive_name(*candidate.hints, from_parts, provenance.name),
        organization=sanitise_org(candidate.source.organization),
        origin=candidate.origin,
        layout=candidate.source.layout,
        root=candidate.source.root,
        hashes=tuple(claimed_hashes(candidate)),
    )


def claimed_hashes(candidate: Candidate) -> Iterator[FileHash]:
    """Read checksums off the names of content-addressed files, or off the names of what links lead to."""
    if candidate.source.layout not in {"hf_cache", "ollama"}:
        return
    for file in candidate.files:
        try:
            blob = Path(os.path.realpath(file))
            sha256 = sha256_of_blob_name(blob.name) if blob.parent.name == "blobs" else None
            info = blob.stat()
        except OSError:
            continue
        if sha256 is not None:
            yield FileHash.of(file, info, sha256, is_computed=False)


def _read_facts(candidate: Candidate, vocabularies: KnownVocabularies | None) -> ModelFacts:
    try:
        str(candidate.path).encode("utf-8")
    except UnicodeEncodeError as exc:
        raise ArtifactError("bad_path", "its path is not UTF-8 text; rename it") from exc
    if candidate.problem is not None:
        raise candidate.problem
    if candidate.format is ArtifactFormat.MLX:
        return read_mlx_dir(candidate.path)
    return facts_from_headers([read_header(file, vocabularies=vocabularies) for file in candidate.files])


def _reason(exc: ArtifactError, candidate: Candidate) -> str:
    """Leave out the path when it is the candidate's own, which is shown beside the reason."""
    inner = "" if exc.path in {None, candidate.path} else f"{exc.path.name}: " if exc.path is not None else ""
    where = f" (at byte {exc.offset})" if isinstance(exc, GGUFError) else ""
    file = getattr(exc, "file", None)
    return f"{inner}{exc.reason}{where}{f' (in {file})' if file else ''}"
