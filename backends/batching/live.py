"""The live sequences of a worker, who waits and who has a cache, and in which order they come: pure bookkeeping.

Order: urgent sequences before the others, each by arrival. Interactive sequences are urgent. While one of them has
work, background sequences are held; one that was held for too long is urgent for a slice of SLICE_TOKENS tokens.
No cells, slots or plans in here.
"""

import bisect
import dataclasses
import operator
from collections.abc import Iterator

from backends.batching.prefix_index import Match
from backends.sequence import Sequence
from backends.wire.request import Priority

SLICE_TOKENS = 32
"""Tokens that a background sequence may draw as if it were interactive, once it was held for too long.

Counted in tokens and not in steps: what it has drawn survives an eviction, so that every slice is progress.
"""

_BY_ARRIVAL = operator.attrgetter("arrival")


@dataclasses.dataclass(slots=True, eq=False)
class LiveSequence:
    """A live sequence.

    Attributes:
        sequence: Its tokens.
        arrival: Its number in the order of coming.
        held_since: When it came, went on, or last computed; seconds of a monotonic clock.
        is_resident: Whether it has a slot and cells; it waits otherwise.
        is_paused: Whether its client takes nothing.
        is_awaiting: Whether it waits for a beginning that another one is computing.
        refused_ids: Sequences that it cannot begin with although their tokens are the same.
        matches_version: Of which version of the index; None = it has none.
    """

    sequence: Sequence
    arrival: int
    held_since: float
    is_resident: bool = False
    is_paused: bool = False
    num_slice_tokens: int = 0
    is_awaiting: bool = False
    refused_ids: set[int] = dataclasses.field(default_factory=set)
    matches: list[Match] = dataclasses.field(default_factory=list)
    matches_version: int | None = None

    @property
    def is_urgent(self) -> bool:
        """Whether it goes before those that are not."""
        return self.sequence.priority is Priority.INTERACTIVE or self.num_slice_tokens > 0


class LiveSequences:
    """Owns the live sequences.

    Attributes:
        residents: Those with slot and cells, by arrival.
    """

    def __init__(self) -> None:
        self.residents: list[LiveSequence] = []
        self.waiting: list[LiveSequence] = []
        self._members: dict[int, LiveSequence] = {}
        self._num_arrivals = 0
        self._num_background = 0

    def __iter__(self) -> Iterator[LiveSequence]:
        return iter(self._members.values())

    @property
    def has_work(self) -> bool:
        """Whether there is one that its client has not paused."""
        return any(not member.is_paused for member in self._members.values())

    @property
    def holds_background(self) -> bool:
        """Whether background sequences are to be held because an interactive one has work."""
        return self._num_background > 0 and any(
            member.sequence.priority is Priority.INTERACTIVE and not member.is_paused
            for member in self._members.values()
        )

    def get(self, sequence_id: int) -> LiveSequence | None:
        """Return a live sequence, None for others."""
        return self._members.get(sequence_id)

    def add(self, sequence: Sequence, now: float) -> LiveSequence:
        """Take up a new sequence; it waits."""
        self._num_arrivals += 1
        member = LiveSequence(sequence, self._num_arrivals, now)
        self._members[sequence.sequence_id] = member
        self.waiting.append(member)
        self._num_background += sequence.priority is Priority.BACKGROUND
        return member

    def remove(self, sequence_id: int) -> None:
        """Forget a sequence; unknown ids are ignored."""
        member = self._members.pop(sequence_id, None)
        if member is not None:
            (self.residents if member.is_resident else self.waiting).remove(member)
            self._num_background -= member.sequence.priority is Priority.BACKGROUND

    def admit(self, member: LiveSequence) -> None:
        """Let a waiting sequence have slot and cells."""
        self.waiting.remove(member)
        bisect.insort(self.residents, member, key=_BY_ARRIVAL)
        member.is_resident = True

    def send_back(self, member: LiveSequence) -> None:
        """Let a resident sequence wait again, with nothing computed."""
        self.residents.remove(member)
        bisect.insort(self.waiting, member, key=_BY_ARRIVAL)
        member.is_resident = False
        member.matches_version = None
        member.sequence.num_computed = member.sequence.num_cached_tokens = 0

    def pause(self, sequence_id: int) -> None:
        """Leave a sequence out; unknown ids are ignored."""
        member = self._members.get(sequence_id)
        if member is not None:
            member.is_paused = True
            member.num_slice_tokens = 0

    def resume(self, sequence_id: int, now: float) -> None:
        """Let a paused sequence take part again, at its old place; others are ignored."""
        member = self._members.get(sequence_id)
        if member is not None and member.is_paused:
            member.is_paused = False
            member.held_since = now

    def queue(self) -> list[LiveSequence]:
        """Return who waits for slot and cells, in order, without those that are held or paused."""
        return self._in_order(self.waiting)

    def runnable(self) -> list[LiveSequence]:
        """Return the residents that could compute now, in order."""
        return self._in_order(self.residents)

    def grant_slices(self, now: float, max_wait_s: float, num_places: int) -> None:
        """Make background sequences urgent that interactive ones have held for too long.

        At most half of the places at once, so that a burst of them does not hold up the interactive ones in turn. Who
        waits for a place is meant only where it would have one if there were no interactive sequences.

        Args:
            now: Seconds of a monotonic clock.
            num_places: Sequences that may compute in one step, >= 1.
        """
        if not self.holds_background:
            return
        held = [m for m in self.residents if m.sequence.priority is Priority.BACKGROUND and not m.is_paused]
        waiting = [m for m in self.waiting if m.sequence.priority is Priority.BACKGROUND and not m.is_paused]
        held += waiting[: max(0, num_places - len(held))]
        num_granted = sum(member.num_slice_tokens > 0 for member in self._members.values())
        num_slices = max(1, num_places // 2) - num_granted
        due = [m for m in held if not m.is_urgent and now - m.held_since >= max_wait_s]
        due.sort(key=operator.attrgetter("held_since"))
        for member in due[: max(0, num_slices)]:
            member.num_slice_tokens = SLICE_TOKENS

    def _in_order(self, members: list[LiveSequence]) -> list[LiveSequence]:
        members = [member for member in members if not member.is_paused]
        if not self._num_background:
            return members
        urgent = [member for member in members if member.is_urgent]
        if self.holds_background:
            return urgent
        return urgent + [member for member in members if not member.is_urgent]
