"""A simulated fleet: performs what placement decides, in simulated time, and writes down what happened."""

import dataclasses
import math
from collections.abc import Mapping

from msgspec.structs import replace

from backends.wire.request import Priority
from router.config.residency import ResidencyMode
from router.models.targets import Target
from router.placement.decision import (
    DrainWorker,
    Effect,
    KeepWorker,
    RefuseTarget,
    StartWorker,
    StopWorker,
    decide,
    next_deadline,
    next_target,
)
from router.placement.dispatching import Dispatch
from router.placement.lifecycle import WorkerState, check_transition
from router.placement.sharing import Group, LoadNeed, Residency
from router.placement.situation import PlacedWorker, PlacementLimits, WaitingRequest, WorkerUse

MAX_EFFECT_ROUNDS = 100
"""Rounds of decisions at one moment; more would be a loop without end."""


@dataclasses.dataclass
class SimulatedRequest:
    """One request and its fate.

    Attributes:
        num_ahead: Requests that waited when it came.
        service_s: How long it runs.
        dispatched_at: When a worker took it.
        worker_id: Which.
        named: The worker that it wants alone.
        ended_at: When it was done, cut or withdrawn.
    """

    ticket_id: int
    target: Target
    num_sequences: int
    arrived_at: float
    num_ahead: int
    service_s: float
    priority: Priority = Priority.INTERACTIVE
    session_id: str | None = None
    named: int | None = None
    dispatched_at: float | None = None
    worker_id: int | None = None
    ended_at: float | None = None
    fate: str | None = None

    def end(self, fate: str, now: float) -> None:
        assert self.fate is None, f"request {self.ticket_id} ended twice: {self.fate}, {fate}"
        self.fate, self.ended_at = fate, now

    @property
    def done_at(self) -> float:
        assert self.dispatched_at is not None
        return self.dispatched_at + self.service_s

    @property
    def as_waiting(self) -> WaitingRequest:
        return WaitingRequest(
            self.ticket_id,
            self.target,
            self.num_sequences,
            self.arrived_at,
            self.priority,
            self.session_id,
            self.named,
        )


@dataclasses.dataclass
class SimulatedWorker:
    worker_id: int
    target: Target
    state_since: float
    state: WorkerState = WorkerState.LOADING
    running: list[SimulatedRequest] = dataclasses.field(default_factory=list)
    is_unwanted: bool = False
    interactive_at: float | None = None
    used_at: float = 0.0

    def num_running(self, priority: Priority) -> int:
        return sum(request.num_sequences for request in self.running if request.priority is priority)

    def take(self, request: SimulatedRequest, now: float) -> None:
        self.running.append(request)
        self.note(request, now)

    def give_back(self, request: SimulatedRequest, now: float) -> None:
        self.running.remove(request)
        self.note(request, now)

    def note(self, request: SimulatedRequest, now: float) -> None:
        self.used_at = now
        if request.priority is Priority.INTERACTIVE:
            self.interactive_at = now

    def set_state(self, state: WorkerState, now: float) -> None:
        self.state = check_transition(self.state, state)
        self.state_since = now


