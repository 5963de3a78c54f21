"""Accounting of shared cells against a memory in which every cell knows who holds it."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from backends.batching.capacity import SharedCells


class CellsMachine(RuleBasedStateMachine):
    """The oracle: per sequence the list of its cells, each a number; a fork holds the same numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = SharedCells()
        self.held: dict[int, list[int]] = {}
        self.num_sequences = 0
        self.num_cells = 0

    def _add(self, first: list[int], num_own: int) -> int:
        self.num_sequences += 1
        own = list(range(self.num_cells, self.num_cells + num_own))
        self.num_cells += num_own
        self.held[self.num_sequences] = first + own
        return self.num_sequences

    @rule(num_tokens=st.integers(1, 9))
    def begin(self, num_tokens: int) -> None:
        self._add([], num_tokens)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), num_tokens=st.integers(1, 5))
    def grow(self, data: st.DataObject, num_tokens: int) -> None:
        sequence_id = data.draw(st.sampled_from(sorted(self.held)))
        self.held[sequence_id] += range(self.num_cells, self.num_cells + num_tokens)
        self.num_cells += num_tokens

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data(), num_own=st.integers(0, 5))
    def fork(self, data: st.DataObject, num_own: int) -> None:
        source_id = data.draw(st.sampled_from([i for i, cells in sorted(self.held.items()) if cells]))
        num_tokens = data.draw(st.integers(1, len(self.held[source_id])))
        target_id = self._add(self.held[source_id][:num_tokens], num_own)
        self.shared.share(source_id, target_id, num_tokens)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        sequence_id = data.draw(st.sampled_from(sorted(self.held)))
        del self.held[sequence_id]
        self.shared.release(sequence_id)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        sequence_id = data.draw(st.sampled_from(sorted(self.held)))
        num_tokens = data.draw(st.integers(0, len(self.held[sequence_id])))
        del self.held[sequence_id][num_tokens:]
        self.shared.truncate(sequence_id, num_tokens)

    @rule()
    def unknown_ids(self) -> None:
        self.shared.release(10_000)
        self.shared.truncate(10_000, 3)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def ask_of_some(self, data: st.DataObject) -> None:
        some = data.draw(st.sets(st.sampled_from(sorted(self.held))))
        cells = [cell for sequence_id in some for cell in self.held[sequence_id]]
        assert self.shared.num_saved_among(some) == len(cells) - len(set(cells))
        source_id = data.draw(st.sampled_from(sorted(self.held)))
        num_tokens = data.draw(st.integers(0, len(self.held[source_id])))
        num_held = len(set(cells) & set(self.held[source_id][:num_tokens]))
        assert self.shared.num_held_by(some, source_id, num_tokens) == num_held

    @invariant()
    def what_is_saved_is_what_is_held_twice(self) -> None:
        num_held = sum(map(len, self.held.values()))
        num_distinct = len({cell for cells in self.held.values() for cell in cells})
        assert self.shared.num_saved == num_held - num_distinct


CellsMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
TestCellsMachine = CellsMachine.TestCase
