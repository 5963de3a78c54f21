"""Processes that others start for themselves end with those, however they end."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

REPOSITORY = Path(__file__).parents[2]
WITHIN_S = 60

CHILD = """
import sys, time
from backends.lifeline import end_with_stdin
end_with_stdin()
print("there", flush=True)
time.sleep(600)
"""
PARENT = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         start_new_session=True)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("end", ["kill", "terminate"])
@pytest.mark.slow
def test_a_child_ends_with_its_parent(end: str) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, cwd=REPOSITORY) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        getattr(parent, end)()
    gone, _ = psutil.wait_procs([child], timeout=WITHIN_S)
    assert gone == [child]


def test_what_is_no_pipe_is_nobodys_lifeline() -> None:
    code = (
        "import threading; from backends.lifeline import end_with_stdin; end_with_stdin()\n"
        "print([thread.name for thread in threading.enumerate()])"
    )
    with Path(__file__).open() as file:
        for stdin in (subprocess.DEVNULL, file):
            done = subprocess.run(
                [sys.executable, "-c", code], stdin=stdin, capture_output=True, text=True, cwd=REPOSITORY, check=False
            )
            assert (done.returncode, done.stdout) == (0, "['MainThread']\n")
