"""A second, smaller model beside the main one, which guesses what its sequences draw next: a context of its own.

It has a slot for each sequence. What a sequence has drawn since it was last asked is evaluated with the first token of
the next draft; what was drafted and not drawn is cut. Slots of sequences that have ended stay as they are until another
sequence takes them, that which shares the longest beginning.
"""

import dataclasses
import time
from collections.abc import Callable
from collections.abc import Sequence as Many
from typing import Any, Final

import llama_cpp
import numpy as np

from backends.llamacpp.context import Context
from backends.llamacpp.library import DECODE_OK
from backends.llamacpp.sampler import LogitsReader
from backends.sequence import Sequence
from backends.speculation.drafter import Drafter, Drafts, Wish

_LEAST_SHARE: Final = 0.01
_ROOM: Final = 16
"""Tokens of a context that are left for drafts."""
_MOST_ROWS: Final = 128
"""Of one evaluation: what is missing of a long text comes in pieces, between which answers go on and end."""


@dataclasses.dataclass(slots=True, eq=False)
class _Slot:
    """Where one sequence's tokens are.

    Attributes:
        number: Of the library's sequence.
        token_ids: Those that are evaluated.
        start: Place of the first of them in the sequence.
        num_confirmed: Of them, those that are known to be the sequence's.
        sequence_id: None = it has ended.
        used_at: Counts the calls.
    """

    number: int
    token_ids: list[int] = dataclasses.field(default_factory=list)
    start: int = 0
    num_confirmed: int = 0
    sequence_id: int | None = None
    used_at: int = 0


@dataclasses.dataclass(slots=True, eq=False)
class _Draft:
    """A draft as it grows.

    Attributes:
        pending: What is evaluated next.
        is_behind: More is missing than one call evaluates, so that there will be no draft in this one.
    """

    slot: _Slot
    pending: list[int]
    num_wanted: int
    is_behind: bool
    chance: float = 1.0
    token_ids: list[int] = dataclasses.field(default_factory=list)


