"""Levels of pressure: what a reading asks for, and that readings that go up and down make no thrash."""

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.machine.base import Pressure
from router.conditions import PressureLevel
from router.config.memory import MemoryConfig
from router.memory.levels import MemoryReading, PressureState, judged, next_state

CONFIG = MemoryConfig()
LEVELS = list(PressureLevel)
NORMAL, WARNING, CRITICAL, EMERGENCY = LEVELS


def states(readings: Iterable[tuple[float, MemoryReading]]) -> list[PressureState]:
    """Return the state after each reading; the times are monotonic seconds."""
    state, found = PressureState(), []
    for now, reading in readings:
        state = next_state(state, reading, CONFIG, now)
        found.append(state)
    return found


def used(share: float) -> MemoryReading:
    return MemoryReading(used_share=share)


@pytest.mark.parametrize(
    ("reading", "level", "words"),
    [
        (used(0.0), NORMAL, "0% of the memory"),
        (used(0.699), NORMAL, "70% of the memory"),
        (used(0.70), WARNING, "70%"),
        (used(0.85), WARNING, "85%"),
        (used(0.851), CRITICAL, "85%"),
        (used(1.0), CRITICAL, "100%"),
        (MemoryReading(used_share=0.1, own_bytes=71, budget_bytes=100), WARNING, "71% of memory.budget_bytes"),
        (MemoryReading(used_share=0.1, own_bytes=130, budget_bytes=100), CRITICAL, "130% of memory.budget_bytes"),
        (MemoryReading(used_share=0.9, own_bytes=1, budget_bytes=100), CRITICAL, "90% of the memory"),
        (MemoryReading(used_share=0.1, stall_share=0.09), NORMAL, "10%"),
        (MemoryReading(used_share=0.1, stall_share=0.10), CRITICAL, "waited for memory in 10%"),
        (MemoryReading(used_share=0.1, stall_share=0.40), EMERGENCY, "waited for memory in 40%"),
        (MemoryReading(system=Pressure.NORMAL), NORMAL, "enough"),
        (MemoryReading(system=Pressure.WARNING), CRITICAL, "warns"),
        (MemoryReading(system=Pressure.CRITICAL), EMERGENCY, "critically"),
        (MemoryReading(), NORMAL, "enough"),
    ],
)
def test_a_reading_asks_for_a_level_and_says_why(reading: MemoryReading, level: PressureLevel, words: str) -> None:
    asked = judged(reading, CONFIG)
    assert asked.level is level
    assert words in asked.reason


def test_a_mac_is_judged_by_its_own_level_and_the_budget_alone() -> None:
    """A healthy Mac has over 80 % in use: readings there come without that share."""
    assert judged(MemoryReading(system=Pressure.NORMAL, own_bytes=90, budget_bytes=100), CONFIG).level is CRITICAL


def test_a_level_rises_at_once_and_falls_after_a_while_of_better_readings() -> None:
    found = states([(0, used(0.5)), (5, used(0.9)), (10, used(0.5)), (34.9, used(0.5)), (35, used(0.5))])
    assert [state.level for state in found] == [NORMAL, CRITICAL, CRITICAL, CRITICAL, NORMAL]
    assert found[-1].reason == "50% of the memory is in use"


def test_a_level_falls_to_the_highest_that_was_read_meanwhile() -> None:
    found = states([(0, used(0.9)), (5, used(0.75)), (10, used(0.1)), (30, used(0.1))])
    assert (found[-1].level, found[-1].reason) == (WARNING, "75% of the memory is in use")


def test_what_stays_critical_becomes_an_emergency() -> None:
    found = states([(now, used(0.9)) for now in range(0, 66, 5)])
    assert [state.level for state in found] == [CRITICAL] * 12 + [EMERGENCY] * 2
    assert found[-1].reason == "critical for 60 s; 90% of the memory is in use"
    assert found[-1].since == 60


def test_an_emergency_that_is_over_begins_anew() -> None:
    readings = [(now, used(0.9)) for now in range(0, 66, 5)] + [(now, used(0.1)) for now in range(70, 101, 5)]
    found = states([*readings, (105, used(0.9))])
    assert [state.level for state in found[-4:]] == [EMERGENCY, NORMAL, NORMAL, CRITICAL]


@given(st.lists(st.sampled_from([0.2, 0.69, 0.75, 0.86, 0.99]), min_size=1, max_size=600))
def test_readings_that_go_up_and_down_ten_times_a_second_change_little(shares: list[float]) -> None:
    """At most two falls a minute, whatever is read; and never a level below what was just asked for."""
    times = [number / 10 for number in range(len(shares))]
    found = states(zip(times, map(used, shares), strict=True))
    for share, state in zip(shares, found, strict=True):
        assert LEVELS.index(state.level) >= LEVELS.index(judged(used(share), CONFIG).level)
    falls = [
        now
        for now, (one, other) in zip(times[1:], itertools.pairwise(found), strict=True)
        if LEVELS.index(other.level) < LEVELS.index(one.level)
    ]
    assert all(later - earlier >= CONFIG.calm_s for earlier, later in itertools.pairwise([0.0, *falls]))


@given(
    st.lists(
        st.builds(
            MemoryReading,
            used_share=st.none() | st.floats(0, 1),
            stall_share=st.none() | st.floats(0, 1),
            system=st.none() | st.sampled_from(Pressure),
            own_bytes=st.none() | st.integers(0, 1 << 40),
            budget_bytes=st.none() | st.integers(1 << 20, 1 << 40),
        ),
        max_size=60,
    )
)
def test_after_calm_readings_every_history_ends_in_normal(history: list[MemoryReading]) -> None:
    times = range(0, 5 * len(history), 5)
    calm = [(5.0 * (len(history) + number), used(0.1)) for number in range(60)]
    assert states([*zip(times, history, strict=True), *calm])[-1].level is NORMAL
