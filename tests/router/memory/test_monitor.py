"""The watch: what it writes, that it reads on a thread, and what is read here."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Sequence

import pytest

from backends.machine.apple import ApplePlatform
from backends.machine.base import Platform
from backends.machine.current import current_platform
from router.conditions import Conditions, ConditionsChange, PressureLevel
from router.config import Config, CurrentConfig
from router.config.memory import MemoryConfig
from router.memory.levels import MemoryReading, judged
from router.memory.monitor import MemoryMonitor
from router.memory.readings import own_bytes, read_memory
from tests.support.fake_libsystem import FakeLibSystem, sysctl_number

NO_SYSTEM: Platform = current_platform()


async def test_what_is_read_is_written_into_the_conditions_with_its_reason() -> None:
    conditions, told, shares = Conditions(), list[ConditionsChange](), [0.5, 0.9, 0.9]
    conditions.changed.add(told.append)
    threads = set[int]()

    def read(pids: Sequence[Sequence[int]], budget_bytes: int | None) -> MemoryReading:
        threads.add(threading.get_ident())
        assert (list(pids), budget_bytes) == ([[7]], 1 << 30)
        return MemoryReading(used_share=shares.pop(0))

    current = CurrentConfig(Config(memory=MemoryConfig(budget_bytes=1 << 30)))
    monitor = MemoryMonitor(current, conditions, NO_SYSTEM, lambda: [[7]], read=read, clock=lambda: 0.0)
    for _ in range(3):
        await monitor.look()
    assert [(each.pressure, each.reason) for each in told] == [("critical", "90% of the memory is in use")]
    assert monitor.state.level is PressureLevel.CRITICAL
    assert threading.get_ident() not in threads


async def test_a_look_that_fails_is_followed_by_another(caplog: pytest.LogCaptureFixture) -> None:
    seen = asyncio.Event()
    loop = asyncio.get_running_loop()
    results: list[OSError | MemoryReading] = [OSError("no such file"), MemoryReading(used_share=0.75)]

    def read(pids: Sequence[Sequence[int]], budget_bytes: int | None) -> MemoryReading:
        del pids, budget_bytes
        result = results.pop(0) if results else MemoryReading(used_share=0.75)
        if isinstance(result, OSError):
            raise result
        loop.call_soon_threadsafe(seen.set)
        return result

    current = CurrentConfig(Config(memory=MemoryConfig(interval_s=0.05)))
    conditions = Conditions()
    conditions.changed.add(lambda _: seen.set())
    task = asyncio.create_task(MemoryMonitor(current, conditions, NO_SYSTEM, list, read=read).run())
    await seen.wait()
    task.cancel()
    assert "memory could not be read: no such file" in caplog.text


def test_this_machine_is_read() -> None:
    reading = read_memory(current_platform(), [], None)
    assert reading.own_bytes is None
    assert reading.used_share is None if current_platform().has_own_level else 0 < (reading.used_share or 0) < 1
    assert reading.stall_share is None or 0 <= reading.stall_share <= 1


def test_mlxrs_own_memory_is_this_process_and_its_workers_with_mapped_files_once() -> None:
    """A child that has allocated 50 MB makes mlxr that much larger; the libraries of both are counted once."""
    code = "import sys; ballast = b'\\1' * 50_000_000; print('ready', flush=True); sys.stdin.read()"
    pipe, system = subprocess.PIPE, current_platform()
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        alone, both = own_bytes(system, []), own_bytes(system, [[process.pid]])
        own = system.footprint_of(os.getpid())
        assert own is not None
        assert alone == pytest.approx(own.rss_bytes, rel=0.1)
        assert 50_000_000 <= both - alone < 80_000_000
        process.communicate()
    assert own_bytes(system, [[process.pid]]) == pytest.approx(alone, rel=0.1), "who is gone has nothing"


@pytest.mark.parametrize(("level", "expected"), [(1, "normal"), (2, "critical"), (4, "emergency")])
def test_a_mac_is_read_by_its_own_level_and_not_by_what_is_in_use(level: int, expected: str) -> None:
    """By what macOS prints; not run on a Mac."""
    mac = ApplePlatform(FakeLibSystem(sysctls={"kern.memorystatus_vm_pressure_level": sysctl_number(level)}))
    reading = read_memory(mac, [], None)
    assert (reading.used_share, reading.stall_share) == (None, None)
    assert judged(reading, MemoryConfig()).level == expected
