"""The doctor's question about the machine's heat."""

from typing import Final

from backends.machine.base import Platform, ThermalState
from backends.machine.current import current_platform
from router.cli.doctor.check import Check

_HOT: Final = frozenset({ThermalState.SERIOUS, ThermalState.CRITICAL})


def check_heat(system: Platform | None = None) -> Check:
    """Tell how hot the machine is, and by what that is known."""
    reading = (system or current_platform()).thermal()
    if reading is None:
        return Check("heat", "note", "this machine does not tell how hot it is; nothing is done about it")
    words = f"{reading.state}: {reading.reason}"
    if reading.state in _HOT:
        return Check("heat", "warning", f"{words}; background work stands still until it is cooler")
    return Check("heat", "ok", words)
