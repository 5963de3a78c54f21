import os
import subprocess
import sys
from collections.abc import Sequence

import psutil
import pytest

from registry.engines import EngineKind
from router.placement import memory
from router.placement.memory import MemoryBudget, Run, wired_limit_bytes

GIB = 1 << 30
PC = memory.Machine(has_metal=False, is_arm=False)
_HOLDER = "import sys\nballast = b'\\1' * (40 << 20)\nprint('ready', flush=True)\nsys.stdin.read()"


def test_a_footprint_shows_what_a_process_has_allocated_and_nothing_after_its_end() -> None:
    with subprocess.Popen([sys.executable, "-c", _HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        footprint = memory.footprint_of(process.pid)
        rss_bytes = memory.rss_of(process.pid)
        assert footprint is not None
        assert footprint.anonymous_bytes >= 40 << 20
        assert footprint.rss_bytes >= footprint.anonymous_bytes
        assert rss_bytes is not None
        assert rss_bytes >= 40 << 20
        process.communicate()
    assert memory.footprint_of(process.pid) is None
    assert memory.rss_of(process.pid) is None


def test_the_machines_memory_is_the_systems_own_figure() -> None:
    assert 0 < memory.available_bytes() <= memory.total_bytes() == psutil.virtual_memory().total
    assert memory.rss_of(os.getpid()) is not None


def test_memory_of_a_process_that_ended_is_available_again_at_once() -> None:
    ballast_bytes = 400 << 20  # far above what the rest of the machine does meanwhile
    holder = f"import sys\nballast = b'\\1' * {ballast_bytes}\nprint('ready', flush=True)\nsys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        before_bytes = memory.available_bytes()
        process.communicate()
    assert memory.available_bytes() - before_bytes > ballast_bytes // 2


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
    budget = memory.read_budget(PC, run)
    assert asked == []
    assert budget.wired_limit_bytes is None
    assert 0 < budget.available_bytes <= budget.total_bytes == memory.total_bytes()
