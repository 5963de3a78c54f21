"""What stands around a picture's rows is what transformers' own processors write."""

import re

import pytest

from backends.images.decoding import Size
from backends.images.families import FAMILIES, Piece
from tests.backends.images.families import folder_tower, sizes


def written(family: str, size: Size) -> tuple[str, tuple[Piece, ...]]:
    """Return what stands for a picture, one letter for the rows of each tile."""
    row, tower = FAMILIES[family], folder_tower(family)
    pieces = row.around(row.layout(size, tower, None))
    return "".join("I" if isinstance(piece, int) else piece for piece in pieces), pieces


@pytest.mark.parametrize("size", sizes(30))
def test_tiles_are_numbered_as_transformers_writes_them(size: Size) -> None:
    from transformers.models.smolvlm.processing_smolvlm import get_image_prompt_string

    row, tower = FAMILIES["idefics3"], folder_tower("idefics3")
    layout = row.layout(size, tower, None)
    tiles = layout.tiles if layout.has_overview else (0, 0)
    wanted = get_image_prompt_string(
        *tiles,
        1,
        image_token="I",
        fake_token_around_image="<fake_token_around_image>",
        global_image_token="<global-img>",
    )
    text, pieces = written("idefics3", size)
    assert text == wanted
    assert [piece for piece in pieces if isinstance(piece, int)] == list(range(layout.num_tiles))


def test_one_tile_has_no_number() -> None:
    row, tower = FAMILIES["idefics3"], folder_tower("idefics3")
    pieces = row.around(row.layout(Size(100, 80), tower, 448))
    assert pieces == ("<fake_token_around_image><global-img>", 0, "<fake_token_around_image>")


@pytest.mark.parametrize(
    ("family", "text"),
    [
        ("qwen2_vl", "<|vision_start|>I<|vision_end|>"),
        ("qwen2_5_vl", "<|vision_start|>I<|vision_end|>"),
        ("qwen3_vl", "<|vision_start|>I<|vision_end|>"),
        ("gemma3", "\n\n<start_of_image>I<end_of_image>\n\n"),
        ("gemma4", "<|image>I<image|>"),
        ("llava", "I"),
    ],
)
def test_others_stand_between_two_tokens(family: str, text: str) -> None:
    assert written(family, Size(640, 480))[0] == text


def test_what_stands_around_and_is_written_is_reserved() -> None:
    for name, row in FAMILIES.items():
        texts = [row.written] + [piece for piece in written(name, Size(900, 700))[1] if isinstance(piece, str)]
        for token in re.findall(r"<[^>]+>", "".join(texts)):
            assert token in row.reserved
