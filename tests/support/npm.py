"""Packages of npm for the tests' clients: installed into a folder, or the test is skipped with the reason."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

INSTALL_TIMEOUT_S = 180.0
RUN_TIMEOUT_S = 240.0


def install(folder: Path, *packages: str) -> Path:
    """Install packages, e.g. `openai@6`, into a folder; the test is skipped where that does not work."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not there")
    argv = ["npm", "install", "--no-audit", "--no-fund", "--silent", *packages]
    names = ", ".join(packages)
    try:
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm does not install {names} here in time")
    if done.returncode != 0:
        pytest.skip(f"npm cannot install {names} here: {done.stderr[-200:]}")
    return folder


def results_of(folder: Path, script: Path, *arguments: str) -> Any:
    """Run a script beside the installed packages; return the JSON of its last line."""
    copied = shutil.copy(script, folder / f"{os.getpid()}-{script.name}")  # others run it meanwhile
    done = subprocess.run(
        ["node", copied, *arguments], cwd=folder, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])
