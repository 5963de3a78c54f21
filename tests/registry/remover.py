"""A process that removes models or scans, killed at a random moment."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

PROJECT = Path(__file__).parents[2]
REMOVER = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(PROJECT)!r})
from registry.scan import ScanRoot
from registry.scan import scan
from registry.store import Registry
from registry.removing.removal import remove_model
with Registry(sys.argv[1]) as store:
    if sys.argv[2:]:
        print("ready", flush=True)
        scan(store, [ScanRoot(path=Path(sys.argv[2]), is_owned=True)])
    for model in store.models.list() if not sys.argv[2:] else ():
        print(model.name, flush=True)
        remove_model(store, model.name, is_deleting_foreign_files=True)
    print("done", flush=True)
"""
NUM_KILLS = 40


def killed_at_random(rng: random.Random, *arguments: str, longest_s: float) -> None:
    """Start the process, kill it at a random moment after it began its work."""
    process = subprocess.Popen(
        [sys.executable, "-c", REMOVER, *arguments], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdout is not None
    process.stdout.readline()
    end = time.perf_counter() + rng.random() * longest_s
    while time.perf_counter() < end:
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
