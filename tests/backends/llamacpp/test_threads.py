"""The default number of compute threads."""

import os
import subprocess
import sys

import psutil
import pytest

from backends.llamacpp import threads


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the CPUs of this process")
def test_never_more_threads_than_physical_cores_or_cpus_this_process_may_use() -> None:
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    assert threads.default_num_threads() == min(cores, len(os.sched_getaffinity(0)))


@pytest.mark.skipif(sys.platform != "linux", reason="pins a process")
def test_a_process_pinned_to_one_cpu_computes_with_one_thread() -> None:
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    code += "from backends.llamacpp.threads import default_num_threads; print(default_num_threads())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=_root())
    assert done.stdout.strip() == "1"


def test_a_mac_computes_on_its_performance_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    # What sysctl prints on a machine with four performance cores, by Apple's documentation; not recorded on a Mac.
    recorded = subprocess.CompletedProcess[str]([], 0, stdout="4\n")
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_kwargs: recorded)
    assert threads._performance_cores() == 4


def test_a_mac_that_does_not_tell_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(subprocess, "run", refuse)
    assert threads._performance_cores() is None


def _root() -> str:
    return os.fspath(threads.__file__).rpartition("/backends/")[0]
