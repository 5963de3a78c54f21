"""A step's tokens as the library takes them: rows of one batch, with their positions and slots."""

from collections.abc import Callable

import llama_cpp

from backends.llamacpp.positions import Positions
from backends.step import Chunk


class TokenBatch:
    """Owns one `llama_batch`.

    Args:
        max_rows: Of one step.
        positions: Where the memory has the places of sequences.
        slot_of: Returns the slot of a sequence by its id.
    """

    def __init__(self, max_rows: int, positions: Positions, slot_of: Callable[[int], int]) -> None:
        self._batch = llama_cpp.llama_batch_init(max_rows, 0, 1)
        self._positions = positions
        self._slot_of = slot_of

    @property
    def num_rows(self) -> int:
        """Those that were filled in last."""
        return int(self._batch.n_tokens)

    def fill(self, chunks: tuple[Chunk, ...]) -> list[int]:
        """Write chunks of tokens, each with its draft behind it; return the index of each one's first row.

        There are logits after a chunk's last token and after all tokens of its draft, and after those that are scored.
        """
        batch = self._batch
        tokens, positions, slots, num_slots, logits = batch.token, batch.pos, batch.seq_id, batch.n_seq_id, batch.logits
        firsts: list[int] = []
        index = 0
        for chunk in chunks:
            firsts.append(index)
            slot = self._slot_of(chunk.sequence.sequence_id)
            num_scored = len(chunk.scored)
            shift = self._positions.before(chunk.sequence.spans, chunk.start) - chunk.start
            for position in range(chunk.start, chunk.end):
                tokens[index] = chunk.sequence.token_ids[position]
                positions[index] = position + shift
                slots[index][0] = slot
                num_slots[index] = 1
                logits[index] = position - chunk.start < num_scored
                index += 1
            if chunk.samples:
                logits[index - 1] = 1
            for position, token_id in enumerate(chunk.draft, chunk.end):
                tokens[index], positions[index] = token_id, position + shift
                slots[index][0] = slot
                num_slots[index] = logits[index] = 1
                index += 1
        batch.n_tokens = index
        return firsts

    def decode(self, context: object) -> int:
        """Evaluate the rows in a `llama_context_p`; return the library's status."""
        return int(llama_cpp.llama_decode(context, self._batch))

    def close(self) -> None:
        """Free the batch."""
        llama_cpp.llama_batch_free(self._batch)
