"""How much energy the machine took, where the system tells: Linux' RAPL, macOS' powermetrics.

One interface for both: a meter that counts joules from some moment on. RAPL counts the processors' packages;
powermetrics the chip (CPU, GPU and neural engine). Neither counts memory on all machines, nor screens and disks.
"""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Protocol

RAPL_DIR: Final = Path("/sys/class/powercap")
# Source: powermetrics(1): `-b`, 1 = "line buffered"; into a pipe the samples would come in lumps of 4 kB otherwise.
_POWERMETRICS: Final = ("powermetrics", "--samplers", "cpu_power", "-i", "500", "-b", "1")
_SAMPLE: Final = re.compile(r"\((\d+(?:\.\d+)?)ms elapsed\)")
_POWER: Final = re.compile(r"^Combined Power .*?:\s*(\d+(?:\.\d+)?) mW")


class EnergyMeter(Protocol):
    """Counts joules."""

    def read_j(self) -> float | None:
        """Return the joules since the meter was made, never falling; None = they cannot be read now."""

    def close(self) -> None:
        """Give up what the meter holds."""


class RaplMeter:
    """The packages' counters, which overflow.

    Source: Linux, Documentation/power/powercap/powercap.rst: `energy_uj` "Current energy counter in micro joules",
    `max_energy_range_uj` "Range of the above energy counter".
    """

    def __init__(self, folder: Path = RAPL_DIR) -> None:
        # `intel-rapl:0` is a package; `intel-rapl:0:1` a part of it, which it counts already.
        self._domains = sorted(path for path in folder.glob("intel-rapl:*") if path.name.count(":") == 1)
        self._total_uj = 0
        self._last: dict[Path, int] = {}
        self.is_readable = bool(self._domains) and self.read_j() is not None

    def read_j(self) -> float | None:
        """Return the joules of all packages since the first reading."""
        try:
            for domain in self._domains:
                now_uj = _int_in(domain / "energy_uj")
                step_uj = now_uj - self._last.get(domain, now_uj)
                self._total_uj += step_uj if step_uj >= 0 else step_uj + _int_in(domain / "max_energy_range_uj")
                self._last[domain] = now_uj
        except (OSError, ValueError):
            return None
        return self._total_uj / 1e6

    def close(self) -> None:
        """Do nothing: files are opened for each reading."""


class PowermetricsMeter:
    """Sums up what `powermetrics` writes; it runs until `close`, and needs root.

    Args:
        start: Starts it; None = really.
    """

    def __init__(self, start: Callable[[], "subprocess.Popen[str]"] | None = None) -> None:
        self._process = (start or _start_powermetrics)()
        self._joules = 0.0
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=self._follow, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def read_j(self) -> float | None:
        """Return the joules of all samples so far; None once the tool has ended."""
        return self._joules if self._process.poll() is None else None

    def close(self) -> None:
        """End the tool."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _follow(self, lines: Iterable[str]) -> None:
        for joules in powermetrics_joules(lines):
            self._joules += joules


def powermetrics_joules(lines: Iterable[str]) -> Iterable[float]:
    """Read the samples that powermetrics writes as text. Pure.

    Yields:
        Joules of one sample: its power times the time since the one before.
    """
    elapsed_s = 0.0
    for line in lines:
        if found := _SAMPLE.search(line):
            elapsed_s = float(found[1]) / 1000
        elif found := _POWER.match(line):
            yield float(found[1]) / 1000 * elapsed_s


def energy_meter() -> EnergyMeter | None:
    """Return a meter, None where the system does not tell or we may not know."""
    if sys.platform == "darwin":
        if os.geteuid() != 0:
            return None
        try:
            return PowermetricsMeter()
        except OSError:
            return None
    meter = RaplMeter()
    return meter if meter.is_readable else None


def _start_powermetrics() -> "subprocess.Popen[str]":
    return subprocess.Popen(
        _POWERMETRICS, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def _int_in(path: Path) -> int:
    return int(path.read_text())
