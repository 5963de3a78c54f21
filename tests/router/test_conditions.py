"""Conditions: who is told, and what stands still."""

from itertools import product

import pytest

from backends.machine.base import ThermalState
from router.conditions import Conditions, ConditionsChange, PressureLevel


def test_a_change_is_told_once_with_its_reason() -> None:
    conditions, told = Conditions(), list[ConditionsChange]()
    conditions.changed.add(told.append)
    conditions.set_pressure(PressureLevel.WARNING, "72 % in use")
    conditions.set_pressure(PressureLevel.WARNING, "73 % in use")
    conditions.set_heat(ThermalState.FAIR, "zone 0 at 80 C")
    assert [(each.pressure, each.heat, each.reason) for each in told] == [
        ("warning", "nominal", "72 % in use"),
        ("warning", "fair", "zone 0 at 80 C"),
    ]


@pytest.mark.parametrize(("pressure", "heat"), list(product(PressureLevel, ThermalState)))
def test_background_work_stands_still_where_either_is_bad(pressure: PressureLevel, heat: ThermalState) -> None:
    conditions = Conditions()
    conditions.set_pressure(pressure, "")
    conditions.set_heat(heat, "")
    assert conditions.is_background_paused == (pressure in {"critical", "emergency"} or heat in {"serious", "critical"})
