"""Which target is loaded next, and which have to go so that there is room for it. Pure; a part of `decision`.

A **home** is a target with the workers that have, get or give up its model. The decision, in order:
    1. Targets that may not be together, because the config has changed, or those of a pinned model have: the least
       valuable of them have to go.
    2. Exclusive: what waits for another target claims the one home that there is; without one, the first is loaded.
    3. Budget and groups: targets without a home, as their first requests come in serving order:
       3a. one that may not be together with those before it that wait for room waits for them;
       3b. one that would not have its room although all went that may go is refused, with what stands in the way: what
           is pinned. Without pins it has been asked before whether it fits alone (`fit`), and then it does;
       3c. homes that may not be beside it have to go; of the groups that have it, the one counts for which those go
           that go already, else the fewest that are wanted, else the fewest, else the least valuable;
       3d. further ones have to go until what stays, what those before it were promised, and it itself are within what
           there is: in the order below, and none of them without need;
       3e. it is loaded when nobody has to go, nobody is going whose room it needs, and no other load is under way: what
           a load takes is known before it, and read after it, before the next.

Who goes first: who is going already; who is idle before who answers or is waited for; who has rested (`rested_at`)
before who has not; who serves background work alone before who is talked to; and the one whose load is cheap for the
time that nobody has wanted it (`load_s` by idle seconds). Pinned ones never.
"""

from collections.abc import Callable, Sequence

import msgspec
from msgspec.structs import replace

from router.models.targets import Target
from router.placement.lifecycle import WorkerState
from router.placement.sharing import Group, LoadNeed, Residency, Taken
from router.placement.situation import PlacedWorker, PlacementLimits, WaitingRequest

_LEAST_S = 0.1
"""Loads and pauses below this are alike."""


class Home(msgspec.Struct, frozen=True, kw_only=True):
    """A target and its workers.

    Attributes:
        queue: Who waits for it, and who waits for it to go, in serving order.
        has_to_go: Whether it may not stay beside others, whoever waits.
        may_grow: Whether a further worker of it may be started.
    """

    target: Target
    workers: tuple[PlacedWorker, ...]
    queue: tuple[WaitingRequest, ...] = ()
    has_to_go: bool = False
    may_grow: bool = True

    @property
    def held_bytes(self) -> int:
        """What its workers count for."""
        return sum(worker.held_bytes for worker in self.workers)

    @property
    def is_pinned(self) -> bool:
        """Whether it stays, whoever else wants the memory."""
        return any(worker.is_pinned for worker in self.workers)

    @property
    def is_leaving(self) -> bool:
        """Whether its workers are being ended, and there is nothing to decide about it."""
        return all(worker.state is WorkerState.STOPPING for worker in self.workers)

    @property
    def is_going(self) -> bool:
        """Whether it takes no new requests."""
        return not any(
            worker.state.is_getting_ready or (worker.state is WorkerState.READY and not worker.is_unwanted)
            for worker in self.workers
        )

    @property
    def is_wanted(self) -> bool:
        """Whether it answers, loads, or is waited for."""
        is_busy = any(worker.state.is_getting_ready or not worker.use.is_idle for worker in self.workers)
        return is_busy or any(request.target == self.target for request in self.queue)

    @property
    def used_at(self) -> float:
        """When it was ready, or last used."""
        return max(max(worker.use.used_at, worker.state_since) for worker in self.workers)


class Refusal(msgspec.Struct, frozen=True):
    """A target that has no place beside what is pinned.

    Attributes:
        pinned: What stands in the way.
        need: What it takes; None = it is not the memory: no group has it together with them.
        limit_bytes: What all workers may hold together.
        pinned_bytes: What the pinned ones hold of that.
    """

    target: Target
    pinned: tuple[Target, ...]
    need: LoadNeed | None = None
    limit_bytes: int = 0
    pinned_bytes: int = 0


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """What comes of it all.

    Attributes:
        start: What is loaded now.
        refused: What has no place.
        awaited: The first in the queue that has to wait for its load, and that others go for.
    """

    homes: tuple[Home, ...]
    start: Target | None = None
    refused: tuple[Refusal, ...] = ()
    awaited: Target | None = None


def room_for(
    queue: Sequence[WaitingRequest], workers: Sequence[PlacedWorker], limits: PlacementLimits, now: float
) -> Room:
    """Return what is to be loaded and what has to go for it.

    Args:
        queue: In serving order.
    """
    if not limits.residency.is_exclusive:
        return _Sharing(queue, _homes(workers), limits, now).room()
    if not workers:
        return Room(homes=(), start=queue[0].target if queue else None)  # 2
    if _have_one_target(workers):
        return Room(homes=(Home(target=workers[0].target, workers=tuple(workers), queue=tuple(queue)),))  # 2
    return _Sharing(queue, _homes(workers), limits, now).room()


def eviction_order(homes: Sequence[Home], limits: PlacementLimits, now: float) -> list[Home]:
    """Return the homes that may go for others, those first that would go first."""
    return sorted((home for home in homes if not home.is_pinned), key=lambda home: _value(home, limits, now))


