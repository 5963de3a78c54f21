"""Which known sequences begin like a given one: a radix tree over the tokens of all sequences of a worker.

A pure index: it knows nothing of caches and of what has been computed. Each owner has a tree of its own, so that nobody
learns from a shared beginning what others have asked.
"""

import dataclasses
from typing import NamedTuple


class Match(NamedTuple):
    """A known sequence and how many of its first tokens are the same, >= 1."""

    sequence_id: int
    num_tokens: int


@dataclasses.dataclass(slots=True, eq=False)
class _Node:
    """A run of tokens between two branches.

    Attributes:
        token_ids: The run; empty for the root only.
        parent: None for the root only.
        ends: Sequences whose tokens end with this run.
    """

    token_ids: list[int]
    parent: "_Node | None"
    children: dict[int, "_Node"] = dataclasses.field(default_factory=dict)
    ends: set[int] = dataclasses.field(default_factory=set)


class PrefixIndex:
    """The tree; every operation is linear in the tokens and sequences that it passes.

    Attributes:
        version: Changes whenever an answer of `lookup` may change.
    """

    def __init__(self) -> None:
        self._roots: dict[str | None, _Node] = {}
        self._ends: dict[int, _Node] = {}
        self.version = 0

    def __len__(self) -> int:
        return len(self._ends)

    def insert(self, sequence_id: int, token_ids: list[int], owner: str | None = None) -> None:
        """Take up a sequence, or replace the tokens of a known one."""
        self.remove(sequence_id)
        self.version += 1
        node, start = self._roots.setdefault(owner, _Node([], None)), 0
        while start < len(token_ids):
            child = node.children.get(token_ids[start])
            if child is None:
                child = _Node(token_ids[start:], node)
                node.children[token_ids[start]] = child
                node, start = child, len(token_ids)
                break
            num_common = num_common_tokens(child.token_ids, token_ids, start)
            node = child if num_common == len(child.token_ids) else _split(child, num_common)
            start += num_common
        node.ends.add(sequence_id)
        self._ends[sequence_id] = node

    def remove(self, sequence_id: int) -> None:
        """Forget a sequence; unknown ids are ignored."""
        node = self._ends.pop(sequence_id, None)
        if node is None:
            return
        self.version += 1
        node.ends.remove(sequence_id)
        if not node.ends and not node.children and node.parent is not None:
            parent = node.parent
            del parent.children[node.token_ids[0]]
            node = parent
        if not node.ends and len(node.children) == 1 and node.parent is not None:
            self._merge(node)

    def lookup(self, token_ids: list[int], owner: str | None = None) -> list[Match]:
        """Return all sequences of an owner that share a beginning with `token_ids`, the longest shared ones first."""
        root = self._roots.get(owner)
        if root is None:
            return []
        path = [root]
        start = num_common = 0
        while start < len(token_ids):
            child = path[-1].children.get(token_ids[start])
            if child is None:
                break
            num_common = num_common_tokens(child.token_ids, token_ids, start)
            start += num_common
            path.append(child)
            if num_common < len(child.token_ids):
                break
        matches: list[Match] = []
        passed: _Node | None = None
        for node in reversed(path[1:]):
            matches += [Match(sequence_id, start) for sequence_id in _ids_below(node, passed)]
            start -= num_common if passed is None else len(node.token_ids)
            passed = node
        return matches

    def _merge(self, node: _Node) -> None:
        """Make one run of a node and its only child."""
        (child,) = node.children.values()
        node.token_ids += child.token_ids
        node.children = child.children
        node.ends = child.ends
        for grandchild in node.children.values():
            grandchild.parent = node
        for sequence_id in node.ends:
            self._ends[sequence_id] = node


def _split(node: _Node, num_tokens: int) -> _Node:
    """Put the run's first tokens into a new node before this one, which keeps ends and children; return the new one."""
    assert node.parent is not None, "the root has no run"
    upper = _Node(node.token_ids[:num_tokens], node.parent)
    node.parent.children[upper.token_ids[0]] = upper
    node.token_ids = node.token_ids[num_tokens:]
    node.parent = upper
    upper.children[node.token_ids[0]] = node
    return upper


def _ids_below(node: _Node, without: _Node | None) -> list[int]:
    """Return the ids that end in a node or below it, leaving out one of its children."""
    found: list[int] = []
    pending = [node]
    while pending:
        current = pending.pop()
        found += sorted(current.ends)
        pending += [child for child in current.children.values() if child is not without]
    return found


def num_common_tokens(run: list[int], token_ids: list[int], start: int) -> int:
    """Return how many first tokens of `run` stand in `token_ids` from `start` on; 0 to `len(run)`.

    Slices are compared, which the interpreter does at native speed, and halved to find the first difference.
    """
    low, high = 0, min(len(run), len(token_ids) - start)
    if run[:high] == token_ids[start : start + high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if run[low:middle] == token_ids[start + low : start + middle]:
            low = middle
        else:
            high = middle
    return low
