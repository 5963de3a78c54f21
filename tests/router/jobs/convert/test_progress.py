"""Conversions wait while the machine is short of memory or hot, and say so."""

import asyncio
from pathlib import Path

import pytest

from backends.machine.base import ThermalState
from registry.errors import ModelNotFoundError
from registry.pull.events import Converting
from registry.store import Registry
from router.conditions import Conditions, PressureLevel
from router.jobs.conversions import Converter
from router.jobs.convert.progress import ConversionSteps
from router.jobs.convert.report import ConversionOptions
from tests.support.waiting import until


async def test_no_step_begins_until_memory_and_heat_are_normal_and_the_reason_is_told() -> None:
    conditions, told = Conditions(), list[Converting]()
    steps = ConversionSteps(told.append, conditions)
    conditions.set_suspended("by command")
    await steps.begin("one")
    conditions.set_pressure(PressureLevel.CRITICAL, "90 % in use")
    beginning = asyncio.create_task(steps.begin("two"))
    await until(lambda: len(told) == 2, "the reason is told")
    conditions.set_heat(ThermalState.SERIOUS, "zone 0 at 95 C")
    conditions.set_pressure(PressureLevel.NORMAL, "")
    await asyncio.sleep(0)
    assert not beginning.done()
    steps.tell("one", 0.5)  # what runs goes on, and is told
    conditions.set_heat(ThermalState.FAIR, "")
    await beginning
    assert [each.step for each in told] == [
        "one",
        "waiting, memory pressure (critical): 90 % in use",
        "one",
        "two",
    ]


async def test_a_conversion_that_is_asked_for_under_pressure_looks_at_its_model_after_it(tmp_path: Path) -> None:
    Registry(tmp_path / "registry.sqlite3").close()
    conditions, told = Conditions(), list[Converting]()
    conditions.set_pressure(PressureLevel.EMERGENCY, "no memory")
    converter = Converter(tmp_path / "registry.sqlite3", tmp_path, {}, conditions)
    converting = asyncio.create_task(converter.convert("none", ConversionOptions(), on_progress=told.append))
    await until(lambda: told, "the reason is told")
    assert told[0].step == "waiting, memory pressure (emergency): no memory"
    conditions.set_pressure(PressureLevel.NORMAL, "")
    with pytest.raises(ModelNotFoundError):
        await converting