class SimulatedFleet:
    """Time, a queue and the workers.

    Args:
        sizes: What each target takes, bytes; empty = it is of no account.

    Attributes:
        pinned: Models that are.
        stopped: Targets whose workers were stopped, in order, each with the moment.
        loads: Targets in the order in which they were loaded from nothing; further workers of a target do not count.
        num_lost_loads: Things that may have made a load vain: clients that left, crashes, commands.
    """

    def __init__(
        self,
        *,
        limits: PlacementLimits,
        max_sequences: int = 4,
        load_s: float = 2.0,
        unload_s: float = 1.0,
        sizes: Mapping[Target, int] | None = None,
    ) -> None:
        self.sizes = sizes or {}
        self.pinned: set[str] = set()
        self.stopped: list[tuple[Target, float]] = []
        needs = {target: LoadNeed(size, size) for target, size in self.sizes.items()}
        self.limits = replace(limits, residency=replace(limits.residency, needs=needs))
        self.max_sequences = max_sequences
        self.load_s = load_s
        self.unload_s = unload_s
        self.now = 100.0
        self.requests: list[SimulatedRequest] = []
        self.waiting: list[SimulatedRequest] = []
        self.workers: list[SimulatedWorker] = []
        self.affinity: dict[str, int] = {}
        self.loads: list[Target] = []
        self.num_workers_started = 0
        self.num_lost_loads = 0

    # ---- what happens from outside ----------------------------------------------------------------------------------

    def submit(
        self,
        target: Target,
        *,
        num_sequences: int = 1,
        service_s: float = 1.0,
        priority: Priority = Priority.INTERACTIVE,
        session_id: str | None = None,
        named: int | None = None,
    ) -> SimulatedRequest:
        number, num_ahead = len(self.requests), len(self.waiting)
        request = SimulatedRequest(
            number, target, num_sequences, self.now, num_ahead, service_s, priority, session_id, named
        )
        self.requests.append(request)
        self.waiting.append(request)
        self.settle()
        return request

    def withdraw(self, request: SimulatedRequest) -> None:
        holder = next((worker for worker in self.workers if request in worker.running), None)
        if request in self.waiting:
            self.waiting.remove(request)
        elif holder is not None:
            holder.give_back(request, self.now)
        else:
            return
        request.end("withdrawn", self.now)
        self.num_lost_loads += 1
        self.settle()

    def crash(self, index: int = 0) -> None:
        if index < len(self.workers):
            self._end_worker(self.workers[index], "crashed")
            self.num_lost_loads += 1
            self.settle()

    def want_gone(self, index: int | None = None) -> None:
        """A command wants all workers gone, or one has too much memory."""
        for number, worker in enumerate(self.workers):
            if index is None or number == index:
                worker.is_unwanted = True
                self.num_lost_loads += 1
        self.settle()

    def advance(self, duration_s: float) -> None:
        """Let time pass, from one moment at which something happens to the next."""
        end = self.now + duration_s
        self.settle()
        while (moment := self.next_moment()) is not None and moment <= end:
            self.now = max(self.now, moment)
            self._let_time_act()
            self.settle()
        if math.isfinite(end):
            self.now = end

    def run_out(self) -> None:
        """Let time pass until nothing more happens."""
        self.advance(math.inf)

    # ---- what the supervisor would do -------------------------------------------------------------------------------

    def settle(self) -> None:
        next_target(self._as_waiting(), self._as_placed(), self.limits, self.now)
        for _ in range(MAX_EFFECT_ROUNDS):
            effects = decide(self._as_waiting(), self._as_placed(), self.limits, self.now, self.affinity)
            if not effects:
                return
            for effect in effects:
                self._perform(effect)
        raise AssertionError(f"no end of decisions at {self.now}")

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Dispatch(ticket_id=ticket_id, worker_id=worker_id):
                self._dispatch(self.requests[ticket_id], self._worker(worker_id))
            case StartWorker(target=target):
                self._start(target)
            case DrainWorker(worker_id=worker_id):
                self._worker(worker_id).set_state(WorkerState.DRAINING, self.now)
            case KeepWorker(worker_id=worker_id):
                self._worker(worker_id).set_state(WorkerState.READY, self.now)
            case RefuseTarget(refusal=refusal):
                assert any(target.model in self.pinned for target in refusal.pinned)
                for request in [request for request in self.waiting if request.target == refusal.target]:
                    self.waiting.remove(request)
                    request.end("refused", self.now)
            case StopWorker(worker_id=worker_id):
                worker = self._worker(worker_id)
                self._check_stop(worker)
                self.stopped.append((worker.target, self.now))
                worker.set_state(WorkerState.STOPPING, self.now)
                for request in worker.running:
                    request.end("cut", self.now)
                worker.running.clear()

    def _start(self, target: Target) -> None:
        own = [worker for worker in self.workers if worker.target == target]
        assert len(own) < self.limits.num_workers, "more workers than wanted"
        if not own:
            self.loads.append(target)
        self.workers.append(SimulatedWorker(self.num_workers_started, target, self.now))
        self.num_workers_started += 1
        self.check_residency()

    def check_residency(self) -> None:
        """Hold the promises of the mode: by rules of its own, and not by placement's."""
        rules, targets = self.limits.residency, {worker.target for worker in self.workers}
        if rules.is_exclusive:
            assert len(targets) <= 1, "two targets have a worker"
            return
        num_bytes = sum(self.sizes[worker.target] for worker in self.workers)
        assert rules.limit_bytes is not None
        assert num_bytes <= rules.limit_bytes or len(self.workers) == 1, "more memory than there is"
        if rules.mode == "groups" and len(targets) > 1:
            assert any(all(_is_in(group.members, target) for target in targets) for group in rules.groups)
        for one in targets:
            for other in targets - {one}:
                if one.label == other.label:
                    engines = {f"{each.label}@{each.engine}" for each in (one, other)}
                    assert any(engines <= group.members for group in rules.groups), "one model twice"

    def _check_stop(self, worker: SimulatedWorker) -> None:
        if worker.running and any(request.num_sequences for request in worker.running):
            is_overdue = self.now >= worker.state_since + self.limits.swap_drain_timeout_s
            assert worker.state is WorkerState.DRAINING, "a busy worker is stopped"
            assert is_overdue, "a busy worker is stopped"
        if worker.target.model in self.pinned and not worker.is_unwanted and not self.limits.residency.is_exclusive:
            is_replaced = any(each.target.label == worker.target.label for each in self.waiting)
            assert is_replaced, "what is pinned goes"

    def _dispatch(self, request: SimulatedRequest, worker: SimulatedWorker) -> None:
        assert worker.state is WorkerState.READY
        assert not worker.is_unwanted
        assert worker.target == request.target
        assert request.named in {None, worker.worker_id}
        if request.num_sequences > 0:
            self._check_order(request, worker)
        self.waiting.remove(request)
        others = list(worker.running)
        worker.take(request, self.now)
        self._check_places(request, worker, others)
        request.dispatched_at, request.worker_id = self.now, worker.worker_id
        if request.session_id is not None:
            self.affinity[request.session_id] = worker.worker_id

    def _check_order(self, request: SimulatedRequest, worker: SimulatedWorker) -> None:
        older = [
            other
            for other in self.waiting
            if other.target == request.target
            and other.priority is request.priority
            and other.num_sequences > 0
            and other.named in {None, worker.worker_id}
        ]
        assert older[0] is request, "first come, first served in its class, of those that the worker may serve"

    def _check_places(self, request: SimulatedRequest, worker: SimulatedWorker, others: list[SimulatedRequest]) -> None:
        """Each class has as many places as the batch; only what is larger than that may have more, alone."""
        for priority in Priority:
            of_class = [each for each in worker.running if each.priority is priority and each.num_sequences > 0]
            assert worker.num_running(priority) <= self.max_sequences or len(of_class) == 1, "more than its places"
        has_aged = self.now >= request.arrived_at + self.limits.background_max_wait_s
        if request.priority is Priority.BACKGROUND and not has_aged and request.num_sequences > 0:
            num_running = sum(each.num_sequences for each in worker.running)
            num_before = sum(each.num_sequences for each in others)
            assert num_running <= self.max_sequences or num_before == 0, "background beyond the batch"

    def _worker(self, worker_id: int) -> SimulatedWorker:
        return next(worker for worker in self.workers if worker.worker_id == worker_id)

    # ---- time -------------------------------------------------------------------------------------------------------

    def next_moment(self) -> float | None:
        """Return when something happens next, or None."""
        moments = [next_deadline(self._as_waiting(), self._as_placed(), self.limits, self.now)]
        for worker in self.workers:
            moments += [request.done_at for request in worker.running]
            if worker.state is WorkerState.LOADING:
                moments.append(worker.state_since + self.load_s)
            if worker.state is WorkerState.STOPPING:
                moments.append(worker.state_since + self.unload_s)
        return min((moment for moment in moments if moment is not None), default=None)

    def _let_time_act(self) -> None:
        for worker in list(self.workers):
            for request in [request for request in worker.running if request.done_at <= self.now]:
                worker.give_back(request, self.now)
                request.end("served", self.now)
            if worker.state is WorkerState.LOADING and self.now >= worker.state_since + self.load_s:
                worker.set_state(WorkerState.READY, self.now)
            elif worker.state is WorkerState.STOPPING and self.now >= worker.state_since + self.unload_s:
                self._end_worker(worker, "stopped")

    def _end_worker(self, worker: SimulatedWorker, fate: str) -> None:
        for request in worker.running:
            request.end(fate, self.now)
        self.workers.remove(worker)
        for request in [request for request in self.waiting if request.named == worker.worker_id]:
            self.waiting.remove(request)
            request.end("refused", self.now)
        self.affinity = {session: home for session, home in self.affinity.items() if home != worker.worker_id}

    # ---- as placement sees it ---------------------------------------------------------------------------------------

    def _as_waiting(self) -> list[WaitingRequest]:
        return [request.as_waiting for request in self.waiting]

    def _as_placed(self) -> list[PlacedWorker]:
        return [
            PlacedWorker(
                worker.worker_id,
                worker.target,
                worker.state,
                worker.state_since,
                self.max_sequences,
                WorkerUse(
                    worker.num_running(Priority.INTERACTIVE),
                    worker.num_running(Priority.BACKGROUND),
                    len(worker.running),
                    worker.interactive_at,
                    worker.used_at,
                ),
                worker.is_unwanted,
                self.sizes.get(worker.target, 0),
                worker.target.model in self.pinned,
                self.load_s,
            )
            for worker in self.workers
        ]


def _is_in(members: frozenset[str], target: Target) -> bool:
    return bool(members & {target.model, target.label, f"{target.model}@{target.engine}"})


def sharing(mode: ResidencyMode, limit_bytes: int, *groups: tuple[str, ...]) -> Residency:
    """Return a residency, its groups named by their numbers."""
    named = tuple(Group(str(number), frozenset(members)) for number, members in enumerate(groups))
    return Residency(mode=mode, groups=named, limit_bytes=limit_bytes)
