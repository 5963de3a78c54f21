import subprocess
from collections.abc import Sequence

import pytest

from registry.engines import EngineKind
from router.placement import readings as memory
from router.placement.budget import MemoryBudget, Run, read_budget, wired_limit_bytes

GIB = 1 << 30


def recorded(output: str) -> tuple[list[Sequence[str]], Run]:
    asked: list[Sequence[str]] = []

    def run(argv: Sequence[str]) -> str:
        asked.append(argv)
        return output

    return asked, run


@pytest.mark.parametrize(
    ("total_gib", "output", "expected"),
    [
        (16, "0\n", int(16 * GIB * 2 / 3)),  # an untouched Mac
        (64, "0\n", 48 * GIB),
        (64, "57344\n", 56 * GIB),  # sudo sysctl iogpu.wired_limit_mb=57344
        (64, "", 48 * GIB),
    ],
)
def test_the_wired_limit_is_what_was_set_or_the_systems_share(total_gib: int, output: str, expected: int) -> None:
    asked, run = recorded(output)
    assert wired_limit_bytes(total_gib * GIB, run) == expected
    assert asked == [["sysctl", "-n", "iogpu.wired_limit_mb"]]


def test_a_system_without_the_setting_has_the_default() -> None:
    def run(argv: Sequence[str]) -> str:
        raise subprocess.CalledProcessError(1, argv, stderr="sysctl: unknown oid 'iogpu.wired_limit_mb'")

    assert wired_limit_bytes(64 * GIB, run) == 48 * GIB


def test_metal_is_limited_and_the_cpu_is_not() -> None:
    budget = MemoryBudget(total_bytes=64 * GIB, available_bytes=60 * GIB, wired_limit_bytes=48 * GIB)
    assert (budget.available_for(EngineKind.MLX), budget.available_for(EngineKind.LLAMACPP)) == (48 * GIB, 60 * GIB)


def test_without_metal_nobody_is_asked_for_a_limit() -> None:
    asked, run = recorded("0")
    budget = read_budget(has_metal=False, run=run)
    assert asked == []
    assert budget.wired_limit_bytes is None
    assert 0 < budget.available_bytes <= budget.total_bytes == memory.total_bytes()
