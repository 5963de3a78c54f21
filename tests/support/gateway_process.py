"""A real gateway in a process of its own, started by the real command line, for end-to-end tests."""

import json
import os
import re
import select
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil

from backends.machine.current import current_platform
from tests.support.memory_group import MemoryGroup
from tests.support.plain_http import NO_TLS
from tests.support.processes import running_children
from tests.support.waiting import WITHIN_S

_BANNER = re.compile(r"serves on (https?://\S+)")
_SERVE = [sys.executable, "-P", "-m", "router.cli", "serve", "--port", "0"]
_SERVE_FAKE = [sys.executable, "-P", "-m", "tests.support.fake_gateway"]
_REPOSITORY = Path(__file__).parents[2]


def environment(home: Path) -> dict[str, str]:
    """Return an environment in which everything of mlxr's lies under `home`, and no other tool's models are seen."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLXR_", "HF_"))}
    python_path = os.pathsep.join([str(_REPOSITORY), *filter(None, [kept.get("PYTHONPATH")])])
    return kept | {
        "MLXR_HOME": str(home),
        "HOME": str(home / "no-user"),
        "PYTHONPATH": python_path,
        "HF_HUB_CACHE": str(home / "no-hf-cache"),
    }


def run_cli(home: Path, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run `mlxr ARGUMENTS` to its end."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "router.cli", *arguments],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        input=stdin or "",
        check=False,
    )


class GatewayProcess:
    """`mlxr serve` on a free port.

    Args:
        arguments: Of the command line; where the engine is the fake, the port.
        group: What it runs in, with its workers.
        trusting: What its clients trust, where it speaks TLS.
    """

    def __init__(
        self,
        home: Path,
        *,
        config: dict[str, Any] | None = None,
        arguments: tuple[str, ...] = (),
        fake_options: dict[str, Any] | None = None,
        group: MemoryGroup | None = None,
        trusting: ssl.SSLContext | None = None,
    ) -> None:
        self.home = home
        self._verify = trusting or NO_TLS
        argv = [*_SERVE] if fake_options is None else [*_SERVE_FAKE, str(home), json.dumps(fake_options)]
        argv += arguments
        if config is not None:
            (home / "config").mkdir(parents=True, exist_ok=True)
            (home / "config" / "server.yaml").write_text(json.dumps(config))  # JSON is YAML
        self._stderr = (home / "stderr.txt").open("wb")
        self.process = subprocess.Popen(
            argv if group is None else group.argv(argv),
            env=environment(home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
        )
        try:
            self.url = self._read_banner()
        except BaseException:
            self.process.kill()
            self.stop()
            raise

    @property
    def pid(self) -> int:
        return self.process.pid

    def _read_banner(self) -> str:
        assert self.process.stdout is not None
        text = ""
        while select.select([self.process.stdout], [], [], WITHIN_S)[0]:
            chunk = os.read(self.process.stdout.fileno(), 65536).decode()
            text += chunk
            if found := _BANNER.search(text):
                return found.group(1)
            if not chunk:
                break
        stderr = (self.home / "stderr.txt").read_text()
        raise AssertionError(f"the gateway did not start: {text!r} {stderr[-2000:]}")

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=WITHIN_S, trust_env=False, verify=self._verify)

    def get(self, path: str) -> Any:
        with self.client() as client:
            return client.get(path).raise_for_status().json()

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        with self.client() as client:
            return client.post(path, json=body, headers=headers)

    def status(self) -> Any:
        return self.get("/v1/mlxr/status")

    def model_files(self) -> list[str]:
        """Return what lies in the models folder, by relative path."""
        models = self.home / "data" / "models"
        return sorted(path.relative_to(models).as_posix() for path in models.rglob("*") if path.is_file())

    def workers(self) -> list[psutil.Process]:
        """Return the worker processes."""
        return running_children("backends.process.worker", pid=self.pid)

    def rss_bytes(self) -> int:
        """Return the resident memory of the gateway and its workers."""
        total = 0
        for process in [psutil.Process(self.pid), *self.workers()]:
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return total

    def written_bytes(self) -> int:
        """Return the gateway's resident memory without pages of files, which the system takes and gives as it likes."""
        footprint = current_platform().footprint_of(self.pid)
        assert footprint is not None
        return footprint.anonymous_bytes

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(WITHIN_S)
        finally:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self._stderr.close()


def sse_events(lines: Iterator[str]) -> Iterator[str]:
    """Yield the data of server-sent events, comments left out."""
    for line in lines:
        if line.startswith("data: "):
            yield line.removeprefix("data: ")