def homes_of(workers: Sequence[PlacedWorker], waiting: Sequence[WaitingRequest]) -> list[Home]:
    """Return the homes, each with who waits for it, and nothing decided."""
    return [
        replace(home, queue=tuple(request for request in waiting if request.target == home.target))
        for home in _homes(workers)
    ]


def rested_at(workers: Sequence[PlacedWorker], limits: PlacementLimits) -> float:
    """Return until when an idle target stays for its next request although another one wants its room.

    Beside others it stays for as long as its load took, and no longer than the maximum wait of a swap: whoever talks to
    it is likely to come back before that, and would have it loaded again. Waiting for as long as a load takes costs at
    most twice what the best choice would have (the ski-rental rule). Alone (exclusive), it goes at once.

    Returns:
        Monotonic seconds; minus infinity = it need not.
    """
    if limits.residency.is_exclusive:
        return float("-inf")
    load_s = max(worker.load_s for worker in workers)
    used_at = max(max(worker.use.used_at, worker.state_since) for worker in workers)
    return used_at + min(load_s, limits.swap_max_wait_s)


def _have_one_target(workers: Sequence[PlacedWorker]) -> bool:
    first = workers[0].target
    return len(workers) == 1 or all(worker.target is first or worker.target == first for worker in workers)


def _homes(workers: Sequence[PlacedWorker]) -> list[Home]:
    by_target: dict[Target, list[PlacedWorker]] = {}
    for worker in workers:
        by_target.setdefault(worker.target, []).append(worker)
    return [Home(target=target, workers=tuple(of_target)) for target, of_target in by_target.items()]


def _value(home: Home, limits: PlacementLimits, now: float) -> tuple[bool, bool, bool, bool, float, str]:
    """Return by what homes are sorted, the least valuable first."""
    is_talked_to = any(worker.use.interactive_at is not None for worker in home.workers)
    load_s = max(_LEAST_S, *(worker.load_s for worker in home.workers))
    return (
        not home.is_going,
        home.is_wanted,
        now < rested_at(home.workers, limits),
        is_talked_to,
        load_s / max(_LEAST_S, now - home.used_at),
        f"{home.target.label}@{home.target.engine}",
    )


