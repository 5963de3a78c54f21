"""Placement in any history: arrivals of both classes, departures, crashes, commands, replicas."""

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from backends.wire.request import Priority
from registry.engines import Engine, EngineKind
from router.models.targets import LocalArtifact, Target
from router.placement.lifecycle import WorkerState
from router.placement.situation import PlacementLimits
from tests.support.fake_placement import SimulatedFleet, SimulatedRequest

TARGETS = (
    Target("m", Engine(EngineKind.MLX), LocalArtifact(1, "/m")),
    Target("m", Engine(EngineKind.LLAMACPP), LocalArtifact(2, "/m.gguf")),
    Target("other", Engine(EngineKind.LLAMACPP), LocalArtifact(3, "/o.gguf")),
)
MAX_SERVICE_S = 8.0
LIMITS = PlacementLimits(swap_max_wait_s=10.0, swap_drain_timeout_s=30.0, background_max_wait_s=60.0)


def test_a_stream_of_interactive_requests_keeps_background_work_for_another_model_out_until_it_has_aged() -> None:
    """The conversation never pauses for as long as swap_max_wait_s."""
    fleet = SimulatedFleet(limits=LIMITS)
    fleet.submit(TARGETS[0], service_s=1.0)
    job = fleet.submit(TARGETS[1], service_s=1.0, priority=Priority.BACKGROUND)
    for _ in range(50):
        fleet.advance(2.0)
        fleet.submit(TARGETS[0], service_s=1.0)
    fleet.run_out()
    assert job.dispatched_at is not None
    assert 60.0 <= job.dispatched_at - job.arrived_at <= 60.0 + 10.0
    assert fleet.loads == [TARGETS[0], TARGETS[1], TARGETS[0]]
    assert {request.fate for request in fleet.requests} == {"served"}


def test_interactive_requests_are_taken_at_once_whatever_runs_in_the_background() -> None:
    fleet = SimulatedFleet(limits=LIMITS)
    jobs = [fleet.submit(TARGETS[0], service_s=50.0, priority=Priority.BACKGROUND) for _ in range(20)]
    fleet.advance(5.0)
    assert sum(job.dispatched_at is not None for job in jobs) == 4
    chat = fleet.submit(TARGETS[0])
    assert chat.dispatched_at == fleet.now
    fleet.run_out()
    assert {request.fate for request in fleet.requests} == {"served"}


def test_background_work_is_let_in_although_interactive_requests_fill_every_batch() -> None:
    """The batch never has two places at a time, which this work needs."""
    fleet = SimulatedFleet(limits=LIMITS)
    job = None
    for number in range(400):
        fleet.submit(TARGETS[0], service_s=1.5)
        if number == 20:
            job = fleet.submit(TARGETS[0], num_sequences=2, service_s=1.0, priority=Priority.BACKGROUND)
        fleet.advance(0.25)
    fleet.run_out()
    assert job is not None
    assert job.dispatched_at is not None
    assert job.dispatched_at - job.arrived_at == 60.0


def test_a_session_stays_with_its_worker_while_that_has_a_place() -> None:
    fleet = SimulatedFleet(limits=msgspec.structs.replace(LIMITS, num_workers=3), max_sequences=2)
    fleet.submit(TARGETS[0])
    fleet.advance(20.0)
    turns: list[SimulatedRequest] = []
    for _ in range(6):
        turns += [fleet.submit(TARGETS[0], session_id=name) for name in ("a", "b", "c")]
        fleet.advance(5.0)
    by_session = {name: {turn.worker_id for turn in turns if turn.session_id == name} for name in ("a", "b", "c")}
    assert all(len(ids) == 1 for ids in by_session.values())
    assert len(set[int | None]().union(*by_session.values())) == 3, "and the sessions are spread"


