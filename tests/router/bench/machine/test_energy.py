"""RAPL on files as Linux has them; powermetrics on output as macOS writes it (written by hand, not captured there)."""

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from router.bench.machine import energy
from router.bench.machine.energy import PowermetricsMeter, RaplMeter, powermetrics_joules
from tests.support.waiting import WITHIN_S

POWERMETRICS = """Machine model: MacBookPro18,3
*** Sampled system activity (Sat Nov 21 18:00:00 2026 +0100) (500.00ms elapsed) ***
CPU Power: 3000 mW
GPU Power: 900 mW
Combined Power (CPU + GPU + ANE): 4000 mW
*** Sampled system activity (Sat Nov 21 18:00:01 2026 +0100) (2000.00ms elapsed) ***
Combined Power (CPU + GPU + ANE): 1500 mW
"""


def domain(folder: Path, name: str, energy_uj: int, range_uj: int = 1_000_000_000) -> Path:
    path = folder / name
    path.mkdir()
    (path / "max_energy_range_uj").write_text(f"{range_uj}\n")
    (path / "energy_uj").write_text(f"{energy_uj}\n")
    return path / "energy_uj"


def test_packages_are_summed_and_their_parts_are_not_counted_twice(tmp_path: Path) -> None:
    first, second = domain(tmp_path, "intel-rapl:0", 10), domain(tmp_path, "intel-rapl:1", 20)
    part = domain(tmp_path, "intel-rapl:0:0", 5)
    meter = RaplMeter(tmp_path)
    assert meter.is_readable
    first.write_text("2000010")
    second.write_text("1000020")
    part.write_text("1500000")
    assert meter.read_j() == pytest.approx(3.0)


def test_a_counter_that_overflows_goes_on(tmp_path: Path) -> None:
    energy = domain(tmp_path, "intel-rapl:0", 900_000_000)
    meter = RaplMeter(tmp_path)
    energy.write_text("100000000")
    assert meter.read_j() == pytest.approx(200.0)


def test_a_machine_that_does_not_tell_has_no_reading(tmp_path: Path) -> None:
    assert not RaplMeter(tmp_path).is_readable
    energy = domain(tmp_path, "intel-rapl:0", 1)
    energy.unlink()
    assert not RaplMeter(tmp_path).is_readable


def test_samples_of_powermetrics_are_power_times_time() -> None:
    assert list(powermetrics_joules(POWERMETRICS.splitlines())) == [pytest.approx(2.0), pytest.approx(3.0)]


def test_the_meter_sums_what_the_tool_writes_and_ends_it() -> None:
    script = f"import sys; sys.stdout.write({POWERMETRICS!r}); sys.stdout.flush(); sys.stdin.read()"

    def start() -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", script]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    with contextlib.closing(PowermetricsMeter(start)) as meter:
        assert meter.read_j() is not None
        process = meter._process
        assert process.stdin is not None
        process.stdin.close()
        meter._reader.join(WITHIN_S)
        assert meter._joules == pytest.approx(5.0)
    assert meter.read_j() is None


def test_samples_of_powermetrics_are_not_held_back_in_a_buffer() -> None:
    """Its output into a pipe would come in lumps, and be credited to the wrong block."""
    assert energy._POWERMETRICS[-2:] == ("-b", "1")
