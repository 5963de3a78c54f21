"""Several models at a time in any history: nobody busy goes, no memory is promised twice, everybody is served."""

import random

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from backends.wire.request import Priority
from registry.engines import Engine, EngineKind
from router.models.targets import LocalArtifact, Target
from router.placement.lifecycle import WorkerState
from router.placement.sharing import Residency
from router.placement.situation import PlacementLimits
from tests.support.fake_placement import SimulatedFleet, SimulatedRequest, sharing

SIZES = {
    Target("m", Engine(EngineKind.MLX), LocalArtifact(1, "/m")): 4,
    Target("m", Engine(EngineKind.LLAMACPP), LocalArtifact(2, "/m.gguf")): 4,
    Target("other", Engine(EngineKind.LLAMACPP), LocalArtifact(3, "/o.gguf")): 3,
    Target("small", Engine(EngineKind.LLAMACPP), LocalArtifact(4, "/s.gguf")): 1,
    Target("big", Engine(EngineKind.LLAMACPP), LocalArtifact(5, "/b.gguf")): 9,
}
TARGETS = tuple(SIZES)
MAX_SERVICE_S = 8.0
LIMITS = PlacementLimits(swap_max_wait_s=10.0, swap_drain_timeout_s=30.0, background_max_wait_s=60.0)
MODES = (
    Residency(),
    *(sharing("budget", limit) for limit in (3, 5, 8, 10, 30)),
    sharing("budget", 10, ("m@mlx", "m@llamacpp")),
    sharing("groups", 10, ("m", "small"), ("other", "small", "big")),
    sharing("groups", 10, ("m@mlx", "m@llamacpp", "small")),
    sharing("groups", 6, ("m", "other", "small"), ("big", "m")),
)


class SharingMachine(RuleBasedStateMachine):
    """Acts on a simulated fleet, which checks each decision by itself."""

    @initialize(residency=st.sampled_from(MODES), num_workers=st.integers(1, 2), pinned=st.sets(st.sampled_from("mos")))
    def begin(self, residency: Residency, num_workers: int, pinned: set[str]) -> None:
        limits = msgspec.structs.replace(LIMITS, residency=residency, num_workers=num_workers)
        self.fleet = SimulatedFleet(limits=limits, sizes=SIZES)
        self.fleet.pinned = {target.model for target in TARGETS if target.model[0] in pinned} - {"big"}
        self.num_modes = 0

    @rule(which=st.sampled_from(TARGETS), service_s=st.floats(0.0, MAX_SERVICE_S), priority=st.sampled_from(Priority))
    def submit(self, which: Target, service_s: float, priority: Priority) -> None:
        self.fleet.submit(which, service_s=service_s, priority=priority)

    @rule(duration_s=st.floats(0.01, 12.0))
    def advance(self, duration_s: float) -> None:
        self.fleet.advance(duration_s)

    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        if self.fleet.requests:
            self.fleet.withdraw(data.draw(st.sampled_from(self.fleet.requests)))

    @rule(index=st.integers(0, 3))
    def crash(self, index: int) -> None:
        self.fleet.crash(index)

    @rule(index=st.sampled_from([None, 0, 1, 2]))
    def stop_command(self, index: int | None) -> None:
        self.fleet.want_gone(index)

    @rule(name=st.sampled_from(["m", "other", "small"]))
    def pin_or_not(self, name: str) -> None:
        self.fleet.pinned ^= {name}
        self.fleet.settle()

    @invariant()
    def nobody_is_idle_while_somebody_waits(self) -> None:
        fleet = getattr(self, "fleet", None)
        if fleet is not None and fleet.waiting:
            assert fleet.next_moment() is not None

    @invariant()
    def the_mode_is_held(self) -> None:
        if (fleet := getattr(self, "fleet", None)) is not None:
            fleet.check_residency()

    def teardown(self) -> None:
        if (fleet := getattr(self, "fleet", None)) is None:
            return
        fleet.run_out()
        for request in fleet.requests:
            self.check(fleet, request)
        assert all(worker.state is WorkerState.READY for worker in fleet.workers)

    def check(self, fleet: SimulatedFleet, request: SimulatedRequest) -> None:
        assert request.fate is not None, "lost"
        assert request.fate != "cut", "no request here runs into the drain limit"
        ended_waiting_at = request.ended_at if request.dispatched_at is None else request.dispatched_at
        assert ended_waiting_at is not None
        # As where one is loaded at a time; and before each load another one may be under way, for who came later.
        cycle_s = 2 * fleet.load_s + fleet.unload_s + fleet.limits.swap_max_wait_s + 2 * MAX_SERVICE_S
        num_cycles = request.num_ahead + 2 + fleet.num_lost_loads
        ageing_s = fleet.limits.background_max_wait_s if request.priority is Priority.BACKGROUND else 0.0
        assert ended_waiting_at - request.arrived_at <= num_cycles * cycle_s + ageing_s


SharingMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
test_any_history = SharingMachine.TestCase


def two_agents(residency: Residency, *, load_s: float, think_s: float, seed: int = 0) -> SimulatedFleet:
    """Let two agents work on two models for ten minutes: a turn, a pause for their tools, the next turn."""
    rng, fleet = random.Random(seed), SimulatedFleet(limits=LIMITS, load_s=load_s, sizes=SIZES)
    fleet.limits = msgspec.structs.replace(
        fleet.limits, residency=msgspec.structs.replace(residency, needs=fleet.limits.residency.needs)
    )
    agents = {TARGETS[0]: 100.0, TARGETS[2]: 100.5}
    running: dict[Target, SimulatedRequest] = {}
    while fleet.now < 700.0:
        fleet.advance(0.25)
        for target, next_at in agents.items():
            turn = running.get(target)
            if turn is not None and turn.ended_at is not None:
                agents[target] = turn.ended_at + rng.uniform(0.5, 1.5) * think_s
                del running[target]
            elif turn is None and fleet.now >= next_at:
                running[target] = fleet.submit(target, service_s=rng.uniform(1.0, 4.0))
    return fleet


def waits_of(fleet: SimulatedFleet) -> list[float]:
    return [each.dispatched_at - each.arrived_at for each in fleet.requests if each.dispatched_at is not None]


@pytest.mark.parametrize("think_s", [0.5, 2.0])
def test_two_agents_on_two_models_that_fit_never_swap(think_s: float) -> None:
    fleet = two_agents(sharing("budget", 10), load_s=5.0, think_s=think_s)
    assert len(fleet.loads) == 2
    assert fleet.stopped == []
    assert max(waits_of(fleet)) <= 2 * 5.0 + 1.0, "the loads at the beginning"


@pytest.mark.parametrize("think_s", [0.5, 2.0])
def test_two_agents_on_two_models_that_do_not_fit_have_several_turns_for_each_swap(think_s: float) -> None:
    """Where one is loaded at a time without rest, each pause of one agent is the other one's swap."""
    tight = two_agents(sharing("budget", 5), load_s=5.0, think_s=think_s)
    alone = two_agents(Residency(), load_s=5.0, think_s=think_s)
    turns, turns_alone = (sum(each.fate == "served" for each in fleet.requests) for fleet in (tight, alone))
    assert turns / len(tight.loads) >= 1.5 * turns_alone / len(alone.loads), "fewer swaps for the same work"
    assert turns > turns_alone
    cycle_s = 2 * (5.0 + 1.0) + LIMITS.swap_max_wait_s + 4.0
    assert max(waits_of(tight)) <= cycle_s, "and nobody waits for longer than the other one's time and two loads"
