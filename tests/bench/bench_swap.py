"""From a request to its first token when it needs another engine or another model, against restarting llama-server.

    python tests/bench/bench_swap.py [--rounds 3] [--no-standby]

One gateway with standby workers and the bundled model in both formats; a copy of its GGUF is a second model. A round
swaps to mlx, back to llamacpp with the second model, and to the first model; before each swap all standby workers are
ready. After each swap llama-server is killed, started on the same file and asked the same, as it is and with
--no-warmup. `load` is the gateway's own account of the load; the rest is the end of the old worker and the
prompt. pytest does not collect it.
"""

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench.support.models import MODEL, bundled_gguf, bundled_mlx
from tests.bench.support.pairs import gateway_config, parser_for
from tests.bench.support.report import machine_watch, print_ratio, shown
from tests.bench.support.servers import PeerProcess, gateway_with, peer_tool, peer_version, skip, start_llama_server
from tests.bench.support.streams import chat_body, stream_chat
from tests.support.gateway_process import GatewayProcess
from tests.support.waiting import wait_until

SECOND = "second-model"
NUM_SLOTS = 4
CONTEXT_LENGTH = 2048
MESSAGES = [{"role": "user", "content": "Say hello."}]
SWAPS = {
    "to mlx": f"{MODEL}@mlx",
    "to llamacpp": f"{SECOND}@llamacpp",
    "to another model on llamacpp": f"{MODEL}@llamacpp",
}


def first_token_s(url: str, model: str) -> float:
    """Return the time from sending a request to its first text."""
    return asyncio.run(stream_chat(url, chat_body(model, MESSAGES, 2, ignore_eos=True))).ttft_s


def wait_for_standby(gateway: GatewayProcess, num_standby: int) -> None:
    """Wait until nothing is loading or stopping and that many standby workers have said hello."""

    def is_settled() -> bool:
        workers = gateway.status()["workers"]
        waiting = [worker for worker in workers if worker["state"] == "standby" and worker["engine_versions"]]
        return len(waiting) >= num_standby and all(w["state"] in {"standby", "ready"} for w in workers)

    wait_until(is_settled, f"{num_standby} standby workers")


class Restarted:
    """A llama-server that is killed and started anew."""

    def __init__(self, arguments: argparse.Namespace, *more: str) -> None:
        self._tool = peer_tool("llama-server", arguments.peers)
        self._num_threads: int = arguments.threads
        self._more = more
        self._process: PeerProcess | None = None

    def first_token_s(self) -> float:
        """Kill and start it; return the time from the kill to the first text of the same request."""
        started_at = time.perf_counter()
        self.stop()
        self._process = start_llama_server(
            self._tool,
            bundled_gguf(),
            num_slots=NUM_SLOTS,
            num_cells=NUM_SLOTS * CONTEXT_LENGTH,
            num_threads=self._num_threads,
            more=self._more,
        )
        self._process.wait_until_healthy()
        first_token_s(self._process.url, MODEL)
        return time.perf_counter() - started_at

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop(signal.SIGKILL)
            self._process = None


def measure(gateway: GatewayProcess, arguments: argparse.Namespace) -> None:
    """Run the rounds and print the ratios."""
    peers = {"llama-server": Restarted(arguments), "llama-server --no-warmup": Restarted(arguments, "--no-warmup")}
    num_standby = 0 if arguments.no_standby else 2
    ours: dict[str, list[float]] = {swap: [] for swap in SWAPS}
    loads_s: dict[str, list[float]] = {swap: [] for swap in SWAPS}
    theirs: dict[str, dict[str, list[float]]] = {peer: {swap: [] for swap in SWAPS} for peer in peers}
    for peer in peers.values():
        peer.first_token_s()
    first_token_s(gateway.url, f"{MODEL}@llamacpp")
    try:
        for _ in range(arguments.rounds):
            for swap, model in SWAPS.items():
                wait_for_standby(gateway, num_standby)
                ours[swap].append(first_token_s(gateway.url, model))
                loads = [entry["load_ms"] for entry in gateway.status()["swaps"] if entry["event"] == "load"]
                loads_s[swap].append(loads[-1] / 1000)
                for name, peer in peers.items():
                    wait_for_standby(gateway, num_standby)
                    theirs[name][swap].append(peer.first_token_s())
    finally:
        for peer in peers.values():
            peer.stop()
    for swap, values in ours.items():
        print(f"mlxr {swap}: request to first token {shown(values, 's', 3)}, load {shown(loads_s[swap], 's', 3)}")
        for name, restarts in theirs.items():
            print(f"{name}, killed and started: {shown(restarts[swap], 's', 3)}")
            target = 0.6 if name == "llama-server" else None
            print_ratio(f"{swap}, mlxr / {name}", values, restarts[swap], at_most=target)


def main() -> None:
    parser = parser_for(__doc__, rounds=3)
    parser.add_argument("--no-standby", action="store_true")
    arguments = parser.parse_args()
    print(f"{peer_version(peer_tool('llama-server', arguments.peers))}, {arguments.threads} threads")
    folder = bundled_mlx()
    if folder is None:
        skip("the bundled model has no MLX form in the default home; run scripts/setup")
    more: dict[str, Any] = {"standby": not arguments.no_standby}
    more["models"] = {"hash_files": False}  # the copy would be seen to be the same model
    config = gateway_config(NUM_SLOTS, CONTEXT_LENGTH, arguments.threads, **more)
    with machine_watch(), tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "second.gguf"
        shutil.copy(bundled_gguf(), copy)
        models = {MODEL: [bundled_gguf(), folder], SECOND: [copy]}
        with gateway_with(models, config) as gateway:
            measure(gateway, arguments)


if __name__ == "__main__":
    main()