class DraftModel(Drafter):
    """Owns a `llama_model_p` and a batch.

    Args:
        context: Owned likewise; its sequences share its cells.
        params: The `llama_context_params` that it was made with.
        max_tokens: That one sequence may have in it.
        main: The `llama_model_p` that it drafts for.

    Attributes:
        num_threads: Tells how many compute now.
        context_length: As `max_tokens`.
        pointer: Its `llama_model_p`.
    """

    def __init__(self, model: object, context: Context, params: Any, max_tokens: int, main: object) -> None:
        self.pointer = model
        self._context = context
        self._max_rows: int = min(params.n_batch, _MOST_ROWS)
        self.num_threads: Callable[[], int] = lambda: int(params.n_threads)
        self._batch = llama_cpp.llama_batch_init(self._max_rows, 0, 1)
        vocab = llama_cpp.llama_model_get_vocab(model)
        main_vocab = llama_cpp.llama_model_get_vocab(main)
        self._main_vocab = main_vocab
        self._reader = LogitsReader(llama_cpp.llama_vocab_n_tokens(vocab))
        self._num_known = min(self._reader.vocab_size, llama_cpp.llama_vocab_n_tokens(main_vocab))
        self._free = [_Slot(number) for number in range(params.n_seq_max)]
        self._slots: dict[int, _Slot] = {}
        self._num_calls = 0
        self.context_length = max_tokens
        num_bytes, main_bytes = llama_cpp.llama_model_size(model), llama_cpp.llama_model_size(main)
        self.share = min(1.0, max(_LEAST_SHARE, num_bytes / max(1, main_bytes)))

    def num_missing(self, sequence: Sequence) -> int | None:
        """Return how many tokens are to be evaluated before the first of a draft; half a context where it is full."""
        slot = self._slots.get(sequence.sequence_id) or self._take(sequence)
        if slot is None:
            return None
        num_missing = len(sequence.token_ids) - self._confirm(slot, sequence)
        return max(num_missing, self.context_length // 2) if self._is_full(slot, num_missing) else num_missing

    def draft(self, wishes: Many[Wish], least_chance: float) -> Drafts:
        """Return the likeliest tokens, of all sequences in common evaluations."""
        cpu_at = time.process_time()
        self._num_calls += 1
        num_threads = self.num_threads()
        llama_cpp.llama_set_n_threads(self._context.pointer, num_threads, num_threads)
        drafts = [self._begin(wish, self._max_rows // len(wishes)) for wish in wishes]
        growing = [draft for draft in drafts if draft is not None]
        if not self._make_room(sum(len(draft.pending) + draft.num_wanted for draft in growing)):
            growing = []
        num_rounds = num_rows = 0
        while growing:
            num_rows += sum(len(draft.pending) for draft in growing)
            num_rounds += 1
            growing = self._evaluate(growing, least_chance)
        tokens = [() if draft is None else tuple(draft.token_ids) for draft in drafts]
        return Drafts(tokens, num_rounds, num_rows, time.process_time() - cpu_at)

    def forget(self, sequence_id: int) -> None:
        """Leave the sequence's tokens in its slot for others."""
        slot = self._slots.pop(sequence_id, None)
        if slot is not None:
            slot.sequence_id = None
            self._free.append(slot)

    def close(self) -> None:
        """Free batch, context and model."""
        llama_cpp.llama_batch_free(self._batch)
        self._context.close()
        llama_cpp.llama_model_free(self.pointer)

    # ---- slots -------------------------------------------------------------------------------------------------------

    def _take(self, sequence: Sequence) -> _Slot | None:
        """Give a sequence the free slot that begins like it, of equal ones that which was used first."""
        if not self._free:
            return None
        first = self._first_known(sequence)
        shared = {
            slot.number: _num_shared(slot.token_ids, sequence.token_ids) if slot.start == 0 == first else 0
            for slot in self._free
        }
        slot = max(self._free, key=lambda each: (shared[each.number], -each.used_at))
        self._free.remove(slot)
        self._slots[sequence.sequence_id] = slot
        slot.sequence_id = sequence.sequence_id
        if shared[slot.number]:
            slot.num_confirmed = shared[slot.number]
            self._cut(slot, min(slot.num_confirmed, len(sequence.token_ids) - 1))
        else:
            self._restart(slot, first)
        return slot

    def _is_full(self, slot: _Slot, num_missing: int) -> bool:
        """Tell whether a slot has no room for what is missing and a draft behind it."""
        return len(slot.token_ids) + num_missing > self.context_length - min(_ROOM, self.context_length // 4)

    def _first_known(self, sequence: Sequence) -> int:
        """Return the place behind the last token that this model does not have: it has no pictures."""
        token_ids = sequence.token_ids
        if max(token_ids) < self._num_known and min(token_ids) >= 0:
            return 0
        known = range(self._num_known)
        return max(place + 1 for place, token_id in enumerate(token_ids) if token_id not in known)

    def _restart(self, slot: _Slot, start: int) -> None:
        self._cut(slot, 0)
        slot.start = start

    def _cut(self, slot: _Slot, num_tokens: int) -> None:
        if num_tokens < len(slot.token_ids) or not num_tokens:
            llama_cpp.llama_memory_seq_rm(self._context.memory, slot.number, num_tokens, -1)
            del slot.token_ids[num_tokens:]
        slot.num_confirmed = min(slot.num_confirmed, num_tokens)

    def _confirm(self, slot: _Slot, sequence: Sequence) -> int:
        """Cut what is not the sequence's, and its last token, after which a draft begins; return the place behind."""
        token_ids, held, num = sequence.token_ids, slot.token_ids, slot.num_confirmed
        most = min(len(held), len(token_ids) - slot.start - 1)
        while num < most and held[num] == token_ids[slot.start + num]:
            num += 1
        self._cut(slot, min(num, most))
        slot.num_confirmed = len(held)
        return slot.start + len(held)

    def _make_room(self, num_cells: int) -> bool:
        """Have so many cells be free, if need be by having more or by emptying slots; tell whether they are."""
        num_used = sum(len(slot.token_ids) for slot in (*self._slots.values(), *self._free))
        if num_used + num_cells > self._context.num_cells:
            self._context.grow(num_needed=num_used + num_cells)
        for slot in sorted(self._free, key=lambda each: each.used_at):
            if num_used + num_cells <= self._context.num_cells:
                break
            num_used -= len(slot.token_ids)
            self._restart(slot, 0)
        return num_used + num_cells <= self._context.num_cells

    # ---- a draft -----------------------------------------------------------------------------------------------------

    def _begin(self, wish: Wish, max_rows: int) -> _Draft | None:
        """Return a draft with what is missing before it; None = it has no place."""
        sequence = wish.sequence
        num_missing = self.num_missing(sequence)
        if num_missing is None:
            return None
        slot, token_ids = self._slots[sequence.sequence_id], sequence.token_ids
        slot.used_at = self._num_calls
        if num_missing > wish.max_missing or self._is_full(slot, len(token_ids) - slot.start - len(slot.token_ids)):
            most = max(1, min(self.context_length // 2, wish.max_missing))
            self._restart(slot, max(self._first_known(sequence), len(token_ids) - most))
        pending = token_ids[slot.start + len(slot.token_ids) :]
        if not pending or max(pending) >= self._num_known:
            return None
        is_behind = len(pending) > max_rows
        return _Draft(slot, pending[:max_rows], wish.num_tokens, is_behind)

    def _evaluate(self, drafts: list[_Draft], least_chance: float) -> list[_Draft]:
        """Evaluate what is pending, and let the drafts grow by a token each; return those that go on."""
        rows = self._fill(drafts)
        if llama_cpp.llama_decode(self._context.pointer, self._batch) != DECODE_OK:
            for draft in drafts:
                self._restart(draft.slot, draft.slot.start)
                draft.token_ids.clear()
            return []
        for draft in drafts:
            draft.slot.token_ids += draft.pending
        return [
            draft
            for draft, row in zip(drafts, rows, strict=True)
            if not draft.is_behind and self._grow(draft, row, least_chance)
        ]

    def _fill(self, drafts: list[_Draft]) -> list[int]:
        """Write what is pending into the batch; return the row of the last token of each."""
        batch, index, rows = self._batch, 0, []
        for draft in drafts:
            for position, token_id in enumerate(draft.pending, len(draft.slot.token_ids)):
                batch.token[index], batch.pos[index] = token_id, position
                batch.seq_id[index][0], batch.n_seq_id[index] = draft.slot.number, 1
                batch.logits[index] = 0
                index += 1
            batch.logits[index - 1] = 1
            rows.append(index - 1)
        batch.n_tokens = index
        return rows

    def _grow(self, draft: _Draft, row: int, least_chance: float) -> bool:
        """Add the likeliest token, if it is likely enough; return whether the draft goes on."""
        logits = self._reader.row(self._context.pointer, row)
        token_id = int(logits.argmax())
        draft.chance /= float(np.exp(logits - logits[token_id]).sum())
        if draft.chance < least_chance or token_id >= self._num_known:
            return False
        draft.token_ids.append(token_id)
        draft.pending = [token_id]
        is_end = bool(llama_cpp.llama_vocab_is_eog(self._main_vocab, token_id))
        return len(draft.token_ids) < draft.num_wanted and not is_end


def _num_shared(one: list[int], other: list[int]) -> int:
    """Return how many tokens two lists begin with alike."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
