import os
import subprocess
import sys

import psutil

from router.placement import readings as memory

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
