"""Heat by files as Linux has them, written here: the machine of these tests need not have any."""

from pathlib import Path

import pytest

from backends.machine.base import ThermalState
from backends.machine.linux import LinuxPlatform
from backends.machine.thermal import ThermalFiles, ThermalZone, state_of_throttling, state_of_zone

LAPTOP = {"active": 55.0, "passive": 80.0, "critical": 105.0}
DESKTOP = {"critical": 100.0}
BOARD = {"passive": 75.0, "hot": 85.0, "critical": 110.0}


@pytest.mark.parametrize(
    ("trips", "celsius", "expected"),
    [
        (LAPTOP, 54, "nominal"),
        (LAPTOP, 55, "fair"),
        (LAPTOP, 80, "serious"),
        (LAPTOP, 99, "serious"),
        (LAPTOP, 100, "critical"),
        (DESKTOP, 74, "nominal"),
        (DESKTOP, 75, "fair"),
        (DESKTOP, 85, "serious"),
        (DESKTOP, 95, "critical"),
        (BOARD, 69, "nominal"),
        (BOARD, 70, "fair"),
        (BOARD, 75, "serious"),
        (BOARD, 85, "critical"),
        ({}, 90, "nominal"),
        ({"active": 50.0}, 90, "fair"),
    ],
)
def test_a_zone_is_judged_by_its_own_trip_points(trips: dict[str, float], celsius: float, expected: str) -> None:
    assert state_of_zone(ThermalZone("z", celsius, trips)) == expected


def test_throttling_is_judged_by_the_time_that_it_took() -> None:
    assert state_of_throttling(0, 0.0) is ThermalState.NOMINAL
    assert state_of_throttling(1, 0.01) is ThermalState.FAIR
    assert state_of_throttling(3, None) is ThermalState.FAIR
    assert state_of_throttling(1, 0.1) is ThermalState.SERIOUS


def write_zone(folder: Path, number: int, name: str, milli: str, **trips: int) -> Path:
    zone = folder / f"thermal_zone{number}"
    zone.mkdir(parents=True, exist_ok=True)
    (zone / "type").write_text(f"{name}\n")
    (zone / "temp").write_text(f"{milli}\n")
    (zone / "mode").write_text("enabled\n")
    for index, (kind, temp) in enumerate(trips.items()):
        (zone / f"trip_point_{index}_temp").write_text(f"{temp}\n")
        (zone / f"trip_point_{index}_type").write_text(f"{kind.rstrip('_')}\n")
    return zone


def write_core(folder: Path, number: int, count: int, total_ms: int | None = None) -> None:
    core = folder / f"cpu{number}" / "thermal_throttle"
    core.mkdir(parents=True, exist_ok=True)
    (core / "core_throttle_count").write_text(f"{count}\n")
    if total_ms is not None:
        (core / "core_throttle_total_time_ms").write_text(f"{total_ms}\n")


def test_the_hottest_zone_decides_and_is_named(tmp_path: Path) -> None:
    write_zone(tmp_path, 0, "acpitz", "27800", critical=119_000)
    write_zone(tmp_path, 1, "x86_pkg_temp", "82000", passive=80_000, passive_=-273_200)
    reading = ThermalFiles(tmp_path / "none", tmp_path).read()
    assert reading is not None
    assert (reading.state, reading.reason) == ("serious", "x86_pkg_temp is at 82 °C")


def test_zones_that_do_not_answer_are_off_or_say_nonsense_are_left_out(tmp_path: Path) -> None:
    write_zone(tmp_path, 0, "wifi", "", critical=100_000)
    write_zone(tmp_path, 1, "absolute-zero", "-274000", critical=100_000)
    (write_zone(tmp_path, 2, "off", "99000", critical=100_000) / "mode").write_text("disabled\n")
    write_zone(tmp_path, 3, "no-trips", "99000")
    write_zone(tmp_path, 4, "unset-trips", "99000", passive=0, critical=-274_000)
    assert ThermalFiles(tmp_path / "none", tmp_path).read() is None


def test_throttle_counters_count_from_the_first_look_on(tmp_path: Path) -> None:
    now = [0.0]
    files = ThermalFiles(tmp_path, tmp_path / "none", clock=lambda: now[0])
    write_core(tmp_path, 0, 1000, 50_000)
    write_core(tmp_path, 1, 0, 0)
    states, reasons = [], list[str]()
    for count, total_ms in ((1000, 50_000), (1001, 50_010), (1002, 52_000), (1002, 52_000), (5, 10)):
        write_core(tmp_path, 0, count, total_ms)
        reading = files.read()
        assert reading is not None
        states.append(reading.state.value)
        reasons.append(reading.reason)
        now[0] += 10
    assert states == ["nominal", "fair", "serious", "nominal", "nominal"]
    assert reasons[-1] == "cores were slowed down for heat 0 times in 10 s, the worst for 0% of it"


def test_counters_without_times_are_enough_for_fair(tmp_path: Path) -> None:
    files = ThermalFiles(tmp_path, tmp_path / "none")
    for count in (1, 2):
        write_core(tmp_path, 0, count)
        reading = files.read()
    assert reading is not None
    assert reading.state is ThermalState.FAIR


def test_the_platform_reads_both_and_tells_the_zones_for_the_doctor(tmp_path: Path) -> None:
    write_zone(tmp_path, 0, "cpu", "50000", passive=90_000)
    system = LinuxPlatform(tmp_path / "none", zones_dir=tmp_path)
    reading = system.thermal()
    assert reading is not None
    assert reading.state is ThermalState.NOMINAL
    assert system.readings()["thermal_zones"] == [ThermalZone("cpu", 50.0, {"passive": 90.0})]
    assert LinuxPlatform(tmp_path / "none", zones_dir=tmp_path / "none").thermal() is None
