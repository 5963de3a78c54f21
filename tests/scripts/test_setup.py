"""What `scripts/setup` says before it begins, on machines that it finds fault with: their commands are stood in for."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[2] / "scripts" / "setup"
NEW = 'case "$2" in *version_info*) exit 0;; *machine*) echo "{machine}";; esac'
OLD = 'case "$1" in --version) echo Python 3.9.6;; *) exit 1;; esac'


def setup(tmp_path: Path, **commands: str) -> str:
    """Run it with these commands only, and return its complaint; it must have one."""
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    for name in ("dirname", "cat", "cksum", "tr", "sh"):
        (bin_dir / name).symlink_to(f"/usr/bin/{name}")
    for name, script in commands.items():
        file = bin_dir / name.replace("_", "-").replace("python3-", "python3.")
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
    environment = {"PATH": str(bin_dir), "HOME": str(tmp_path)}
    done = subprocess.run(["/bin/sh", SETUP], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    return done.stderr.strip()


def test_a_mac_without_the_compiler_is_told_how_to_get_it(tmp_path: Path) -> None:
    commands = {"uname": "echo Darwin", "xcode_select": "exit 2", "python3": NEW.format(machine="arm64 15.6")}
    assert setup(tmp_path, **commands) == "setup: a C++ compiler is needed: xcode-select --install"


@pytest.mark.parametrize(
    ("machine", "complaint"),
    [
        ("x86_64 15.6", "mlxr needs Apple Silicon and a Python for it, but python3 is for x86_64"),
        ("arm64 13.7.1", "mlxr needs macOS 14 or newer, and this is 13.7.1"),
    ],
)
def test_a_mac_for_which_there_are_no_wheels_is_refused(tmp_path: Path, machine: str, complaint: str) -> None:
    commands = {"uname": "echo Darwin", "xcode_select": "echo /Library", "python3": NEW.format(machine=machine)}
    assert complaint in setup(tmp_path, **commands)


def test_a_newer_python_beside_the_systems_own_is_found(tmp_path: Path) -> None:
    commands = {"uname": "echo Darwin", "xcode_select": "echo /Library", "python3": OLD}
    commands["python3_12"] = NEW.format(machine="x86_64 15.6")
    assert "but python3.12 is for x86_64" in setup(tmp_path, **commands)


@pytest.mark.skipif(os.path.exists("/opt/homebrew"), reason="there is a Python")  # noqa: PTH110 - no Path is needed
def test_without_a_new_python_the_one_there_is_is_named(tmp_path: Path) -> None:
    assert "but python3 is Python 3.9.6; set PYTHON=" in setup(tmp_path, uname="echo Linux", python3=OLD)


def test_linux_is_told_of_its_own_compiler(tmp_path: Path) -> None:
    said = setup(tmp_path, uname="echo Linux", python3=NEW.format(machine=""))
    assert said == "setup: a C++ compiler is needed (Debian: apt install build-essential)"
