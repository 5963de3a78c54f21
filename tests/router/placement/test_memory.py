from pathlib import Path

import pytest

from backends.machine.apple import ApplePlatform
from registry.engines import EngineKind
from router.placement.memory import MemoryBudget, read_budget, remember_working_set
from tests.support.fake_libsystem import M3_PRO, FakeLibSystem, sysctl_number, vm_statistics_bytes

GIB = 1 << 30


def mac(total_gib: int, wired_limit_mb: int = 0, *, is_cpu_wanted: bool = False) -> ApplePlatform:
    sysctls = {"hw.memsize": sysctl_number(total_gib * GIB, 8), "iogpu.wired_limit_mb": sysctl_number(wired_limit_mb)}
    library = FakeLibSystem(sysctls=M3_PRO | sysctls, pages=vm_statistics_bytes)
    return ApplePlatform(library, is_cpu_wanted=is_cpu_wanted)


@pytest.mark.parametrize(
    ("total_gib", "limit_mb", "expected"),
    [
        (16, 0, int(16 * GIB * 2 / 3)),  # an untouched Mac
        (32, 0, int(32 * GIB * 2 / 3)),
        (36, 0, 27 * GIB),  # recommendedMaxWorkingSetSize = 28991.03 MB
        (64, 0, 48 * GIB),
        (64, 57344, 56 * GIB),  # sudo sysctl iogpu.wired_limit_mb=57344
    ],
)
def test_the_wired_limit_is_what_was_set_or_the_systems_share(total_gib: int, limit_mb: int, expected: int) -> None:
    assert read_budget(system=mac(total_gib, limit_mb)).wired_limit_bytes == expected


def test_what_metal_said_goes_before_the_table_and_what_somebody_set_before_both(tmp_path: Path) -> None:
    file = tmp_path / "metal.json"
    said = int(107.52 * GIB)
    remember_working_set(file, said, mac(128))
    assert read_budget(file, mac(128)).wired_limit_bytes == said
    assert read_budget(file, mac(128, 100_000)).wired_limit_bytes == 100_000 << 20
    assert read_budget(file, mac(64)).wired_limit_bytes == 48 * GIB, "the folder has moved to another Mac"


def test_a_limit_of_somebodys_own_is_not_remembered_as_metals(tmp_path: Path) -> None:
    file = tmp_path / "metal.json"
    remember_working_set(file, 56 * GIB, mac(64, 57344))
    assert not file.exists()


def test_a_broken_file_is_written_anew_and_an_unwritable_one_is_no_error(tmp_path: Path) -> None:
    file = tmp_path / "metal.json"
    file.write_bytes(b'{"working_set_')
    assert read_budget(file, mac(64)).wired_limit_bytes == 48 * GIB
    remember_working_set(file, 50 * GIB, mac(64))
    assert read_budget(file, mac(64)).wired_limit_bytes == 50 * GIB
    remember_working_set(tmp_path / "no folder" / "metal.json", 50 * GIB, mac(64))


def test_metal_is_limited_and_the_cpu_is_not() -> None:
    budget = MemoryBudget(total_bytes=64 * GIB, available_bytes=60 * GIB, wired_limit_bytes=48 * GIB)
    assert (budget.available_for(EngineKind.MLX), budget.available_for(EngineKind.LLAMACPP)) == (48 * GIB, 60 * GIB)


def test_without_metal_there_is_no_limit() -> None:
    assert read_budget(system=mac(64, is_cpu_wanted=True)).wired_limit_bytes is None
    budget = read_budget()
    assert 0 < budget.available_bytes <= budget.total_bytes
