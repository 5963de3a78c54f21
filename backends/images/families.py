"""The families of models whose pictures are prepared here, in one table; all others are text models.

Whatever differs between them is a column. "Around" is what a picture's rows stand between, in the words of the model's
own processor, whose special tokens these are.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from PIL import Image

from backends.images.decoding import Size
from backends.images.geometry import Layout, aligned, budgeted, fixed, tiled
from backends.images.tower import Tower, unsupported
from backends.sequence import Grid

Piece = str | int
"""A text with special tokens, or the number of a tile, whose rows stand there."""


class Family(NamedTuple):
    """What all models of a family have in common.

    Attributes:
        layout: How a picture of a size is laid out, within a longest side if one is given.
        around: The texts and tiles that stand for a picture.
        written: What the model's chat template writes for a picture, in whose place those stand.
        reserved: Texts of the tokens that stand for pictures or around them, which users' words never become.
        takes_patches: Whether the tower takes a list of flat patches; else it takes square or rectangular tiles.
        uses_mrope: Whether a row's position is one in time, height and width.
        token_limits: What libmtmd must be told as (least, most) rows, so that it leaves a prepared tile as it is;
            None = nothing. Source: llama.cpp, tools/mtmd/mtmd-image.cpp.
        merge: Patches along a side that become one row, where a model's files do not say.
        pixels: Least and most pixels of a picture, where a model's files do not say.
        max_rows: Rows of a picture at most, where a model's files do not say.
    """

    layout: Callable[[Size, Tower, int | None], Layout]
    around: Callable[[Layout], tuple[Piece, ...]]
    written: str
    reserved: frozenset[str]
    resampling: Image.Resampling
    takes_patches: bool = False
    uses_mrope: bool = False
    token_limits: Callable[[Grid], tuple[int, int]] | None = None
    merge: int = 1
    pixels: tuple[int, int] | None = None
    max_rows: int | None = None


def _between(before: str, after: str) -> Callable[[Layout], tuple[Piece, ...]]:
    return lambda _: tuple(piece for piece in (before, 0, after) if piece != "")


_FAKE: Final = "<fake_token_around_image>"
_WHOLE: Final = "<global-img>"
_MOST_TILES: Final = 6
"""Along a side; the published vocabularies have tokens for so many."""


def _tile_name(row: int, column: int) -> str:
    return f"<row_{row + 1}_col_{column + 1}>"


_TILE_NAMES: Final = frozenset(_tile_name(row, column) for row in range(_MOST_TILES) for column in range(_MOST_TILES))


def _around_tiles(layout: Layout) -> tuple[Piece, ...]:
    """Source: transformers 5.23, processing_smolvlm.py, get_image_prompt_string."""
    if not layout.has_overview:
        return (_FAKE + _WHOLE, 0, _FAKE)
    pieces: list[Piece] = []
    before = ""
    for row in range(layout.tiles.rows):
        for column in range(layout.tiles.columns):
            pieces += [before + _FAKE + _tile_name(row, column), row * layout.tiles.columns + column]
            before = ""
        before = "\n"
    return (*pieces, f"\n\n{_FAKE}{_WHOLE}", layout.tiles.num_cells, _FAKE)


_ANY_NUMBER: Final = (1, 1 << 15)


def _any_number(_: Grid) -> tuple[int, int]:
    return _ANY_NUMBER


def _one_tile(grid: Grid) -> tuple[int, int]:
    # libmtmd would scale a tile up to the longest edge and cut it; with room for one it makes that, and the same again
    # as an overview.
    return (grid.num_cells, grid.num_cells)


def _qwen(pixels: tuple[int, int]) -> Family:
    """Source: transformers 5.23, models/qwen2_vl and qwen3_vl; pixels: the published preprocessor_config.json."""
    return Family(
        layout=aligned,
        around=_between("<|vision_start|>", "<|vision_end|>"),
        written="<|vision_start|><|image_pad|><|vision_end|>",
        reserved=frozenset({"<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"}),
        resampling=Image.Resampling.BICUBIC,
        takes_patches=True,
        uses_mrope=True,
        token_limits=_any_number,
        merge=2,
        pixels=pixels,
    )


FAMILIES: Final[dict[str, Family]] = {
    # Source: transformers 5.23, models/idefics3 and smolvlm.
    "idefics3": Family(
        layout=tiled,
        around=_around_tiles,
        written="<image>",
        reserved=frozenset({"<image>", _FAKE, _WHOLE}) | _TILE_NAMES,
        resampling=Image.Resampling.LANCZOS,
        token_limits=_one_tile,
    ),
    "qwen2_vl": _qwen(pixels=(3136, 12_845_056)),
    "qwen2_5_vl": _qwen(pixels=(3136, 12_845_056)),
    "qwen3_vl": _qwen(pixels=(65_536, 16_777_216)),
    # Source: transformers 5.23, models/gemma3, processing_gemma3.py, full_image_sequence.
    "gemma3": Family(
        layout=fixed,
        around=_between("\n\n<start_of_image>", "<end_of_image>\n\n"),
        written="<start_of_image>",
        reserved=frozenset({"<start_of_image>", "<end_of_image>", "<image_soft_token>"}),
        resampling=Image.Resampling.BILINEAR,
        merge=4,
    ),
    # Source: transformers 5.23, models/gemma4, processing_gemma4.py.
    "gemma4": Family(
        layout=budgeted,
        around=_between("<|image>", "<image|>"),
        written="<|image|>",
        reserved=frozenset({"<|image>", "<image|>", "<|image|>"}),
        resampling=Image.Resampling.BICUBIC,
        token_limits=_any_number,
        merge=3,
        max_rows=280,
    ),
    # Source: transformers 5.23, models/llava, processing_llava.py; towers of SigLIP only.
    "llava": Family(
        layout=fixed,
        around=_between("", ""),
        written="<image>",
        reserved=frozenset({"<image>"}),
        resampling=Image.Resampling.BICUBIC,
    ),
}


def family_of(name: str) -> Family:
    """Return a row of the table.

    Raises:
        UnsupportedByModelError: There is none of that name.
    """
    family = FAMILIES.get(name)
    if family is None:
        raise unsupported(f"pictures for models of the family {name!r} are not prepared here; use another model")
    return family
