from pathlib import Path

from backends.machine.linux import LinuxPlatform
from router.cli.doctor.heat import check_heat
from tests.backends.machine.test_thermal import write_zone


def test_the_doctor_tells_heat_and_its_reading(tmp_path: Path) -> None:
    nothing = check_heat(LinuxPlatform(tmp_path / "none", zones_dir=tmp_path / "none"))
    assert (nothing.state, "does not tell" in nothing.found) == ("note", True)
    for milli, state in (("50000", "ok"), ("91000", "warning")):
        write_zone(tmp_path, 0, "cpu", milli, passive=90_000)
        check = check_heat(LinuxPlatform(tmp_path / "none", zones_dir=tmp_path))
        assert check.state == state
        assert "cpu is at" in check.found
