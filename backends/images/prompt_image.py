"""A picture as a prompt shows it, and what a model's pictures have in common there.

Light, for those who put prompts together: no pixel is decoded here, so that workers of text models need no Pillow.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from backends.sequence import Tile


class PromptImage(NamedTuple):
    """A picture as it stands in a prompt.

    Attributes:
        pieces: Texts with special tokens, and tiles whose rows stand between them.
        original: Width and height of the file's picture, upright, pixels.
        seen: The same of what the tower sees.
    """

    pieces: tuple[str | Tile, ...]
    original: tuple[int, int]
    seen: tuple[int, int]

    @property
    def tiles(self) -> tuple[Tile, ...]:
        """In order."""
        return tuple(piece for piece in self.pieces if isinstance(piece, Tile))

    @property
    def num_rows(self) -> int:
        """Embeddings of all its tiles, thus places in a prompt."""
        return sum(tile.size for tile in self.tiles)

    @property
    def num_pixel_bytes(self) -> int:
        """What its pixels take in memory."""
        return sum(tile.pixels.nbytes for tile in self.tiles)

    def with_tiles(self, kept: Callable[[Tile], Tile]) -> "PromptImage":
        """Return the same picture with other tiles.

        Args:
            kept: Returns the tile to use for an equal one, which is a new object.
        """
        pieces = (kept(dataclasses.replace(piece)) if isinstance(piece, Tile) else piece for piece in self.pieces)
        return self._replace(pieces=tuple(pieces))


class ImageFacts(NamedTuple):
    """What all pictures of a model have in common, in prompts.

    Attributes:
        written: What the model's chat template writes for one.
        reserved: Texts of the tokens that stand for pictures or around them, which users' words never become.
        is_whole: Whether one step has to evaluate all rows of a tile, because they see each other.
    """

    written: str
    reserved: frozenset[str]
    is_whole: bool
