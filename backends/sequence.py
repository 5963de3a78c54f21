"""One generation inside a worker: its tokens, how far they are computed, how the next one is drawn."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from backends.wire.request import Priority, SamplingParams, SpeculationMode


class Grid(NamedTuple):
    """Rows and columns, of tiles or of what a tower makes of one."""

    rows: int
    columns: int

    @property
    def num_cells(self) -> int:
        """Rows times columns."""
        return self.rows * self.columns

    @property
    def mrope_extent(self) -> int:
        """How far it moves what comes after it, where a cell's position is one in time, height and width.

        Source: transformers 5.23, modeling_qwen2_vl.py, get_rope_index: `max(grid_thw[1], grid_thw[2])`.
        """
        return max(self)


@dataclasses.dataclass(slots=True, eq=False, weakref_slot=True)
class Tile:
    """A picture, or a part of one, that the model's tower makes rows of hidden states of; equal ones are one object.

    Attributes:
        digest: SHA-256 of all that the rows depend on.
        pixels: As the tower sees them, uint8, shape (height, width, 3), RGB; without a pixel once there are rows.
        grid: In which the rows of hidden states lie, line by line.
        rows: float32, shape (size, model width), on the host; None until the tower has made them.
    """

    digest: bytes
    pixels: np.ndarray[Any, np.dtype[np.uint8]]
    grid: Grid
    rows: np.ndarray[Any, np.dtype[np.float32]] | None = None

    @property
    def size(self) -> int:
        """Rows of hidden states, thus places in a prompt."""
        return self.grid.num_cells


class EmbeddingSpan(NamedTuple):
    """Consecutive places of a prompt that are no tokens but a tile's rows.

    In `Sequence.token_ids` these places have ids from the vocabulary's size up, made of the tile's digest: sequences
    that begin alike are found by them, as by tokens. No cache is cut inside a span.

    Attributes:
        start: Index of the first place.
        is_whole: Whether one step has to evaluate all of it, because its rows see each other.
    """

    start: int
    tile: Tile
    is_whole: bool = False

    @property
    def end(self) -> int:
        """Index after the last place."""
        return self.start + self.tile.size


class PlacedImage(NamedTuple):
    """A picture in a prompt.

    Attributes:
        original: Width and height of the file's picture, upright, pixels.
        seen: The same of what the tower sees.
        tiles: In order; each has a span of its own.
    """

    original: tuple[int, int]
    seen: tuple[int, int]
    tiles: tuple[Tile, ...]

    @property
    def num_rows(self) -> int:
        """Places of the prompt that are its rows."""
        return sum(tile.size for tile in self.tiles)


@dataclasses.dataclass(slots=True)
class Sequence:
    """A growing list of tokens; owned and mutated by the batcher only.

    Attributes:
        spans: Places of the prompt that are no tokens, in order, each with a token somewhere behind it.
        images: The pictures that the request sent, in the prompt's order; spans of earlier exchanges belong to none.
        encode_ms: How long the tower took for each tile that this sequence waited for, by the tile's digest.
        cache_growth_ms: How long the cache grew in steps that it was in.
        num_prompt_tokens: How many of `token_ids` are the prompt.
        num_computed: How many of `token_ids` the engine's cache holds; the rest is pending.
        max_output_tokens: Upper bound of the answer, >= 1.
        sampling: How tokens are drawn.
        priority: Background sequences hold still while interactive ones compute.
        session_id: Conversation whose cache is kept for its next turn, or None.
        owner: Whose it is: an API key's id; None = nobody's key. Only sequences of one owner share caches.
        num_cached_tokens: Tokens of the prompt that were not computed for it, but taken from another one's cache.
        speculation: Whether tokens are drafted for it; None = as for all of its model.
        num_drafted: Tokens that were, by whomever.
        num_accepted: Those of them that were drawn.
        num_drafted_by_model: Those that a second model drafted; `num_accepted_by_model` likewise.
        checkpoint_places: Numbers of first tokens after which its state is to be kept, ascending; no chunk of its
            prompt goes over one.
    """

    sequence_id: int
    token_ids: list[int]
    num_prompt_tokens: int
    max_output_tokens: int
    sampling: SamplingParams
    priority: Priority = Priority.INTERACTIVE
    session_id: str | None = None
    owner: str | None = None
    num_computed: int = 0
    num_cached_tokens: int = 0
    spans: tuple[EmbeddingSpan, ...] = ()
    images: tuple[PlacedImage, ...] = ()
    encode_ms: dict[bytes, float] = dataclasses.field(default_factory=dict)
    cache_growth_ms: float = 0.0
    speculation: SpeculationMode | None = None
    num_drafted: int = 0
    num_accepted: int = 0
    num_drafted_by_model: int = 0
    num_accepted_by_model: int = 0
    checkpoint_places: tuple[int, ...] = ()

    @property
    def is_scored(self) -> bool:
        """Whether the likelihoods of its prompt's tokens are wanted, so that it begins with no cache."""
        return self.sampling.num_prompt_logprobs is not None

    @property
    def num_output_tokens(self) -> int:
        """Tokens of the answer so far."""
        return len(self.token_ids) - self.num_prompt_tokens

    @property
    def num_pending(self) -> int:
        """Tokens that the engine's cache does not hold yet; 1 in plain decode."""
        return len(self.token_ids) - self.num_computed

    def span_at(self, place: int) -> EmbeddingSpan | None:
        """Return the span that a place belongs to; None where there is a token."""
        if not self.spans:
            return None
        return next((span for span in self.spans if span.start <= place < span.end), None)

    @property
    def awaits_rows(self) -> bool:
        """Whether what comes next is to be rows that the tower has not made yet."""
        span = self.span_at(self.num_computed)
        return span is not None and span.tile.rows is None

    @property
    def is_torn(self) -> bool:
        """Whether the cache holds a part of a span that has to be whole, so that nothing can go on from there."""
        span = self.span_at(self.num_computed)
        return span is not None and span.is_whole and span.start < self.num_computed

    def num_separable(self, num_tokens: int) -> int:
        """Return how many first places, at most so many, have no span across their end: there a cache may be cut."""
        span = self.span_at(num_tokens)
        return num_tokens if span is None else span.start

    def num_alike(self, start: int) -> int:
        """Return how many places from `start` on may be one chunk: all tokens, or all of one span."""
        borders = [border for span in self.spans for border in (span.start, span.end)]
        borders += self.checkpoint_places
        return min((border for border in borders if border > start), default=len(self.token_ids)) - start

    @property
    def is_decoding(self) -> bool:
        """Whether only its newest token is pending."""
        return self.num_pending == 1 and self.num_output_tokens > 0
