"""Apple's structures and calls, over a library that answers as the headers say. Nothing here was recorded on a Mac."""

import ctypes
import mmap
import os
import struct
from pathlib import Path
from typing import Any

import psutil
import pytest

from backends.machine import apple
from backends.machine.apple import ApplePlatform
from backends.machine.apple_structures import RUsageV4, VMStatistics64
from backends.machine.base import Footprint, GPUUse, Pressure
from tests.support.fake_libsystem import (
    M3_PRO,
    FakeLibSystem,
    rusage_bytes,
    sysctl_number,
    sysctl_text,
    vm_statistics_bytes,
)

GIB = 1 << 30
ACCELERATOR = Path(__file__).parents[2] / "support" / "mac" / "ioreg_accelerator.txt"
"""Written by hand."""
PAGE = mmap.PAGESIZE


def platform(sysctls: dict[str, bytes] | None = None, **answers: Any) -> ApplePlatform:
    return ApplePlatform(FakeLibSystem(sysctls=M3_PRO | (sysctls or {}), **answers))


def test_the_structures_have_apples_sizes() -> None:
    assert ctypes.sizeof(RUsageV4) == 296 == len(rusage_bytes(resident=0, footprint=0, peak=0))
    assert ctypes.sizeof(VMStatistics64) == 152 == len(vm_statistics_bytes())


@pytest.mark.parametrize(
    ("resident", "footprint", "expected"),
    [
        (130 << 20, 5 * GIB, Footprint(5 * GIB, 5 * GIB)),  # mlx: Metal's buffers are not resident
        (5 * GIB, 400 << 20, Footprint(5 * GIB, 400 << 20)),  # llamacpp: the weights are a mapped file
    ],
)
def test_a_footprint_has_metals_memory_and_mapped_files(resident: int, footprint: int, expected: Footprint) -> None:
    usage = rusage_bytes(resident=resident, footprint=footprint, peak=6 * GIB)
    mac = platform(usage_of={4711: usage}.get)
    assert mac.footprint_of(4711) == expected
    assert mac.peak_bytes_of(4711) == 6 * GIB
    assert mac.footprint_of(1) is None
    assert mac.peak_bytes_of(1) is None


