"""What the soak stands on: a home on a small disk, a gateway under the unit's supervisor, a hub, and looks at them."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil

from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths
from router.service.plan import ServicePlan
from router.service.systemd import unit_text
from tests.support import tiny_model
from tests.support.plain_http import NO_TLS
from tests.support.stub_hub import StubHub
from tests.support.unit_supervisor import UnitSupervisor

DISK_BYTES = 48 << 20
WATCHDOG_S = 10
REPO = "tester/Tiny-GGUF"
TOKEN = "hf_soak"


class Sample(NamedTuple):
    """One look at the gateway's process; `at` is monotonic."""

    at: float
    pid: int
    rss_bytes: int
    num_files: int
    num_children: int


class Outage(NamedTuple):
    """When the gateway was away by a fault; a drain lets what runs finish."""

    started_at: float
    ended_at: float
    is_drain: bool


class DoneFault(NamedTuple):
    """A fault, and when it was undone again, monotonic."""

    name: str
    ended_at: float


class Ground(NamedTuple):
    """The soak's surroundings.

    Attributes:
        has_small_disk: Whether the home is a disk of its own that can be filled.
        folder: Of it all.
    """

    home: Path
    url: str
    supervisor: UnitSupervisor
    hub: StubHub
    has_small_disk: bool
    folder: Path
    outages: list[Outage]

    @property
    def config_file(self) -> Path:
        return Paths.under(self.home).config_file

    def config(self, **sections: Any) -> dict[str, Any]:
        """Give the gateway's config; models lie on a large disk, where a pull finds its reserve."""
        return {
            "server": {
                "host": "127.0.0.1",
                "port": int(self.url.rpartition(":")[2]),
                "drain_timeout_s": 20,
                "keepalive_s": 2,
            },
            "limits": {"stall_timeout_s": 5, "stop_timeout_s": 5, "max_queue": 64},
            "hub": {"endpoint": self.hub.url, "token": TOKEN},
            "models": {"dir": str(self.folder / "models")},
            "engine": "llamacpp",
            **sections,
        }

    def post(self, path: str, body: Any) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", json=body, timeout=60, trust_env=False, verify=NO_TLS)

    def is_ready(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return (
                httpx.get(f"{self.url}/ready", timeout=2, trust_env=False, verify=NO_TLS).status_code == httpx.codes.OK
            )
        return False

    def sample(self) -> Sample | None:
        pid = self.supervisor.pid
        with contextlib.suppress(psutil.Error):
            if pid is not None:
                process = psutil.Process(pid)
                children = [child for child in process.children() if child.status() != psutil.STATUS_ZOMBIE]
                rss_bytes = process.memory_info().rss
                return Sample(time.monotonic(), pid, rss_bytes, process.num_fds(), len(children))
        return None

    def workers(self) -> list[psutil.Process]:
        """Return every worker of this soak, whoever its parent is."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                is_worker = "backends.process.worker" in process.cmdline()
                if is_worker and process.environ().get("MLXR_HOME") == str(self.home):
                    found.append(process)
        return found


@contextlib.contextmanager
def ground(decode_s: float, *, is_real: bool = False) -> Iterator[Ground]:
    """Build it all up, and take it down again.

    Args:
        decode_s: Per token of the fake engine.
        is_real: Whether the tiny model is served by both real engines instead.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mlxr-soak-")))
        home = folder / "home"
        home.mkdir()
        has_small_disk = stack.enter_context(_small_disk(home))
        files = _models(home, folder)
        hub = stack.enter_context(StubHub({REPO: files}))
        hub.token = TOKEN
        port = _free_port()
        options = json.dumps({"decode_s": decode_s})
        fake = ("tests.support.fake_gateway", str(home), options, str(port))
        module = ("router.cli", "serve") if is_real else fake
        unit = folder / "mlxr.service"
        unit.write_text(unit_text(_plan(home, folder, module), watchdog_s=WATCHDOG_S))
        supervisor = stack.enter_context(UnitSupervisor(unit, folder, home=folder))
        place = Ground(home, f"http://127.0.0.1:{port}", supervisor, hub, has_small_disk, folder, [])
        place.config_file.write_text(json.dumps(place.config()))
        supervisor.start()
        if not supervisor.is_ready:
            raise RuntimeError(f"the gateway does not start: {supervisor.output.read_text()[-2000:]}")
        yield place


def _plan(home: Path, folder: Path, module: tuple[str, ...]) -> ServicePlan:
    repository = Path(__file__).parents[2]
    return ServicePlan(
        argv=(sys.executable, "-P", "-m", *module),
        environment={"MLXR_HOME": str(home), "PYTHONPATH": str(repository), "PATH": os.environ["PATH"]},
        secrets_file=folder / "none.env",
        output_file=folder / "out",
        ending_s=40,
    )


def _models(home: Path, folder: Path) -> dict[str, bytes]:
    """Register a model in both forms; return the files of one to pull."""
    paths = Paths.under(home)
    paths.ensure_folders()
    gguf = tiny_model.write_gguf(folder / "tiny.gguf")
    with Registry(paths.registry_db) as registry:
        register_path(registry, gguf, name="tiny")
        register_path(registry, tiny_model.write_mlx(folder / "tiny-mlx"), name="tiny")
    other = tiny_model.write_gguf(folder / "other.gguf", name="other", seed=7)
    return {"tiny-F32.gguf": other.read_bytes(), "README.md": b"# tiny"}


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[bool]:
    """Make a folder a disk of its own, where this user may; tell whether it is one."""
    mount = shutil.which("mount")
    argv = [str(mount), "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "mlxr-soak", str(folder)]
    if sys.platform != "linux" or mount is None or os.getuid() != 0 or subprocess.run(argv, check=False).returncode:
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port
