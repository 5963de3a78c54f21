"""A process that removes models or scans, and is killed at a step of its work: a statement of SQL or a deletion."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.waiting import WITHIN_S

PROJECT = Path(__file__).parents[2]
REMOVER = f"""
import json, os, signal, sys
from pathlib import Path
sys.path.insert(0, {str(PROJECT)!r})
from registry.scan import ScanRoot, scan
from registry.store import Registry
from registry.removing.removal import remove_model
steps = []
def on_step(name):
    steps.append(name)
    if len(steps) == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
with Registry(sys.argv[2]) as store:
    store._connection.set_trace_callback(lambda sql: on_step(sql.split()[0]))
    sys.addaudithook(lambda event, _: on_step(event) if event in ("os.remove", "os.rmdir") else None)
    if sys.argv[3:]:
        scan(store, [ScanRoot(path=Path(sys.argv[3]), is_owned=True)])
    for model in store.models.list() if not sys.argv[3:] else ():
        remove_model(store, model.name, is_deleting_foreign_files=True)
print(json.dumps(steps))
"""


def _run(kill_at: int, arguments: tuple[str, ...]) -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, "-c", REMOVER, str(kill_at), *arguments]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}  # the same steps in the same order, every time
    return subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False, timeout=WITHIN_S, env=environment)


def steps_of(*arguments: str) -> list[str]:
    """Let the process end, and give its steps: the first word of each statement, and the names of deletions."""
    done = _run(0, arguments)
    assert done.returncode == 0
    steps: list[str] = json.loads(done.stdout)
    return steps


def spread(steps: list[str], count: int) -> Iterator[int]:
    """Give numbers of about so many steps to be killed at, from the first to the last."""
    yield from sorted({1 + index * (len(steps) - 1) // (count - 1) for index in range(count)})


def killed_at(step: int, *arguments: str) -> None:
    """Start the process and have it killed right before a step, counted from 1."""
    assert _run(step, arguments).returncode == -signal.SIGKILL
