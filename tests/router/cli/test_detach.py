"""A detached server's start that is given up at the worst moment: while its process is being made."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from router.cli import detach
from router.config.paths import Paths
from tests.support.waiting import WITHIN_S


@pytest.fixture
def usual_signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("usual_signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_process_is_made_leaves_none_behind(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[subprocess.Popen[bytes]] = []

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, _argv: list[str], **options: Any) -> None:
            super().__init__([sys.executable, "-c", "import time; time.sleep(3600)"], **options)
            made.append(self)
            os.kill(os.getpid(), number)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    paths = Paths.under(tmp_path / "home")
    paths.ensure_folders()
    with pytest.raises(KeyboardInterrupt):
        detach.start_detached(paths, ["serve"], os.environ)
    assert made[0].wait(WITHIN_S) == -signal.SIGTERM
