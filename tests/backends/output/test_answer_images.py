"""What an answer tells of the pictures in its prompt."""

import numpy as np

from backends.fake.tokenizer import FakeTokenizer
from backends.output.answer import RunningAnswer
from backends.row_ids import row_ids, tile_digest
from backends.sequence import EmbeddingSpan, Grid, PlacedImage, Sequence, Tile
from backends.wire.messages import Finished, Generate, SeenImage, SequenceEnd, Usage
from backends.wire.prompts import TextPrompt
from backends.wire.request import SamplingParams, SequenceSpec

END = 257
GRID = Grid(2, 3)


def tile_of(colour: int) -> Tile:
    pixels = np.full((4, 6, 3), colour, np.uint8)
    return Tile(tile_digest(pixels, GRID, family="llava", fingerprint="f"), pixels, GRID)


def end_of(images: tuple[PlacedImage, ...], encode_ms: dict[bytes, float]) -> SequenceEnd:
    """Finish a sequence whose prompt is an `a`, the pictures, and an `a`."""
    token_ids, spans = [97], []
    for tile in (tile for image in images for tile in image.tiles):
        spans.append(EmbeddingSpan(len(token_ids), tile))
        token_ids += row_ids(tile.digest, tile.grid)
    token_ids.append(97)
    sequence = Sequence(1, token_ids, len(token_ids), 5, SamplingParams(), spans=tuple(spans), images=images)
    answer = RunningAnswer(
        Generate(1, TextPrompt("aa"), SequenceSpec(SamplingParams())), sequence, FakeTokenizer(), None, 0.0
    )
    sequence.encode_ms.update(encode_ms)
    sequence.token_ids.append(END)
    (finished,) = (event for event in answer.on_token(END, None, 1.0) if isinstance(event, Finished))
    return finished.end


def test_a_picture_is_cached_when_none_of_its_tiles_was_waited_for() -> None:
    tiles = (tile_of(1), tile_of(2), tile_of(3))
    images = (PlacedImage((40, 60), (8, 6), tiles[:2]), PlacedImage((4, 6), (4, 6), tiles[2:]))
    end = end_of(images, {tiles[1].digest: 70.0})
    assert end.images == (SeenImage((40, 60), (8, 6), 12, False, 70.0), SeenImage((4, 6), (4, 6), 6, True, 0))
    assert end.usage == Usage(20, 0, 1, num_image_tokens=18)


def test_the_second_of_two_equal_pictures_cost_nothing() -> None:
    tile = tile_of(1)
    image = PlacedImage((4, 6), (4, 6), (tile,))
    end = end_of((image, image), {tile.digest: 70.0})
    assert [(seen.is_cached, seen.encode_ms) for seen in end.images] == [(False, 70.0), (True, 0)]


def test_rows_are_no_text() -> None:
    tokenizer = FakeTokenizer()
    rows = row_ids(b"p" * 32, (2, 3))
    assert [tokenizer.token_bytes(row) + tokenizer.shown_bytes(row) for row in rows] == [b""] * 6
