"""Start of the gateway, its idle memory, and `mlxr models list`: bench_start.py

Prints medians and ranges: seconds from starting the process to the first 200 of /health, resident memory two seconds
later, and the wall time of `mlxr models list`, beside the start of a bare Python, which is the floor on this machine.
Targets: 1 s, 80 MB, 0.3 s.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))
from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths
from tests.support import tiny_model
from tests.support.gateway_process import GatewayProcess, environment, run_cli

ROUNDS = 7


def timed(action: Callable[[], object]) -> float:
    started_at = time.perf_counter()
    action()
    return time.perf_counter() - started_at


def shown(values: list[float], unit: str) -> str:
    return f"median {statistics.median(values):.3f} {unit} ({min(values):.3f} to {max(values):.3f})"


def start(home: Path) -> tuple[float, float]:
    started_at = time.perf_counter()
    gateway = GatewayProcess(home)
    try:
        gateway.get("/health")
        seconds = time.perf_counter() - started_at
        time.sleep(2)
        return seconds, psutil.Process(gateway.pid).memory_info().rss / 1e6
    finally:
        gateway.stop()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        paths = Paths.under(home)
        paths.ensure_folders()
        with Registry(paths.registry_db) as registry:
            register_path(registry, tiny_model.write_gguf(Path(folder) / "tiny.gguf"), name="tiny")
        start(home)  # writes the config file and the bytecode
        bare, listing, starts = [], [], []
        for _ in range(ROUNDS):
            bare.append(timed(lambda: subprocess.run([sys.executable, "-c", ""], env=environment(home), check=True)))
            listing.append(timed(lambda: run_cli(home, "models", "list")))
            starts.append(start(home))
        print(f"load average {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores")
        print("bare python:        ", shown(bare, "s"))
        print("mlxr models list:   ", shown(listing, "s"))
        print("gateway to /health: ", shown([seconds for seconds, _ in starts], "s"))
        print("gateway idle:       ", shown([megabytes for _, megabytes in starts], "MB"))


if __name__ == "__main__":
    main()
