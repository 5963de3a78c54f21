"""The service as its unit has it, under a supervisor that obeys the unit: crashes, hangs, reloads, the command line."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from router.config.instance import read_instance
from router.config.paths import Paths
from router.service.plan import ServicePlan
from router.service.systemd import unit_text
from tests.support.gateway_process import environment, run_cli
from tests.support.systemctl import Systemctl
from tests.support.unit_supervisor import UnitSupervisor, workers_of
from tests.support.waiting import WITHIN_S, wait_until

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hello fox"}], "max_tokens": 2}

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="a unit of systemd")]


@pytest.fixture
def unit(home: Path, tmp_path: Path) -> Path:
    (home / "config" / "server.yaml").write_text(json.dumps({"server": {"port": 0}}))
    kept = {name: environment(home)[name] for name in ("MLXR_HOME", "PYTHONPATH", "HF_HUB_CACHE", "PATH")}
    plan = ServicePlan(
        argv=(sys.executable, "-P", "-m", "router.cli", "serve"),
        environment=kept,
        secrets_file=tmp_path / "service.env",
        output_file=tmp_path / "out",
        ending_s=60,
    )
    file = tmp_path / "mlxr.service"
    file.write_text(unit_text(plan, watchdog_s=4))
    return file


@pytest.fixture
def supervisor(unit: Path, home: Path, tmp_path: Path) -> Iterator[UnitSupervisor]:
    folder = tmp_path / "run"
    folder.mkdir()
    with UnitSupervisor(unit, folder, home=home) as opened:
        opened.start()
        assert opened.is_ready, opened.output.read_text()
        yield opened


def chat(home: Path) -> int:
    instance = read_instance(Paths.under(home))
    assert instance is not None
    url = f"{instance.url}/v1/chat/completions"
    return httpx.post(url, json=CHAT, timeout=WITHIN_S, trust_env=False).status_code


@pytest.mark.parametrize("how", ["killed", "hung"])
def test_a_gateway_that_is_killed_or_hangs_is_back_and_no_worker_is_left(
    supervisor: UnitSupervisor, home: Path, how: str
) -> None:
    assert chat(home) == 200
    first = supervisor.pid
    assert first is not None
    workers = workers_of(first)
    assert workers
    os.kill(first, signal.SIGKILL if how == "killed" else signal.SIGSTOP)
    wait_until(lambda: supervisor.pid not in {first, None} and supervisor.is_ready, "another one serves")
    assert chat(home) == 200
    assert psutil.wait_procs(workers, timeout=WITHIN_S)[1] == []
    assert supervisor.num_restarts == 1
    assert supervisor.num_watchdog_kills == (how == "hung")
    assert supervisor.exits == [-signal.SIGKILL if how == "killed" else -signal.SIGABRT]
    if how == "hung":
        assert "Fatal Python error: Aborted" in supervisor.output.read_text(), "where it hung is told"


def test_the_manager_hears_of_ready_reload_and_stop_and_an_asked_stop_is_no_failure(
    supervisor: UnitSupervisor, home: Path
) -> None:
    assert chat(home) == 200
    wait_until(lambda: "tiny on" in supervisor.status, "the status line names what is loaded")
    supervisor.reload()
    wait_until(lambda: [each.get("READY") for each in supervisor.heard].count("1") == 2, "it has reloaded")
    assert any(each.get("RELOADING") == "1" for each in supervisor.heard)
    supervisor.stop()
    assert any(each.get("STOPPING") == "1" for each in supervisor.heard)
    assert any(each.get("WATCHDOG") == "1" for each in supervisor.heard)
    assert (supervisor.exits, supervisor.num_restarts) == ([0], 0)


def test_a_config_that_cannot_be_used_is_not_tried_again_and_again(unit: Path, home: Path, tmp_path: Path) -> None:
    (home / "config" / "server.yaml").write_text("engine: none of these\n")
    with UnitSupervisor(unit, tmp_path, home=home) as supervisor:
        supervisor.start()
        assert (supervisor.is_ready, supervisor.exits, supervisor.num_restarts) == (False, [78], 0)


def test_the_verbs_install_start_ask_and_remove(home: Path, tmp_path: Path) -> None:
    own = environment(home)
    (home / "config" / "server.yaml").write_text(json.dumps({"server": {"port": 0}}))
    (home / "config" / "service.env").write_text(f"PYTHONPATH='{own['PYTHONPATH']}'\n")
    (home / "no-user").mkdir()
    unit = home / "no-user" / ".config" / "systemd" / "user" / "mlxr.service"
    folder = tmp_path / "run"
    folder.mkdir()
    with UnitSupervisor(unit, folder, home=home) as supervisor, Systemctl(supervisor, folder) as systemctl:
        shell = own | {"PATH": f"{systemctl.bin}:{own['PATH']}", "HF_TOKEN": "hf_secret"}
        shell.pop("XDG_CONFIG_HOME", None)

        def service(*words: str) -> subprocess.CompletedProcess[str]:
            argv = [sys.executable, "-P", "-m", "router.cli", "service", *words]
            return subprocess.run(argv, env=shell, capture_output=True, text=True, timeout=WITHIN_S, check=False)

        assert service("status").returncode == 4
        assert service("start").returncode == 4
        installed = service("install")
        assert installed.returncode == 0, installed.stderr
        assert "hf_secret" not in unit.read_text()
        assert "HF_TOKEN is a secret" in installed.stdout
        assert chat(home) == 200
        facts = json.loads(service("status", "--json").stdout)
        assert (facts["is_active"], facts["is_enabled"], facts["pid"]) == (True, True, supervisor.pid)
        assert facts["server_pid"] == supervisor.pid
        assert "serving on" in service("logs").stdout
        assert service("stop").returncode == 0
        assert service("status").returncode == 3
        assert service("start").returncode == 0
        before = supervisor.pid
        assert service("restart").returncode == 0
        assert supervisor.pid != before
        assert chat(home) == 200
        assert service("uninstall").returncode == 0
        assert supervisor.pid is None
        assert list((home / "no-user").rglob("*mlxr.service*")) == []
        assert service("uninstall").returncode == 0, "twice is no error"
        assert [word for word in systemctl.asked if not word.startswith(("show", "--unit"))] == [
            *("daemon-reload", "enable mlxr.service", "restart mlxr.service"),
            *("stop mlxr.service", "start mlxr.service", "restart mlxr.service"),
            *("disable --now mlxr.service", "daemon-reload"),
        ]


def test_where_no_systemd_is_one_sentence_says_what_to_do(home: Path) -> None:
    for words in (["install"], ["status"], ["logs"], ["start"], ["uninstall"]):
        done = run_cli(home, "service", *words)
        assert done.returncode == (0 if words == ["uninstall"] else 1), words
        assert len(done.stderr.strip().splitlines()) == (words != ["uninstall"])
        assert "Traceback" not in done.stderr
    assert list((home / "no-user").rglob("*.service")) == []
