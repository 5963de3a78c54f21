"""What the gateway's process does on signals: SIGTERM and SIGINT drain, a second one ends at once, SIGHUP reloads.

Before it serves, `end_on_signals` answers them; from then on, `on_signals`. Its exit code is its own, never that of a
signal. docs/service.md has the table for users.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from typing import Final

EXIT_STOPPED: Final = 0
"""Stopped because somebody asked for it, by whatever signal and however often."""

EXIT_INTERRUPTED: Final = 130
"""Ctrl-C before it served."""

_STOPPING: Final = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def on_signals(*, stop: Callable[[], None], end_now: Callable[[], None], reload: Callable[[], None]) -> Iterator[None]:
    """Call functions of the running event loop's thread on signals.

    A SIGHUP by which the terminal went away that the process was started in means to stop: nobody would see what goes
    on serving. Where the caller has SIGHUP ignored (nohup), it is always a reload. Afterwards these signals are
    ignored: the process has ended its work, and says so by its own exit code.
    """
    loop = asyncio.get_running_loop()
    is_bound = _is_bound()
    calls = iter([stop])

    def on_stop() -> None:
        next(calls, end_now)()

    def on_hangup() -> None:
        on_stop() if is_bound and not has_terminal() else reload()

    handlers = {**dict.fromkeys(_STOPPING, on_stop), signal.SIGHUP: on_hangup}

    waiting: set[int] = set()

    def on_signal(number: int, _frame: object) -> None:
        # Those that come faster than the loop turns are one, as they are one to the system until they are delivered.
        if number not in waiting:
            waiting.add(number)
            loop.call_soon_threadsafe(run_handler, number)

    def run_handler(number: int) -> None:
        waiting.discard(number)
        handlers[signal.Signals(number)]()

    # Not by the loop's own handlers: for the moment between their removal and what comes next a signal ends the
    # process, by whichever thread takes it. What is ignored Python leaves alone at its own end.
    for number in handlers:
        signal.signal(number, on_signal)
        signal.siginterrupt(number, False)
    try:
        yield
    finally:
        for number in handlers:
            signal.signal(number, signal.SIG_IGN)


def end_on_signals() -> None:
    """End the process at once on SIGTERM, SIGINT, or the end of its terminal, until `on_signals` does better.

    Not by an exception: that would come up between any two steps, in a destructor that swallows it as well as in the
    start of a thread, which nobody then knows of and the process waits for at its end, for ever. What stands open
    before it serves is in order after a SIGKILL too: the system drops locks, databases go back to their last commit.

    A SIGHUP of somebody who wants the config to be read is none before it serves: the config's follower sees by itself
    what has changed since. Where the caller has SIGINT or SIGHUP ignored, so it stays.
    """
    is_bound = _is_bound()

    def on_hangup(_number: int, _frame: object) -> None:
        if is_bound and not has_terminal():
            os._exit(EXIT_STOPPED)

    signal.signal(signal.SIGTERM, lambda *_: os._exit(EXIT_STOPPED))
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: os._exit(EXIT_INTERRUPTED))
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, on_hangup)


def _is_bound() -> bool:
    """Tell whether the process ends with its terminal."""
    return has_terminal() and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN


def has_terminal() -> bool:
    """Tell whether the process has a controlling terminal, on which Ctrl-C works."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
