"""Gets the clients from npm and PyPI, each into a folder of its own below `build/agents`."""

import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.acceptance.trials import Trial

INSTALL_TIMEOUT_S: Final = 1800.0
VERSION_TIMEOUT_S: Final = 120.0


def program_folder(trial: Trial, folder: Path) -> Path:
    """Return where the client's program is, once it is installed."""
    return folder / trial.name / ("node_modules/.bin" if trial.registry == "npm" else "venv/bin")


def install(trial: Trial, folder: Path) -> str | None:
    """Install a client where it is not there yet; return why that failed, or None."""
    if (program_folder(trial, folder) / trial.program).exists():
        return None
    own = folder / trial.name
    own.mkdir(parents=True, exist_ok=True)
    if trial.registry == "npm":
        commands = [["npm", "install", "--no-audit", "--no-fund", "--prefix", str(own), trial.package]]
    else:
        python = str(own / "venv" / "bin" / "python")
        commands = [[sys.executable, "-m", "venv", str(own / "venv")], [python, "-m", "pip", "install", trial.package]]
    for command in commands:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as exc:
            return f"{command[0]}: {exc}"
        if done.returncode:
            return f"{' '.join(command[:3])} failed: {(done.stderr.strip().splitlines() or ['?'])[-1]}"
    return None


def version_of(trial: Trial, folder: Path, environment: dict[str, str]) -> str:
    """Ask a client for its version."""
    program = str(program_folder(trial, folder) / trial.program)
    done = subprocess.run(
        [program, "--version"], env=environment, capture_output=True, text=True, timeout=VERSION_TIMEOUT_S, check=False
    )
    words = done.stdout.replace("(", " ").split()
    return next((word for word in words if word[:1].isdigit()), "unknown")
