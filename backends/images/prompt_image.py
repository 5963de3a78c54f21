"""A picture as a prompt shows it, and what a family's templates and users write of pictures.

Light, for those who put prompts together: no pixel is decoded here, so that workers of text models need no Pillow.
"""

from typing import Any, NamedTuple

import numpy as np


class TileImage(NamedTuple):
    """What a tower sees at once: a picture, or a part of one.

    Attributes:
        digest: SHA-256 of all that its rows depend on.
        pixels: uint8, shape (height, width, 3), RGB.
        grid: Lines and columns in which its rows lie.
    """

    digest: bytes
    pixels: np.ndarray[Any, np.dtype[np.uint8]]
    grid: tuple[int, int]

    @property
    def num_rows(self) -> int:
        """Embeddings that stand for it, thus places in a prompt."""
        return self.grid[0] * self.grid[1]


class PromptImage(NamedTuple):
    """A picture as it stands in a prompt.

    Attributes:
        pieces: Texts with special tokens, and tiles whose rows stand between them.
        original: Width and height of the file's picture, upright, pixels.
        seen: The same of what the tower sees.
    """

    pieces: tuple[str | TileImage, ...]
    original: tuple[int, int]
    seen: tuple[int, int]

    @property
    def num_rows(self) -> int:
        """Embeddings of all its tiles."""
        return sum(piece.num_rows for piece in self.pieces if isinstance(piece, TileImage))


class ImageWords(NamedTuple):
    """How a family's pictures are written in text.

    Attributes:
        written: What the model's chat template writes for a picture.
        reserved: Texts of the tokens that stand for pictures or around them, which users' words never become.
    """

    written: str
    reserved: frozenset[str]
