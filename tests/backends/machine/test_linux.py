import os
import platform
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from backends.machine.current import current_platform
from backends.machine.linux import LinuxPlatform
from tests.support.waiting import WITHIN_S

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
_HOLDER = "import sys\nballast = b'\\1' * {size}\nprint('ready', flush=True)\nsys.stdin.read()"


def holder(num_bytes: int) -> "subprocess.Popen[bytes]":
    """Start a process that has allocated so much, and wait until it has."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", _HOLDER.format(size=num_bytes)], stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def test_a_footprint_shows_what_a_process_has_allocated_and_nothing_after_its_end() -> None:
    system = LinuxPlatform()
    with holder(40 << 20) as process:
        footprint, peak_bytes = system.footprint_of(process.pid), system.peak_bytes_of(process.pid)
        assert footprint is not None
        assert footprint.anonymous_bytes >= 40 << 20
        assert footprint.rss_bytes >= footprint.anonymous_bytes
        assert peak_bytes is not None
        assert peak_bytes >= 40 << 20
        assert (system.process_readings(process.pid) or {}).keys() >= {"VmHWM", "VmRSS", "RssAnon"}
        process.communicate()
    assert system.footprint_of(process.pid) is None
    assert system.peak_bytes_of(process.pid) is None
    assert system.process_readings(process.pid) is None


def test_the_machines_memory_is_the_systems_own_figure() -> None:
    memory = current_platform().memory()
    assert 0 < memory.available_bytes <= memory.total_bytes == psutil.virtual_memory().total
    assert current_platform().footprint_of(os.getpid()) is not None


def test_memory_of_a_process_that_ended_is_available_again_at_once() -> None:
    ballast_bytes = 400 << 20  # far above what the rest of the machine does meanwhile
    with holder(ballast_bytes) as process:
        before = current_platform().memory()
        process.communicate()
    after = current_platform().memory()
    assert after.available_bytes - before.available_bytes > ballast_bytes // 2
    assert before.held_bytes - after.held_bytes > ballast_bytes // 2


_HEAPS = """
import ctypes, sys, tempfile, threading
from backends.machine.current import current_platform
if sys.argv[1] == "one":
    current_platform().use_one_heap()
together = threading.Barrier(4)
def hold():
    ballast = [bytes(5000) for _ in range(100)]
    together.wait()
threads = [threading.Thread(target=hold) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
with tempfile.NamedTemporaryFile() as file:
    stream = ctypes.c_void_p(libc.fopen(file.name.encode(), b"w"))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    print(file.read().count(b"<heap nr="))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives threads heaps of their own")
def test_threads_share_one_heap_where_they_are_told_to() -> None:
    def num_heaps(how: str) -> int:
        argv = [sys.executable, "-c", _HEAPS, how]
        done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
        return int(done.stdout)

    assert num_heaps("one") == 1
    assert num_heaps("each its own") > 1 or os.cpu_count() == 1


def test_never_more_threads_than_physical_cores_or_cpus_this_process_may_use() -> None:
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    assert LinuxPlatform().num_compute_threads() == min(cores, len(os.sched_getaffinity(0)))


def test_a_process_pinned_to_one_cpu_computes_with_one_thread() -> None:
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    code += "from backends.machine.current import current_platform; print(current_platform().num_compute_threads())"
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "1"


def test_throttling_is_the_sum_over_the_cores_and_unknown_without_counters(tmp_path: Path) -> None:
    assert LinuxPlatform(tmp_path).num_throttled() is None
    for number, count in enumerate((3, 4)):
        folder = tmp_path / f"cpu{number}" / "thermal_throttle"
        folder.mkdir(parents=True)
        (folder / "core_throttle_count").write_text(f"{count}\n")
    assert LinuxPlatform(tmp_path).num_throttled() == 7


def test_what_linux_does_not_have_is_none() -> None:
    system = LinuxPlatform()
    assert (system.pressure(), system.wired_limit_bytes(), system.awake_argv(1)) == (None, None, None)
    assert not system.has_metal
    assert not system.is_guarded(Path("/home/me/Documents"), Path("/home/me"))
    assert isinstance(system.readings()["meminfo"], list)


@pytest.mark.slow
def test_a_child_ends_with_its_parent_whatever_it_does() -> None:
    """The child ignores all that can be ignored, and is looked for after its parent was killed."""
    child = (
        "import os, signal, sys, threading; from backends.machine.current import current_platform\n"
        "[signal.signal(number, signal.SIG_IGN) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]\n"
        "current_platform().end_with_parent(); print(os.getpid(), flush=True); threading.Event().wait()"
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    root = Path(__file__).parents[3]
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, cwd=root) as process:
        assert process.stdout is not None
        found = psutil.Process(int(process.stdout.readline()))
        process.kill()
        gone, _ = psutil.wait_procs([found], timeout=WITHIN_S)
        assert gone


def test_who_is_at_the_other_end_of_a_unix_socket_is_told() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert LinuxPlatform().peer_uid(one) == os.getuid()
    with socket.socket(socket.AF_INET) as tcp:
        assert LinuxPlatform().peer_uid(tcp) != os.getuid()


def test_a_file_is_read_ahead_and_one_that_is_gone_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"x" * 5000)
    current_platform().read_ahead(tmp_path / "weights")
    with pytest.raises(FileNotFoundError):
        current_platform().read_ahead(tmp_path / "gone")
