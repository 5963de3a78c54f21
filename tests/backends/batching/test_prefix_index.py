"""The radix tree against the plain comparison of every pair."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from backends.batching.prefix_index import Match, PrefixIndex, _Node

TOKENS = st.lists(st.integers(0, 2), max_size=12)


def num_shared(ours: list[int], theirs: list[int]) -> int:
    num = 0
    while num < min(len(ours), len(theirs)) and ours[num] == theirs[num]:
        num += 1
    return num


def expected(known: dict[int, list[int]], token_ids: list[int]) -> dict[int, int]:
    shared = {sequence_id: num_shared(theirs, token_ids) for sequence_id, theirs in known.items()}
    return {sequence_id: num for sequence_id, num in shared.items() if num}


class PrefixMachine(RuleBasedStateMachine):
    """Inserts, replaces, extends and removes; the model is a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.index = PrefixIndex()
        self.known: dict[int, list[int]] = {}

    @rule(sequence_id=st.integers(1, 9), token_ids=TOKENS)
    def insert(self, sequence_id: int, token_ids: list[int]) -> None:
        self.index.insert(sequence_id, token_ids)
        self.known[sequence_id] = list(token_ids)

    @rule(sequence_id=st.integers(1, 9), more=TOKENS)
    def extend(self, sequence_id: int, more: list[int]) -> None:
        self.insert(sequence_id, [*self.known.get(sequence_id, []), *more])

    @rule(sequence_id=st.integers(1, 9))
    def remove(self, sequence_id: int) -> None:
        self.index.remove(sequence_id)
        self.known.pop(sequence_id, None)

    @rule(token_ids=TOKENS)
    def lookup(self, token_ids: list[int]) -> None:
        version = self.index.version
        matches = self.index.lookup(token_ids)
        assert dict(matches) == expected(self.known, token_ids)
        assert len(matches) == len(dict(matches)), "each sequence once"
        lengths = [match.num_tokens for match in matches]
        assert lengths == sorted(lengths, reverse=True), "the longest first"
        assert self.index.version == version

    @invariant()
    def the_tree_is_tight(self) -> None:
        """No empty runs, no chains of nodes that could be one, no node for nobody."""
        assert len(self.index) == len(self.known)
        root = self.index._roots.get(None, _Node([], None))
        pending = [root]
        num_nodes = 0
        while pending:
            node = pending.pop()
            num_nodes += 1
            self._check(node, is_root=node is root)
            pending += node.children.values()
        assert num_nodes <= 1 + 2 * len(self.known)

    def _check(self, node: _Node, *, is_root: bool) -> None:
        for first, child in node.children.items():
            assert child.parent is node
            assert child.token_ids[0] == first
        if not is_root:
            assert node.token_ids
            assert node.ends or len(node.children) > 1


PrefixMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestPrefixMachine = PrefixMachine.TestCase


@given(st.lists(st.integers(0, 1), min_size=1, max_size=400), st.data())
@settings(max_examples=60, deadline=None)
def test_long_runs_are_compared_to_the_token(token_ids: list[int], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(token_ids) - 1))
    other = [*token_ids[:at], 7, *token_ids[at + 1 :]]
    index = PrefixIndex()
    index.insert(1, other)
    assert index.lookup(token_ids) == ([Match(1, at)] if at else [])


def test_inserted_tokens_are_copied() -> None:
    index = PrefixIndex()
    token_ids = [1, 2]
    index.insert(1, token_ids)
    token_ids += [3, 4]
    assert index.lookup([1, 2, 3, 4]) == [Match(1, 2)]


def test_every_change_is_told_by_the_version() -> None:
    index = PrefixIndex()
    versions = [index.version]
    index.insert(1, [1])
    versions.append(index.version)
    index.insert(1, [1, 2])
    versions.append(index.version)
    index.remove(1)
    versions.append(index.version)
    index.remove(1)
    assert len(set(versions)) == len(versions)
    assert index.version == versions[-1], "nothing was removed"
