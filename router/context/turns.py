"""A conversation in units that are told or kept as wholes. Pure.

A unit is a message of the user, one of the assistant without calls, or one with calls and all up to their last result,
so that calls and results are never parted. Messages of the system belong to no unit: they stay, wherever they stand.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from backends.wire.prompts import PromptMessage

_SYSTEM: Final = frozenset({"system", "developer"})


class Unit(msgspec.Struct, frozen=True):
    """Messages that stay together.

    Attributes:
        indexes: Of its messages, ascending; those of the system between them are not among them.
        is_user: Whether it is the user's.
        is_open: Whether it has calls and the assistant has said nothing since: their results are still to be read. A
            round without its results that the assistant went on from is not open; nobody finishes it.
    """

    indexes: tuple[int, ...]
    is_user: bool = False
    is_open: bool = False

    @property
    def start(self) -> int:
        """Index of its first message."""
        return self.indexes[0]

    @property
    def end(self) -> int:
        """Index behind its last message."""
        return self.indexes[-1] + 1


class Units(msgspec.Struct, frozen=True):
    """What a conversation is made of, from where its beginning was told already.

    Attributes:
        units: In order.
        num_read: How many of them the assistant has answered or said; what follows is kept, and the last one always is.
        has_task: Whether the first one stands before that, because what follows goes on from it.
    """

    units: tuple[Unit, ...]
    num_read: int
    has_task: bool = False

    @property
    def told_ends(self) -> tuple[int, ...]:
        """Where the told beginning of this conversation may end: numbers of messages, ascending."""
        return tuple(unit.start for unit in self.units[1 : self.num_read + 1])


def is_pinned(message: PromptMessage) -> bool:
    """Whether a message is the system's, which stays to the byte wherever it stands."""
    return message["role"] in _SYSTEM


def units_of(messages: Sequence[PromptMessage], begin: int = 0, task: int | None = None) -> Units:
    """Return the units of a conversation.

    Args:
        begin: Where the part begins that is not told yet; one of `told_ends`.
        task: Index of the message before it that stayed, as `WindPlan.task` has it.
    """
    units = [] if task is None else [Unit((task,), is_user=True)]
    units += _rounds(messages, begin)
    last_said = max((at for at, unit in enumerate(units) if not unit.is_user), default=-1)
    if last_said >= 0 and any(_calls_of(messages[at]) for at in units[last_said].indexes):
        units[last_said] = msgspec.structs.replace(units[last_said], is_open=True)
        last_said -= 1
    num_read = max(0, min(last_said + 1, len(units) - 1))
    return Units(tuple(units), num_read, has_task=task is not None)


def _rounds(messages: Sequence[PromptMessage], begin: int) -> list[Unit]:
    """Return the units from there on, as if no round were open."""
    last_results = _last_results(messages, begin)
    units: list[Unit] = []
    indexes: list[int] = []
    end = begin
    for at in range(begin, len(messages)):
        if is_pinned(messages[at]):
            continue
        # A result that belongs to nothing here stays with what it stands behind.
        if at >= end and (not indexes or messages[at]["role"] != "tool"):
            units += _unit(messages, indexes)
            indexes = []
        indexes.append(at)
        end = max(end, last_results.get(at, at) + 1)
    return [*units, *_unit(messages, indexes)]


def _unit(messages: Sequence[PromptMessage], indexes: list[int]) -> list[Unit]:
    return [Unit(tuple(indexes), is_user=messages[indexes[0]]["role"] == "user")] if indexes else []


def _last_results(messages: Sequence[PromptMessage], begin: int) -> dict[int, int]:
    """Return by the index of a message with calls where the last of their results stands."""
    caller_by_id: dict[str, int] = {}
    last_results: dict[int, int] = {}
    for at in range(begin, len(messages)):
        for call in _calls_of(messages[at]):
            caller_by_id[call.get("id", "")] = at
        if messages[at]["role"] == "tool":
            caller = caller_by_id.get(messages[at].get("tool_call_id", ""))
            if caller is not None:
                last_results[caller] = at
    return last_results


def _calls_of(message: PromptMessage) -> list[dict[str, Any]]:
    return message.get("tool_calls") or []
