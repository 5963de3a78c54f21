"""Which parts of a schema apply to one value at the same time: where that never ends, and where it costs too much."""

import graphlib
from typing import NamedTuple

from backends.constraints.limits import MAX_PATTERNS_ON_A_VALUE

_ANY_NAMES = frozenset({"additionalProperties", "additionalItems", "items"})
_MAX_VISITS = 100_000


class Node(NamedTuple):
    """One subschema.

    Attributes:
        in_place: Subschemas that apply to the same value (`allOf`, `anyOf`, `oneOf`, `$ref`).
        parts: Subschemas of the value's parts, with the part's name.
        is_joined: Whether more than one schema constrains its value.
        num_patterns: How many of its keywords are regular expressions for the library.
    """

    in_place: list[int]
    parts: list[tuple[str, int]]
    is_joined: bool
    num_patterns: int


def has_cycle(nodes: dict[int, Node]) -> bool:
    """Tell whether a subschema applies to a value only if it applies to that value."""
    try:
        graphlib.TopologicalSorter({key: node.in_place for key, node in nodes.items()}).prepare()
    except graphlib.CycleError:
        return True
    return False


def too_many_patterns(nodes: dict[int, Node]) -> bool:
    """Tell whether the library might have to intersect more regular expressions than it can.

    Only schemas that apply to one value together are intersected, and then their parts of the same name. Counts too
    much rather than too little: parts of the same name at different depths count together.
    """
    num_visits = 0
    for key, node in nodes.items():
        if not node.is_joined:
            continue
        counts: dict[str, int] = {}
        seen = {(key, "")}
        stack = [(key, "")]
        while stack:
            current, name = stack.pop()
            num_visits += 1
            if num_visits > _MAX_VISITS:
                return True
            found = nodes.get(current)
            if found is None:
                continue
            counts[name] = counts.get(name, 0) + found.num_patterns
            targets = [(target, name) for target in found.in_place]
            targets += [(target, "*" if part in _ANY_NAMES else part) for part, target in found.parts]
            fresh = [target for target in targets if target not in seen]
            seen.update(fresh)
            stack += fresh
        if max(counts.values()) + counts.get("*", 0) > MAX_PATTERNS_ON_A_VALUE:
            return True
    return False
