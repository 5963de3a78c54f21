"""Which projector belongs to a GGUF model: by their names, and by whether its rows fit the model."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from registry.catalogue import ArtifactDraft
from registry.errors import ArtifactError
from registry.facts import ModelFacts
from registry.gguf.projector import read_projector
from registry.names import strip_suffixes
from registry.vision import VisionFacts

_MMPROJ_PATTERN: Final = re.compile(r"(?:\A|[-._])mmproj(?:[-._]|\Z)", re.IGNORECASE)


def projector_stem(file_name: str) -> str:
    """Give the model name that a projector's file name speaks of; empty for a bare `mmproj-f16.gguf`.

    `mmproj-gemma-3-4b-it-f16.gguf` speaks of `gemma-3-4b-it`.
    """
    stem = re.sub(r"\.gguf\Z", "", file_name, flags=re.IGNORECASE)
    return strip_suffixes(_MMPROJ_PATTERN.sub("-", stem))


def projectors_for(model_file: str, neighbours: Sequence[str], projectors: Sequence[str]) -> list[str]:
    """List the projectors of a folder that may belong to a model in it, all by their file names, the best first.

    One names this model, or can only mean this one because every model of the folder is a form of the same; float16
    goes before others.

    Args:
        neighbours: All models in the folder, this one included.
    """
    if not projectors:
        return []
    name = strip_suffixes(model_file)
    fitting = [projector for projector in projectors if projector_stem(projector) == name]
    if not fitting and len({strip_suffixes(neighbour) for neighbour in neighbours}) == 1:
        fitting = list(projectors)
    return sorted(fitting, key=lambda projector: ("f16" not in projector.lower(), projector))


def with_projector(draft: ArtifactDraft, projectors: Iterable[str]) -> ArtifactDraft:
    """Give a model the first projector that fits it; why others do not is among its warnings.

    Args:
        projectors: Paths, the best first.
    """
    warnings: list[str] = []
    for path in projectors:
        try:
            vision = read_projector(path)
        except ArtifactError as exc:
            misfit: str | None = exc.reason
        else:
            misfit = why_misfit(vision, draft.facts)
            if misfit is None:
                facts = replace(draft.facts, vision=vision, warnings=(*draft.facts.warnings, *warnings))
                return replace(draft, mmproj_path=path, facts=facts)
        warnings.append(f"the projector {Path(path).name} is not used: {misfit}")
    facts = replace(draft.facts, vision=None, warnings=(*draft.facts.warnings, *warnings))
    return replace(draft, mmproj_path=None, facts=facts)


def why_misfit(vision: VisionFacts, facts: ModelFacts) -> str | None:
    """Say why a projector cannot be this model's; None = nothing speaks against it.

    Source: llama.cpp, tools/mtmd/mtmd.cpp: "mismatch between text model … and mmproj …".
    """
    if vision.width is None or facts.embedding_length in {None, vision.width}:
        return None
    return (
        f"its rows are {vision.width} wide, and the model's hidden states {facts.embedding_length}; "
        "it belongs to another model"
    )
