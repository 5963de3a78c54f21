"""A user who has nothing yet: install, serve, chat, uninstall; whatever the umask and the folders' names are."""

import contextlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from tests.support.systemctl import Systemctl
from tests.support.unit_supervisor import UnitSupervisor
from tests.support.waiting import WITHIN_S, wait_until

NOBODY = 65534
SYSTEM_PYTHON = Path("/usr/bin/python3")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="a unit of systemd")]


class Account(NamedTuple):
    """A user with an empty home, and how commands are run there."""

    home: Path
    mlxr_home: str | None
    run: Callable[..., "subprocess.CompletedProcess[str]"]
    supervisor: UnitSupervisor


def python_for(uid: int | None) -> str:
    """Give an interpreter that the user may read; the tests' own may lie in a home of root's."""
    if uid is None:
        return sys.executable
    if os.getuid() != 0:
        pytest.skip("only root can be somebody else")
    probe = f"import sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
    for python in (sys.executable, str(SYSTEM_PYTHON)):
        with contextlib.suppress(OSError):
            argv = [python, "-c", probe]
            if subprocess.run(argv, user=uid, group=uid, extra_groups=[], cwd="/", check=False).returncode == 0:
                return python
    pytest.skip("no interpreter of this version may be read by another user")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users may enter, with room for a socket's path."""
    with tempfile.TemporaryDirectory(prefix="mlxr-", ignore_cleanup_errors=True) as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture
def account(request: pytest.FixtureRequest, folder: Path) -> Iterator[Account]:
    umask, uid, mlxr_home = request.param
    home = folder / "a höme"
    home.mkdir(mode=0o700)
    python = python_for(uid)
    if uid is not None:
        os.chown(home, uid, uid)
    python_path = os.pathsep.join(
        [str(Path(__file__).parents[2]), *(path for path in sys.path if "site-packages" in path)]
    )
    unit = home / ".config" / "systemd" / "user" / "mlxr.service"
    run_dir = folder / "run"
    run_dir.mkdir()
    with (
        UnitSupervisor(unit, run_dir, home=home, uid=uid, PYTHONPATH=python_path) as supervisor,
        Systemctl(supervisor, run_dir, python) as systemctl,
    ):
        (run_dir / "control").chmod(0o777)
        variables = {
            "HOME": str(home),
            "PATH": f"{systemctl.bin}:{os.environ['PATH']}",
            "PYTHONPATH": python_path,
            **({} if mlxr_home is None else {"MLXR_HOME": str(home / mlxr_home)}),
        }

        def run(*words: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
            done = subprocess.run(
                [python, "-P", "-m", "router.cli", *words],
                env=variables,
                cwd="/",
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=WITHIN_S,
                check=False,
                umask=umask,
                user=uid,
                group=uid,
                extra_groups=None if uid is None else [],
            )
            assert done.returncode == code, done.stdout + done.stderr + supervisor.output_text()
            return done

        yield Account(home, mlxr_home, run, supervisor)


ACCOUNTS = [
    pytest.param((0o077, None, None), id="umask 077"),
    pytest.param((0o000, None, "Mÿ models & more/100% $HOME"), id="umask 000, MLXR_HOME with everything"),
    pytest.param((0o000, NOBODY, None), id="another user, umask 000"),
    pytest.param((0o077, NOBODY, "mlxr höme"), id="another user, umask 077, MLXR_HOME"),
]


@pytest.mark.parametrize("account", ACCOUNTS, indirect=True)
def test_install_serve_chat_uninstall_leaves_nothing_but_data(account: Account, tiny_gguf: Path) -> None:
    config = Path(account.run("config", "path").stdout.strip())
    assert config.is_relative_to(account.home)
    config.write_text(json.dumps({"server": {"port": 0}}))
    models = account.home / "Models" / "gguf"
    models.mkdir(parents=True)
    shutil.copy(tiny_gguf, models / "tiny.gguf")
    for path in (account.home / "Models", models, models / "tiny.gguf"):
        path.chmod(0o755)

    installed = account.run("service", "install")
    assert "serves on http://" in installed.stdout
    account.run("models", "scan")
    wait_until(lambda: "tiny" in account.run("models", "list").stdout, "the model is found")
    assert account.run("run", "tiny", "hello fox", "--max-tokens", "4").stdout.strip()
    assert json.loads(account.run("service", "status", "--json").stdout)["is_active"] is True
    _assert_private(account.home)
    pid = account.supervisor.pid
    assert pid is not None
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]

    account.run("service", "uninstall")
    assert account.run("service", "status", code=4).stdout.startswith("installed")
    assert psutil.wait_procs(family, timeout=WITHIN_S)[1] == []
    left = [path for path in account.home.rglob("*") if not path.is_dir() and path != models / "tiny.gguf"]
    assert all(path.is_file() and path.stat().st_size < 1 << 20 for path in left), "no socket, nothing large"
    own = account.mlxr_home or "mlxr"
    assert [path for path in left if f"/{own}/" not in f"{path}"] == [], "nothing outside of its own folders"
    assert [path for path in left if path.parent.name == "run" or path.name == "gateway.json"] == [], "of runtime files"
    assert {"registry.sqlite3", "server.yaml", "mlxr.log"} <= {path.name for path in left}
    assert not (account.home / ".config" / "systemd").exists()


def _assert_private(home: Path) -> None:
    """See that nobody else can come to a file that the command made."""
    for folder in home.iterdir():
        if folder.name != "Models":
            assert stat.S_IMODE(folder.stat().st_mode) & 0o077 == 0, folder
    for path in home.rglob("*"):
        assert not path.stat().st_mode & 0o002 or path.parent.stat().st_mode & 0o007 == 0, path