class FleetMachine(RuleBasedStateMachine):
    """Any order of arrivals, departures, crashes and commands."""

    @initialize(
        max_wait_s=st.sampled_from([0.0, 1.0, 5.0]),
        age_s=st.sampled_from([0.0, 3.0, 40.0]),
        load_s=st.sampled_from([0.0, 0.5, 9.0]),
        room=st.integers(1, 5),
        num_workers=st.integers(1, 3),
    )
    def start(self, max_wait_s: float, age_s: float, load_s: float, room: int, num_workers: int) -> None:
        limits = PlacementLimits(max_wait_s, 30.0, age_s, num_workers)
        self.fleet = SimulatedFleet(limits=limits, load_s=load_s, max_sequences=room)

    @rule(
        wanted=st.sampled_from(TARGETS),
        num_sequences=st.sampled_from([1, 1, 1, 2, 3, 9, 0]),
        service_s=st.floats(0.1, MAX_SERVICE_S),
        priority=st.sampled_from(Priority),
        session_id=st.sampled_from([None, "a", "b"]),
    )
    def submit(
        self, wanted: Target, num_sequences: int, service_s: float, priority: Priority, session_id: str | None
    ) -> None:
        self.fleet.submit(
            wanted, num_sequences=num_sequences, service_s=service_s, priority=priority, session_id=session_id
        )

    @rule(index=st.integers(0, 2), num_sequences=st.sampled_from([1, 2, 9, 0]), priority=st.sampled_from(Priority))
    def submit_to_one(self, index: int, num_sequences: int, priority: Priority) -> None:
        """Somebody wants one of the workers."""
        if index < len(self.fleet.workers):
            worker = self.fleet.workers[index]
            if worker.state is not WorkerState.STOPPING:
                self.fleet.submit(worker.target, num_sequences=num_sequences, priority=priority, named=worker.worker_id)

    @rule(duration_s=st.floats(0.01, 12.0))
    def advance(self, duration_s: float) -> None:
        self.fleet.advance(duration_s)

    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        if self.fleet.requests:
            self.fleet.withdraw(data.draw(st.sampled_from(self.fleet.requests)))

    @rule(index=st.integers(0, 2))
    def crash(self, index: int) -> None:
        self.fleet.crash(index)

    @rule(index=st.sampled_from([None, 0, 1, 2]))
    def stop_command(self, index: int | None) -> None:
        """A command ends all workers, too much memory one."""
        self.fleet.want_gone(index)

    @invariant()
    def nobody_is_idle_while_somebody_waits(self) -> None:
        """Whoever waits has a reason: something loads, ends, runs, or will change at a known time."""
        fleet = getattr(self, "fleet", None)
        if fleet is not None and fleet.waiting:
            assert fleet.next_moment() is not None

    @invariant()
    def workers_have_one_target(self) -> None:
        fleet = getattr(self, "fleet", None)
        if fleet is not None:
            assert len({worker.target for worker in fleet.workers}) <= 1
            assert len(fleet.workers) <= fleet.limits.num_workers

    def teardown(self) -> None:
        fleet = getattr(self, "fleet", None)
        if fleet is None:
            return
        fleet.run_out()
        for request in fleet.requests:
            self.check(fleet, request)
        # A load serves somebody, was in vain for one of the reasons counted, or was overtaken by an interactive
        # request, which the next load serves.
        assert len(fleet.loads) <= 2 * len(fleet.requests) + fleet.num_lost_loads
        wanted = [worker for worker in fleet.workers if not worker.is_unwanted]
        assert all(worker.state is WorkerState.READY for worker in fleet.workers)
        assert len(wanted) in {0, fleet.limits.num_workers}, "replaced, unless all are gone"

    def check(self, fleet: SimulatedFleet, request: SimulatedRequest) -> None:
        assert request.fate is not None, "lost"
        assert request.fate != "cut" or request.num_sequences == 0, "no request here runs into the drain limit"
        ended_waiting_at = request.ended_at if request.dispatched_at is None else request.dispatched_at
        assert ended_waiting_at is not None
        # Each load serves at least one of those ahead, or was in vain because a client left or a worker crashed.
        cycle_s = fleet.load_s + fleet.unload_s + fleet.limits.swap_max_wait_s + 2 * MAX_SERVICE_S
        num_cycles = request.num_ahead + 2 + fleet.num_lost_loads
        ageing_s = fleet.limits.background_max_wait_s if request.priority is Priority.BACKGROUND else 0.0
        assert ended_waiting_at - request.arrived_at <= num_cycles * cycle_s + ageing_s


FleetMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
test_any_history = FleetMachine.TestCase
