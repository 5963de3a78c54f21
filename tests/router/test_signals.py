"""Signals before the gateway serves, each in a process of its own; what it does once it serves is in `tests/e2e`."""

import subprocess
import sys

import pytest

from tests.support.waiting import WITHIN_S


def ended_by(script: str) -> "subprocess.CompletedProcess[str]":
    """Run a script that sends itself a signal."""
    argv = [sys.executable, "-c", script]
    return subprocess.run(argv, capture_output=True, text=True, timeout=WITHIN_S, check=False)


_IN_THE_START_OF_A_THREAD = """
import concurrent.futures, signal, threading
from router.signals import end_on_signals

class Caught(threading.Thread):
    def start(self):
        super().start()
        signal.raise_signal(signal.{name})

threading.Thread = Caught
end_on_signals()
concurrent.futures.ThreadPoolExecutor(1).submit(print, "worked")
"""

_IN_A_DESTRUCTOR = """
import signal
from router.signals import end_on_signals

class Caught:
    def __del__(self):
        signal.raise_signal(signal.{name})

end_on_signals()
Caught()
print("goes on")
"""


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 0), ("SIGINT", 130)])
def test_a_signal_in_the_start_of_a_thread_does_not_leave_a_process_that_waits_for_it(name: str, code: int) -> None:
    """The thread had started and nobody knew of it yet: an error there left it for the end to wait for."""
    assert ended_by(_IN_THE_START_OF_A_THREAD.format(name=name)).returncode == code


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 0), ("SIGINT", 130)])
def test_a_signal_in_a_destructor_is_not_swallowed(name: str, code: int) -> None:
    ended = ended_by(_IN_A_DESTRUCTOR.format(name=name))
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "", "")


_HUNG_UP = """
import signal
from router import signals

terminal = iter({terminal})
signals.has_terminal = lambda: next(terminal)
signal.signal(signal.SIGHUP, signal.{before})
signals.end_on_signals()
signal.raise_signal(signal.SIGHUP)
print("goes on")
"""


@pytest.mark.parametrize(
    ("terminal", "before", "said"),
    [
        ([True, False], "SIG_DFL", ""),
        ([True, True], "SIG_DFL", "goes on\n"),
        ([False], "SIG_DFL", "goes on\n"),
        ([True, False], "SIG_IGN", "goes on\n"),
    ],
    ids=["its terminal closed", "a reload", "a reload of a service", "nohup"],
)
def test_only_the_end_of_its_terminal_is_an_end_by_sighup(terminal: list[bool], before: str, said: str) -> None:
    ended = ended_by(_HUNG_UP.format(terminal=terminal, before=before))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, said, "")
