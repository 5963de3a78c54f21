"""The watch over heat: what it writes, and what follows for requests."""

import asyncio
import threading

from backends.machine.base import ThermalReading, ThermalState
from router.conditions import Conditions
from router.config import Config, CurrentConfig
from router.heat import Heat, HeatMonitor, next_heat
from router.placement.lifecycle import WorkerState
from tests.support.fake_fleet import FakeFleet, with_fleet

SERIOUS = ThermalReading(ThermalState.SERIOUS, "hot")
FAIR = ThermalReading(ThermalState.FAIR, "warm")


def test_heat_rises_at_once_and_falls_after_it_was_cooler_for_a_while() -> None:
    heat = next_heat(Heat(), SERIOUS, 30.0, 100.0)
    assert heat == Heat(ThermalState.SERIOUS, "hot", 100.0)
    assert next_heat(heat, FAIR, 30.0, 129.0) == heat
    again = next_heat(heat, SERIOUS, 30.0, 129.0)
    assert next_heat(again, FAIR, 30.0, 158.0) == again
    assert next_heat(again, FAIR, 30.0, 159.0).state is ThermalState.FAIR


async def test_what_is_read_on_a_thread_is_written_into_the_conditions() -> None:
    conditions, threads = Conditions(), set[int]()

    def read() -> ThermalReading | None:
        threads.add(threading.get_ident())
        return SERIOUS

    monitor = HeatMonitor(CurrentConfig(Config()), conditions, read, clock=lambda: 0.0)
    await monitor.look()
    assert (conditions.heat, conditions.is_background_paused) == (ThermalState.SERIOUS, True)
    assert (monitor.status.state, monitor.status.reason) == ("serious", "hot")
    assert threading.get_ident() not in threads


async def test_a_system_that_does_not_tell_changes_nothing() -> None:
    conditions = Conditions()
    monitor = HeatMonitor(CurrentConfig(Config()), conditions, lambda: None)
    await monitor.look()
    assert monitor.status.state is None
    assert conditions.heat is ThermalState.NOMINAL


@with_fleet()
async def test_answers_are_let_in_one_at_a_time_while_the_heat_is_critical(fleet: FakeFleet) -> None:
    await fleet.answer()
    fleet.hold("decode")
    fleet.conditions.set_heat(ThermalState.CRITICAL, "hot")
    first, second = (asyncio.create_task(fleet.answer()) for _ in range(2))
    await fleet.until(lambda: len(fleet.supervisor.waiting) == 1, "one waits")
    assert fleet.holder is not None
    assert (fleet.holder.state, fleet.holder.use.num_running) == (WorkerState.READY, 1)
    fleet.conditions.set_heat(ThermalState.SERIOUS, "less hot")
    await fleet.until(lambda: not fleet.supervisor.waiting, "both run")
    fleet.let_go("decode")
    assert await first
    assert await second
