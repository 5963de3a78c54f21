"""Texts and tiles to the ids of a prompt: tokens, and in the places of pictures the ids of their rows."""

import functools
import re
from collections.abc import Iterable

from backends.images.prompt_image import ImageFacts
from backends.prompting.control_text import Piece
from backends.row_ids import row_ids
from backends.sequence import EmbeddingSpan, Tile
from backends.tokenizer import Tokenizer


class PromptEncoder:
    """Encodes for one loaded model.

    Args:
        image_facts: Of the pictures in prompts; None = the model sees none.
    """

    def __init__(self, tokenizer: Tokenizer, image_facts: ImageFacts | None = None) -> None:
        self._tokenizer = tokenizer
        self._image_facts = image_facts

    @property
    def bos(self) -> list[int]:
        """The token before every prompt, where the model wants one."""
        bos_id = self._tokenizer.bos_id
        return [bos_id] if self._tokenizer.adds_bos and bos_id is not None else []

    def adds_bos(self, text: str) -> bool:
        """Tell whether that token comes before a text, which may begin with it already."""
        bos_text = self._tokenizer.bos_text
        return self._tokenizer.adds_bos and not (bool(bos_text) and text.startswith(bos_text))

    def encoded(self, pieces: Iterable[Piece | Tile], *, add_bos: bool) -> tuple[list[int], list[tuple[int, Tile]]]:
        """Return the tokens of a prompt in pieces, and where its tiles begin; behind the last one stands a line end."""
        token_ids, tiles = self.bos if add_bos else [], []
        end = 0
        for piece in pieces:
            if isinstance(piece, Tile):
                tiles.append((len(token_ids), piece))
                token_ids += ids_of(piece)
                end = len(token_ids)
            elif piece.is_literal:
                token_ids += self.literal(piece.text)
            else:
                token_ids += self._tokenizer.encode(piece.text, add_bos=False)
        if tiles and end == len(token_ids):
            token_ids += self._tokenizer.encode("\n", add_bos=False)
        return token_ids, tiles

    def spans(self, tiles: Iterable[tuple[int, Tile]]) -> tuple[EmbeddingSpan, ...]:
        """Return the places of tiles, given where they begin."""
        is_whole = self._image_facts is not None and self._image_facts.is_whole
        return tuple(EmbeddingSpan(start, tile, is_whole) for start, tile in tiles)

    def literal(self, text: str) -> list[int]:
        """Tokenize what users wrote, in which control tokens are text, and those of pictures always."""
        texts = [text] if self._inside_image_tokens is None else self._inside_image_tokens.split(text)
        return [
            token_id
            for each in texts
            if each
            for token_id in self._tokenizer.encode(each, add_bos=False, parse_control=False)
        ]

    @functools.cached_property
    def _inside_image_tokens(self) -> re.Pattern[str] | None:
        """Where texts are cut whose tokens a tokenizer takes for such although none is to count; None = nowhere."""
        reserved = () if self._image_facts is None else self._image_facts.reserved
        taken = [
            text for text in reserved if len(self._tokenizer.encode(text, add_bos=False, parse_control=False)) == 1
        ]
        places = [f"(?<={re.escape(text[0])})(?={re.escape(text[1:])})" for text in taken]
        return re.compile("|".join(places)) if places else None


def ids_of(tile: Tile) -> list[int]:
    """Return the ids of a tile's rows."""
    return row_ids(tile.digest, tile.grid)
