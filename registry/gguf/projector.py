"""From the header of a GGUF projector to VisionFacts. Not here: whether an engine can use it (`registry.vision`).

Source: llama.cpp, tools/mtmd/clip-impl.h (keys and tensor names) and clip.cpp (what is read of them).
"""

import math
from pathlib import Path
from typing import Final

from registry.catalogue import file_version
from registry.files import about, size_and_time
from registry.gguf.header import GGUFHeader, Scalar, read_header
from registry.vision import VISION_FAMILIES, MetadataValue, VisionFacts

_PREFIX: Final = "clip."
_CLASS_ROW: Final = "v.class_embd"
_PINPOINTS: Final = "clip.vision.image_grid_pinpoints"
_MAX_TEXT_CHARS: Final = 256
_MAX_KEYS: Final = 256


def read_projector(path: Path | str) -> VisionFacts:
    """Read what a projector's header says.

    Raises:
        GGUFError: The header breaks a rule of the format or a limit.
        ArtifactError: There is no such file, or it cannot be read.
    """
    header = read_header(path, keeps_shapes=True)
    with about(Path(path)):
        size_bytes, mtime_ns = size_and_time((path,))
    return vision_facts(header, size_bytes=size_bytes, version=file_version(size_bytes, mtime_ns))


def vision_facts(header: GGUFHeader, *, size_bytes: int, version: str) -> VisionFacts:
    """Give the facts of a projector's header, read with the shapes of its tensors.

    Args:
        size_bytes: Of the file.
        version: Another one when the file is another.
    """
    kind = header.text("clip.vision.projector_type") or header.text("clip.projector_type")
    shapes = header.tensor_shapes or {}
    return VisionFacts(
        kind=kind,
        has_vision=header.metadata.get("clip.has_vision_encoder") is True,
        has_audio=header.metadata.get("clip.has_audio_encoder") is True,
        width=_width(kind, header),
        has_class_token=_CLASS_ROW in shapes,
        cuts_by_pinpoints=bool(header.array_length(_PINPOINTS)),
        image_size=header.integer("clip.vision.image_size"),
        patch_size=header.integer("clip.vision.patch_size"),
        num_heads=header.integer("clip.vision.attention.head_count"),
        tower_width=header.integer("clip.vision.embedding_length"),
        size_bytes=size_bytes,
        version=version,
        metadata=tuple(sorted(_metadata(header).items())[:_MAX_KEYS]),
    )


def _width(kind: str | None, header: GGUFHeader) -> int | None:
    """Give how wide the rows are; old files' `projection_dim` is that of something else."""
    family = next((row for row in VISION_FAMILIES.values() if kind in row.projector_types), None)
    if family is None:
        return None
    tensor, axis = family.output
    shape = (header.tensor_shapes or {}).get(tensor, ())
    return shape[axis] if len(shape) > axis else header.integer("clip.vision.projection_dim")


def _metadata(header: GGUFHeader) -> dict[str, MetadataValue]:
    values: dict[str, MetadataValue] = {
        key: value for key, value in header.metadata.items() if key.startswith(_PREFIX) and _is_plain(value)
    }
    for key, array in header.arrays.items():
        if key.startswith(_PREFIX) and array.values is not None and all(map(_is_plain, array.values)):
            values[key] = tuple(value for value in array.values if not isinstance(value, str))
    return values


def _is_plain(value: Scalar) -> bool:
    """Tell whether a value is one that JSON has, and no book."""
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, str) or len(value) <= _MAX_TEXT_CHARS