class _Sharing:
    """One decision about several homes.

    Args:
        homes: Without their queues.
    """

    def __init__(
        self, queue: Sequence[WaitingRequest], homes: Sequence[Home], limits: PlacementLimits, now: float
    ) -> None:
        self._limits = limits
        self._rules: Residency = limits.residency
        self._now = now
        self._by_target: dict[Target, list[WaitingRequest]] = {}
        for request in queue:
            self._by_target.setdefault(request.target, []).append(request)
        self._queue = queue
        self._homes = {home.target: replace(home, queue=tuple(self._by_target.get(home.target, ()))) for home in homes}
        self._claims: dict[Target, list[Target]] = {home.target: [] for home in homes}
        self._planned: list[Target] = []
        self._promised = Taken()
        self._start: Target | None = None
        self._refused: list[Refusal] = []

    def room(self) -> Room:
        staying, surplus = self._sorted_out()  # 1
        if not self._rules.is_exclusive:
            for target in self._by_target:
                if target not in self._homes:
                    self._plan(target)  # 3
        elif staying:
            self._claims[staying[0]] = [target for target in self._by_target if target != staying[0]]  # 2
        awaited = next((target for target in self._planned if target != self._start), None)
        return Room(
            homes=tuple(self._decided(home, surplus) for home in self._homes.values()),
            start=self._start,
            refused=tuple(self._refused),
            awaited=awaited,
        )

    def _decided(self, home: Home, surplus: Sequence[Target]) -> Home:
        wanting = {home.target, *self._claims[home.target]}
        queue = tuple(request for request in self._queue if request.target in wanting)
        is_quiet = self._start is None and not any(other.is_leaving for other in self._homes.values())
        grown = self._all_held().plus(home.target, max(worker.held_bytes for worker in home.workers))
        may_grow = not self._planned and is_quiet and not self._is_loading() and not self._rules.is_over(grown)
        return replace(home, queue=queue, has_to_go=home.target in surplus, may_grow=may_grow)

    def _is_loading(self) -> bool:
        return any(worker.state.is_getting_ready for home in self._homes.values() for worker in home.workers)

    def _all_held(self) -> Taken:
        return _taken(list(self._homes.values()), self._promised)

    # ---- 1, 2 -------------------------------------------------------------------------------------------------------

    def _sorted_out(self) -> tuple[list[Target], list[Target]]:
        """Return the targets that stay, the most valuable first, and those that may not be beside them."""
        staying: list[Target] = []
        surplus: list[Target] = []
        order = [home for home in self._homes.values() if not home.is_leaving]
        for home in sorted(order, key=self._worth, reverse=True):
            is_welcome = self._rules.may_share([*staying, home.target])
            (staying if is_welcome else surplus).append(home.target)
        return staying, surplus

    # ---- 3 ----------------------------------------------------------------------------------------------------------

    def _plan(self, target: Target) -> None:
        """Find room for a target that has no home."""
        if self._rules.limit_bytes is None or not self._rules.may_share([*self._planned, target]):  # 3a
            return
        forced = self._forced_by(target)
        pinned = tuple(home.target for home in forced if _is_kept_from(home, target))
        if pinned:
            self._refused.append(Refusal(target, pinned))  # 3b
            return
        room = self._room_of(target)
        if room is None:
            return
        going = [home for home in self._homes.values() if home.is_leaving or self._claims[home.target]]
        needed = [*forced, *self._further_victims(target, room, [*going, *forced])]
        if not needed and self._may_start(target, room):
            self._start = target  # 3e
        self._planned.append(target)
        self._promised = self._promised.plus(target, room)
        for home in needed:
            self._claims[home.target].append(target)

    def _may_start(self, target: Target, room: int) -> bool:
        if self._start is not None or self._is_loading() or not self._rules.is_fresh:
            return False
        if not self._homes and not self._planned:
            return True
        is_beside = self._rules.may_share([*self._homes, target])  # those that are leaving as well
        return is_beside and not self._rules.is_over(self._all_held().plus(target, room))

    def _room_of(self, target: Target) -> int | None:
        """Return how much room a target is promised, bytes; None = it was refused."""
        need, limit_bytes = self._rules.needs.get(target), self._rules.limit_bytes
        assert limit_bytes is not None
        pinned = [home for home in self._homes.values() if _is_kept_from(home, target) and not home.is_leaving]
        base = _taken(pinned, Taken())
        if need is not None:
            for num_bytes in (need.full_bytes, need.least_bytes):
                if not self._rules.is_over(base.plus(target, num_bytes)):
                    return num_bytes
        if not pinned:
            return limit_bytes  # alone
        targets = tuple(home.target for home in pinned)
        least = LoadNeed(limit_bytes, limit_bytes) if need is None else need
        self._refused.append(Refusal(target, targets, least, limit_bytes, base.num_bytes))  # 3b
        return None

    def _forced_by(self, target: Target) -> list[Home]:
        """Return the homes that may not be beside a target, of the set that costs least."""
        staying = [home for home in self._homes.values() if not home.is_leaving]
        staying.sort(key=self._worth, reverse=True)
        wanted = [*self._planned, target]
        sets = [each for each in self._rules.sets if self._rules.allows(each, wanted)]
        forced_by_set = [self._forced_in(group, wanted, staying) for group in sets]
        return min(forced_by_set, key=lambda forced: self._cost_of(forced, staying), default=staying)

    def _forced_in(self, group: Group | None, wanted: Sequence[Target], staying: Sequence[Home]) -> list[Home]:
        kept, forced = list(wanted), []
        for home in staying:
            if self._rules.allows(group, [*kept, home.target]):
                kept.append(home.target)
            else:
                forced.append(home)
        return forced

    def _cost_of(self, forced: Sequence[Home], staying: Sequence[Home]) -> tuple[object, ...]:
        num_pinned = sum(home.is_pinned for home in forced)
        num_taken_back = sum(home.is_going and home not in forced for home in staying)
        num_wanted = sum(home.is_wanted for home in forced)
        return num_pinned, num_taken_back, num_wanted, len(forced), [self._worth(home) for home in forced]

    def _worth(self, home: Home) -> tuple[object, ...]:
        return home.is_pinned, *_value(home, self._limits, self._now)

    def _further_victims(self, target: Target, room: int, going: Sequence[Home]) -> list[Home]:
        """Return who has to go for its memory, beside those that go already."""
        gone = {home.target for home in going}
        stays = [home for home in self._homes.values() if home.target not in gone]
        promised = self._promised.plus(target, room)

        def is_over(without: Sequence[Home]) -> bool:
            left = [home for home in stays if all(home is not other for other in without)]
            return bool(left) and self._rules.is_over(_taken(left, promised))

        victims: list[Home] = []
        for home in eviction_order(stays, self._limits, self._now):
            if not is_over(victims):
                break
            victims.append(home)
        return _without_needless(victims, is_over)  # 3d


def _is_kept_from(home: Home, target: Target) -> bool:
    """Tell whether a home stays whatever a target wants; another load of a pinned model may take its place."""
    return home.is_pinned and home.target.label != target.label


def _without_needless(victims: list[Home], is_over: Callable[[Sequence[Home]], bool]) -> list[Home]:
    """Return the victims without those whose going is not needed, the more valuable ones first."""
    for home in reversed(victims):
        others = [other for other in victims if other is not home]
        if not is_over(others):
            victims = others
    return victims


def _taken(homes: Sequence[Home], taken: Taken) -> Taken:
    for home in homes:
        taken = taken.plus(home.target, home.held_bytes)
    return taken
