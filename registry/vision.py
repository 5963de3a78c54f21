"""What models see with: the one table of families by their types, and which engine can use which tower.

Not here: reading files (`gguf/projector.py`, `mlx/tower.py`), and how a family's pictures are prepared
(`backends.images.families`, whose rows have the same names).
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from registry.engines import EngineKind

MetadataValue = bool | int | float | str | tuple[bool | int | float, ...]


class VisionFamily(NamedTuple):
    """How models of a family are known by their files.

    Attributes:
        model_types: `model_type` of an MLX folder's config.json.
        projector_types: `clip.projector_type` of a GGUF projector. Source: llama.cpp, tools/mtmd/clip-impl.h.
        output: The projector's tensor that says how wide its rows are, and which of its dimensions does (the contiguous
            one is 0). Source: llama.cpp, tools/mtmd/clip.cpp, clip_n_mmproj_embd.
        most_patches: Of one picture, for towers that see pictures of any size; None = they see squares of their own.
            Source: the published preprocessor_config.json.
    """

    model_types: frozenset[str]
    projector_types: frozenset[str]
    output: tuple[str, int]
    most_patches: int | None = None


VISION_FAMILIES: Final[dict[str, VisionFamily]] = {
    "idefics3": VisionFamily(
        frozenset({"idefics3", "smolvlm"}), frozenset({"idefics3"}), output=("mm.model.fc.weight", 1)
    ),
    "qwen2_vl": VisionFamily(
        frozenset({"qwen2_vl"}), frozenset({"qwen2vl_merger"}), output=("mm.2.bias", 0), most_patches=65_536
    ),
    "qwen2_5_vl": VisionFamily(
        frozenset({"qwen2_5_vl"}), frozenset({"qwen2.5vl_merger"}), output=("mm.2.bias", 0), most_patches=65_536
    ),
    "qwen3_vl": VisionFamily(
        frozenset({"qwen3_vl", "qwen3_vl_moe"}),
        frozenset({"qwen3vl_merger"}),
        output=("mm.2.bias", 0),
        most_patches=65_536,
    ),
    "gemma3": VisionFamily(frozenset({"gemma3"}), frozenset({"gemma3"}), output=("mm.input_projection.weight", 0)),
    "gemma4": VisionFamily(
        frozenset({"gemma4"}), frozenset({"gemma4v"}), output=("mm.input_projection.weight", 1), most_patches=280 * 9
    ),
    "llava": VisionFamily(frozenset({"llava"}), frozenset({"mlp"}), output=("mm.2.weight", 1)),
}
"""By the names that `VisionSpec.family` has; all others are text models."""


class VisionFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What files say of a vision tower: a GGUF projector's header, or an MLX folder that has one.

    Attributes:
        kind: `clip.projector_type`, or `model_type` of config.json; None where they do not say.
        has_vision: It makes rows of pictures.
        has_audio: It makes rows of sounds.
        width: Of its rows; the language model's hidden states must be as wide. None = they do not say.
        has_class_token: It puts a row of its own before those of the patches, as CLIP's towers do.
        cuts_by_pinpoints: It chooses among fixed grids of tiles, as LLaVA 1.6 does.
        tower_type: `vision_config.model_type` of a folder; None in a projector.
        image_size: Pixels of the square that it sees; towers that take any size say what they were trained with.
        patch_size: Pixels along a side of a patch.
        num_heads: Of its attention.
        tower_width: Of its hidden states.
        size_bytes: Of the projector's file; of the tower's tensors in a folder.
        version: Another one when the projector's file is another; empty for a folder, whose artifact has one.
        missing: Files that a folder lacks although no picture can be prepared without them.
        metadata: A projector's `clip.*` values.
    """

    kind: str | None
    has_vision: bool
    has_audio: bool = False
    width: int | None = None
    has_class_token: bool = False
    cuts_by_pinpoints: bool = False
    tower_type: str | None = None
    image_size: int | None = None
    patch_size: int | None = None
    num_heads: int | None = None
    tower_width: int | None = None
    size_bytes: int = 0
    version: str = ""
    missing: tuple[str, ...] = ()
    metadata: tuple[tuple[str, MetadataValue], ...] = ()

    def family_on(self, engine: EngineKind) -> str | None:
        """Give the row of `VISION_FAMILIES`; None = it is of none of them."""
        kinds = {name: _kinds(row, engine) for name, row in VISION_FAMILIES.items()}
        return next((name for name, known in kinds.items() if self.kind in known), None)


def _kinds(row: VisionFamily, engine: EngineKind) -> frozenset[str]:
    return row.projector_types if engine is EngineKind.LLAMACPP else row.model_types


def why_text_only(vision: VisionFacts | None, engine: EngineKind) -> str | None:
    """Say why an engine cannot show pictures to a model; None = it can.

    Args:
        vision: Of what it has to see with; None = it has nothing.
    """
    if vision is None:
        return "it has no vision projector (mmproj)" if engine is EngineKind.LLAMACPP else "it has no vision tower"
    return next(_objections(vision, engine), None)


def _objections(vision: VisionFacts, engine: EngineKind) -> Iterator[str]:
    if not vision.has_vision:
        yield "what it has beside the language model is for sounds only" if vision.has_audio else "it has no tower"
    if vision.family_on(engine) is None:
        what = "projectors" if engine is EngineKind.LLAMACPP else "models"
        yield f"{what} of type {vision.kind!r} are not used for pictures here"
    if engine is EngineKind.MLX:
        yield from _objections_to_folder(vision)
    elif vision.has_class_token or vision.cuts_by_pinpoints:
        yield "LLaVA with a CLIP tower is computed wrongly by llama.cpp (#25814)"


def _objections_to_folder(vision: VisionFacts) -> Iterator[str]:
    if vision.kind == "llava" and vision.tower_type != "siglip_vision_model":
        yield f"of LLaVA only models with a SigLIP tower see, not with {vision.tower_type!r}"
    if vision.size_bytes == 0:
        yield "its folder has no weights of a tower: it was converted for text only"
    if vision.missing:
        yield f"its folder has no {' and no '.join(vision.missing)}; pull it anew"