def test_available_is_what_activity_monitor_does_not_call_used() -> None:
    # 24 GB, "App 7.67, Wired 2.95, Compressed 8.38": psutil's inactive + free would say almost nothing is available.
    pages = vm_statistics_bytes(
        free=4000,
        internal=(767 * GIB // 100 + GIB) // PAGE,
        purgeable=GIB // PAGE,
        wire=295 * GIB // 100 // PAGE,
        compressor=838 * GIB // 100 // PAGE,
        external=3 * GIB // PAGE,
        uncompressed=20 * GIB // PAGE,
    )
    memory = platform({"hw.memsize": sysctl_number(24 * GIB, 8)}, pages=lambda: pages).memory()
    assert memory.total_bytes == 24 * GIB
    assert memory.available_bytes == pytest.approx(5 * GIB, abs=0.01 * GIB)
    assert memory.held_bytes == pytest.approx(30.62 * GIB, abs=0.01 * GIB)


def test_what_is_held_falls_by_a_footprint_though_its_pages_were_compressed() -> None:
    """An idle model of 5 GB on a busy Mac: 4 GB of it are compressed to 1 GB, and its end frees 2 GB."""
    before = vm_statistics_bytes(internal=8 * GIB // PAGE, compressor=2 * GIB // PAGE, uncompressed=6 * GIB // PAGE)
    after = vm_statistics_bytes(internal=7 * GIB // PAGE, compressor=1 * GIB // PAGE, uncompressed=2 * GIB // PAGE)
    first, second = platform(pages=lambda: before).memory(), platform(pages=lambda: after).memory()
    assert second.available_bytes - first.available_bytes == 2 * GIB
    assert first.held_bytes - second.held_bytes == 5 * GIB


def test_a_kernel_that_refuses_the_statistics_leaves_psutils() -> None:
    memory = platform(pages=lambda: None).memory()
    assert (memory.total_bytes, memory.held_bytes) == (36 * GIB, 36 * GIB - memory.available_bytes)
    assert 0 < memory.available_bytes <= psutil.virtual_memory().total


def test_page_ins_of_mapped_files_are_no_swap() -> None:
    pages = vm_statistics_bytes(pageins=5 * GIB // PAGE, swapins=3, swapouts=4)
    assert platform(pages=lambda: pages).swapped_bytes() == 7 * PAGE


@pytest.mark.parametrize(
    ("level", "expected"), [(1, Pressure.NORMAL), (2, Pressure.WARNING), (4, Pressure.CRITICAL), (3, None)]
)
def test_pressure_is_the_systems_own_judgement(level: int, expected: Pressure | None) -> None:
    assert platform({"kern.memorystatus_vm_pressure_level": sysctl_number(level)}).pressure() is expected


def test_a_wired_limit_is_one_that_somebody_has_set() -> None:
    assert platform().wired_limit_bytes() is None
    assert platform({"iogpu.wired_limit_mb": sysctl_number(57344, 8)}).wired_limit_bytes() == 56 * GIB
    assert ApplePlatform(FakeLibSystem(sysctls={})).wired_limit_bytes() is None


def test_no_throttling_is_claimed_only_where_the_system_tells() -> None:
    assert platform(thermal_level=None).num_throttled() is None
    cool = platform(thermal_level=1)
    assert (cool.num_throttled(), cool.num_throttled()) == (0, 0)
    hot = platform(thermal_level=2)
    assert (hot.num_throttled(), hot.num_throttled()) == (1, 2)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([("Performance", 6), ("Efficiency", 6)], 6),  # M3 Pro
        ([("Performance", 4), ("Efficiency", 4)], 4),  # M1
        ([("Super", 6), ("Performance", 12)], 18),  # M5 Max: it has no efficiency cores
    ],
)
def test_all_cores_but_the_efficient_ones_compute(levels: list[tuple[str, int]], expected: int) -> None:
    sysctls = {"hw.nperflevels": sysctl_number(len(levels))}
    for number, (name, num_cores) in enumerate(levels):
        sysctls[f"hw.perflevel{number}.name"] = sysctl_text(name)
        sysctls[f"hw.perflevel{number}.physicalcpu"] = sysctl_number(num_cores)
    assert platform(sysctls).num_compute_threads() == expected


def test_a_mac_that_does_not_tell_its_levels_has_physical_cores() -> None:
    mac = ApplePlatform(FakeLibSystem(sysctls={}))
    assert mac.num_compute_threads() == (psutil.cpu_count(logical=False) or os.cpu_count())
    assert (mac.cpu_name(), platform().cpu_name()) == (None, "Apple M3 Pro")


def test_the_cpu_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    library = FakeLibSystem(sysctls=M3_PRO)
    assert ApplePlatform(library).has_metal
    assert not ApplePlatform(library, is_cpu_wanted=True).has_metal
    from backends.machine.base import is_cpu_wanted

    monkeypatch.setenv("MLXR_MLX_DEVICE", "CPU")
    assert is_cpu_wanted()


def test_folders_that_the_system_asks_its_user_about() -> None:
    home = Path("/Users/me")
    mac = platform()
    assert [mac.is_guarded(Path(path), home) for path in ("/Users/me/Documents/m", "/Volumes/disk/m")] == [True, True]
    assert [mac.is_guarded(Path(path), home) for path in ("/Users/me/models", "/opt/models")] == [False, False]


def test_the_machine_is_kept_awake_until_a_process_ends() -> None:
    assert platform().awake_argv(12) == ["/usr/bin/caffeinate", "-i", "-w", "12"]


def test_the_gpus_use_is_read_from_what_ioreg_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of text that was written by hand in ioreg's form; other figures of it have names that begin or end alike."""
    asked: list[tuple[str, ...]] = []
    printed = ACCELERATOR.read_text()

    def output_of(*argv: str) -> str:
        asked.append(argv)
        return printed

    monkeypatch.setattr(apple, "_output_of", output_of)
    assert platform().gpu_use() == GPUUse(0.62, 5 * GIB)
    assert asked == [("/usr/sbin/ioreg", "-r", "-d", "1", "-w", "0", "-c", "IOAccelerator")]
    whole = printed
    printed = whole.replace('"Device Utilization %"=62,', "")
    assert platform().gpu_use() == GPUUse(None, 5 * GIB)
    printed = whole.replace(',"In use system memory"=5368709120', "")
    assert platform().gpu_use() == GPUUse(0.62, None), "the driver's own part is another figure"
    printed = ""
    assert platform().gpu_use() is None, "no accelerator, as in a virtual machine, or no such tool"


def test_every_raw_figure_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apple, "_output_of", lambda *argv: f"{argv[0]}\n")
    usage = rusage_bytes(resident=1, footprint=2, peak=3, wired=4)
    mac = platform(usage_of=lambda _pid: usage, pages=lambda: vm_statistics_bytes(wire=5), thermal_level=0)
    shown: dict[str, Any] = dict(mac.readings())
    assert shown["sysctl"] == {
        "hw.model": "Mac15,6",
        "machdep.cpu.brand_string": "Apple M3 Pro",
        "kern.osproductversion": "15.6",
        "hw.memsize": 36 * GIB,
        "hw.physicalcpu": 12,
        "hw.nperflevels": 2,
        "iogpu.wired_limit_mb": 0,
        "kern.memorystatus_vm_pressure_level": 1,
    } | {name: None for name in shown["sysctl"] if name not in M3_PRO}
    assert shown["core_levels"] == [("Performance", 6), ("Efficiency", 6)]
    assert shown["vm_statistics64"]["wire"] == 5
    raw = mac.process_readings(1)
    assert raw is not None
    assert (
        raw.items()
        >= {"resident_size": 1, "phys_footprint": 2, "wired_size": 4, "footprint(1)": ["/usr/bin/footprint"]}.items()
    )
    assert "uuid" not in raw


class PeerSocket:
    """Answers as the headers say: cr_version, cr_uid, cr_ngroups, 16 groups."""

    def __init__(self, told: bytes | OSError) -> None:
        self.told = told
        self.asked: tuple[int, int, int] | None = None

    def getsockopt(self, level: int, name: int, length: int) -> bytes:
        self.asked = (level, name, length)
        if isinstance(self.told, OSError):
            raise self.told
        return self.told


def xucred(version: int, uid: int) -> bytes:
    return struct.pack("<IIhxx16I", version, uid, 2, 20, 12, *[0] * 14)


@pytest.mark.parametrize(
    ("told", "uid"),
    [(xucred(0, 501), 501), (xucred(1, 501), None), (b"", None), (OSError(57, "Socket is not connected"), None)],
)
def test_who_is_at_the_other_end_of_a_unix_socket_is_read_from_xucred(told: bytes | OSError, uid: int | None) -> None:
    peer = PeerSocket(told)
    assert platform().peer_uid(peer) == uid  # type: ignore[arg-type]  # all that is asked of it
    assert peer.asked == (0, 1, 76) == (0, 1, len(xucred(0, 501)))


def test_every_zone_of_the_allocator_is_asked_to_give_back_all_it_can() -> None:
    library = FakeLibSystem(sysctls=M3_PRO)
    ApplePlatform(library).give_back_free_memory()
    assert library.gave_back == [(None, 0)]


def test_a_file_is_read_ahead_in_pieces_that_an_int_can_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "weights").write_bytes(b"x" * 2500)
    advice: list[tuple[int, tuple[int, int]]] = []
    monkeypatch.setattr(apple, "_READ_AHEAD_BYTES", 1000)
    monkeypatch.setattr(
        "fcntl.fcntl", lambda _file, command, data: advice.append((command, struct.unpack("=qi4x", data)))
    )
    platform().read_ahead(tmp_path / "weights")
    assert advice == [(44, (0, 1000)), (44, (1000, 1000)), (44, (2000, 1000))]
