"""Control groups: by files as the kernel writes them (v1 as seen here, v2 by its documentation), and by a real one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backends.machine.cgroup import ControlGroup, GroupMemory, stall_share_of
from backends.machine.linux import LinuxPlatform
from tests.support.memory_group import memory_group

GIB = 1 << 30


def write(folder: Path, **files: str | int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")


def proc_of(tmp_path: Path, cgroup: str, *mounts: str) -> Path:
    write(tmp_path / "proc", cgroup=cgroup, mountinfo="\n".join(mounts))
    return tmp_path / "proc"


def v2(tmp_path: Path, path: str = "/a/b") -> ControlGroup:
    mount = f"41 31 0:38 / {tmp_path}/fs rw,relatime - cgroup2 cgroup2 rw"
    return ControlGroup(proc_of(tmp_path, f"0::{path}", "23 1 0:1 / / rw - ext4 /dev/x rw", mount))


def test_the_tightest_of_a_v2_hierarchy_counts_without_pages_of_files(tmp_path: Path) -> None:
    stat = f"anon 1\nactive_file {GIB}\ninactive_file {GIB}"
    write(tmp_path / "fs/a/b", memory__max="max", memory__current=GIB, memory__stat="")
    write(tmp_path / "fs/a", memory__max=4 * GIB, memory__current=3 * GIB, memory__stat=stat)
    assert v2(tmp_path).memory() == GroupMemory(4 * GIB, GIB)
    write(tmp_path / "fs/a/b", memory__max=2 * GIB, memory__current=GIB, memory__stat="active_file 0")
    assert v2(tmp_path).memory() == GroupMemory(2 * GIB, GIB)


def test_without_a_limit_there_is_nothing_to_tell(tmp_path: Path) -> None:
    write(tmp_path / "fs/a/b", memory__max="max", memory__current=GIB, memory__stat="")
    assert v2(tmp_path).memory() is None
    assert v2(tmp_path / "empty").memory() is None
    assert ControlGroup(tmp_path / "missing").memory() is None


def test_a_v1_hierarchy_has_other_names_and_says_none_by_a_large_number(tmp_path: Path) -> None:
    mounts = (
        f"35 31 0:32 / {tmp_path}/fs rw,relatime - cgroup cgroup rw,memory",
        f"41 31 0:38 / {tmp_path}/unified rw - cgroup2 cgroup2 rw",
    )
    group = ControlGroup(proc_of(tmp_path, "8:pids:/\n4:memory:/job\n0::/", *mounts))
    write(tmp_path / "fs", memory__limit_in_bytes=9223372036854771712, memory__usage_in_bytes=9 * GIB)
    assert group.memory() is None
    stat = f"total_active_file {GIB}\ntotal_inactive_file 0\nactive_file 5"
    write(tmp_path / "fs/job", memory__limit_in_bytes=3 * GIB, memory__usage_in_bytes=2 * GIB, memory__stat=stat)
    group = ControlGroup(tmp_path / "proc")
    assert group.memory() == GroupMemory(3 * GIB, GIB)
    assert group.stall_share() is None


def test_a_container_sees_its_own_group_at_the_place_of_the_root(tmp_path: Path) -> None:
    """Without a namespace of groups the process's path is the host's; the mount's root says what is left of it."""
    write(tmp_path / "fs", memory__limit_in_bytes=GIB, memory__usage_in_bytes=5, memory__stat="")
    mount = f"35 31 0:32 /docker/abc {tmp_path}/fs ro - cgroup cgroup rw,memory"
    assert ControlGroup(proc_of(tmp_path, "4:memory:/docker/abc", mount)).memory() == GroupMemory(GIB, 5)


def test_the_machine_is_no_larger_than_its_group(tmp_path: Path) -> None:
    write(tmp_path / "fs/a/b", memory__max=GIB, memory__current=GIB // 4, memory__stat="")
    memory = LinuxPlatform(group=v2(tmp_path)).memory()
    assert (memory.total_bytes, memory.held_bytes) == (GIB, GIB // 4)
    assert memory.available_bytes == GIB - GIB // 4


def test_stalls_are_the_groups_where_it_tells_them(tmp_path: Path) -> None:
    assert stall_share_of("some avg10=1.00 avg60=0\nfull avg10=12.50 avg60=0.00 avg300=0 total=1\n") == 0.125
    assert stall_share_of(None) is stall_share_of("some avg10=1.00") is None
    full = "some avg10=9.00 avg60=0 avg300=0 total=1\nfull avg10=3.00 avg60=0 avg300=0 total=1"
    write(tmp_path / "fs/a/b", memory__pressure=full)
    assert LinuxPlatform(group=v2(tmp_path)).stall_share() == 0.03


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_a_real_group_is_what_a_process_in_it_has() -> None:
    code = (
        "import os, sys; sys.stdin.readline(); from backends.machine.current import current_platform\n"
        "before = current_platform().memory(); ballast = b'\\1' * (64 << 20); after = current_platform().memory()\n"
        "print(before.total_bytes, after.held_bytes - before.held_bytes)"
    )
    pipe = subprocess.PIPE
    with (
        memory_group(256 << 20) as group,
        subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True, env=os.environ) as process,
    ):
        group.add(process.pid)
        out, _ = process.communicate("go\n")
    total, grown = map(int, out.split())
    assert total == 256 << 20
    assert 60 << 20 < grown < 80 << 20
