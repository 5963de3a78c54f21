"""The doctor's questions, each answered by one function. Nothing is changed by asking. Not here: printing."""

import contextlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from backends.machine.current import current_platform
from backends.probe import ProbeReport
from registry.disk import existing, free_bytes
from registry.engines import LOCAL_ENGINES
from registry.errors import DatabaseError
from router.cli.client.base import Client
from router.cli.client.errors import ClientError
from router.cli.doctor.certificate import check_certificate
from router.cli.doctor.check import Check
from router.cli.doctor.heat import check_heat
from router.cli.doctor.memory_tier import check_tier
from router.cli.doctor.model_folders import check_model_folders, own_models_folders
from router.cli.terminal.catalogue import open_registry_for_reading
from router.cli.terminal.context import read_config
from router.cli.terminal.output import plural, size
from router.cli.terminal.strain import strain_line
from router.config.instance import read_instance
from router.config.paths import Paths
from router.errors import ConfigError
from router.placement.memory import read_budget
from router.status import Status
from router.version import VERSION

PROBE_TIMEOUT_S: Final = 60.0
"""mlx-lm takes 2 s to import on a good day and a minute on a cold disk."""

LOW_DISK_BYTES: Final = 5_000_000_000
"""Below this not even a small model fits."""

LOW_MEMORY_BYTES: Final = 1_000_000_000
"""Below this not even a small model loads."""

BUNDLED_MODEL: Final = "smollm2-135m-instruct"
"""Registered by `make setup`."""

SETUP_COMMAND: Final = "make setup"


def all_checks(paths: Paths) -> tuple[Check, ...]:
    """Ask everything; give the answers in the order in which to show them."""
    with lifeline() as stdin:
        probes = [start_probe(engine, stdin) for engine in sorted(LOCAL_ENGINES)]  # they run while the rest is asked
        checks = [check_version(), check_memory(), check_tier(paths), check_heat(), *check_metal(paths)]
        checks += [
            check_disk(paths),
            *check_folders(paths),
            check_config(paths),
            *check_guarded_folders(paths),
            *check_registry(paths),
        ]
        checks += [*check_model_folders(paths), *check_certificate(paths), check_server(paths)]
        engines = [check_engine(engine, process) for engine, process in zip(sorted(LOCAL_ENGINES), probes, strict=True)]
        return (checks[0], *engines, *checks[1:])


@contextlib.contextmanager
def lifeline() -> Iterator[int]:
    """Give a stdin for probes that ends when this process does, however it does."""
    theirs, ours = os.pipe()
    try:
        yield theirs
    finally:
        os.close(ours)
        os.close(theirs)


def check_version() -> Check:
    """Name mlxr, Python and the machine."""
    machine = f"{platform.system()} {platform.release()} {platform.machine()}"
    found = f"{VERSION}, Python {platform.python_version()}, {machine}, {os.cpu_count()} logical CPUs"
    return Check("mlxr", "ok", found)


def start_probe(engine: str, stdin: int) -> subprocess.Popen[bytes]:
    """Start what imports an engine's libraries and prints a `ProbeReport`; it ends with its stdin (`lifeline`)."""
    argv = [sys.executable, "-P", "-m", "backends.probe", "--engine", engine]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=stdin)


def probe_of(process: subprocess.Popen[bytes]) -> ProbeReport:
    """Wait for a probe's end; the report of one that gives none is of no engine, and has an error that says so."""
    with process:
        try:
            out, err = process.communicate(timeout=PROBE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return ProbeReport(engine="", error=f"no answer within {PROBE_TIMEOUT_S:.0f} s")
    try:
        return msgspec.json.decode(out, type=ProbeReport)
    except msgspec.DecodeError:
        last = err.decode(errors="replace").strip().splitlines()[-1:] or ["no words"]
        return ProbeReport(engine="", error=f"the import ended the process (exit code {process.returncode}): {last[0]}")


def check_engine(engine: str, process: subprocess.Popen[bytes]) -> Check:
    """Judge an engine by its probe."""
    name, report = f"engine {engine}", probe_of(process)
    if report.error is not None:
        remedy = SETUP_COMMAND if report.engine else f"{SETUP_COMMAND} (reinstalls the libraries)"
        return Check(name, "broken", report.error or "it does not work", remedy=remedy)
    versions = ", ".join(f"{library} {version}" for library, version in report.versions.items())
    took = "" if report.import_ms is None else f", imports in {report.import_ms / 1000:.1f} s"
    return Check(name, "ok", f"{versions}{took}; {report.features}")


def check_memory() -> Check:
    """Look at the memory."""
    memory, pressure = current_platform().memory(), current_platform().pressure()
    found = f"{size(memory.available_bytes)} available of {size(memory.total_bytes)}"
    if pressure is not None:
        found = f"{found}, pressure {pressure}"
    if memory.available_bytes < LOW_MEMORY_BYTES:
        return Check("memory", "warning", found, remedy="close other programs before loading a model")
    return Check("memory", "ok", found)


def check_metal(paths: Paths) -> Iterator[Check]:
    """Look at Metal's memory limit; nothing to say elsewhere than on a Mac."""
    system = current_platform()
    budget = read_budget(paths.working_set_file, system)
    if budget.wired_limit_bytes is not None:
        if system.wired_limit_bytes() is not None:
            source = "iogpu.wired_limit_mb"
        else:
            source = "Metal's own figure" if paths.working_set_file.exists() else "a guess until a model ran on mlx"
        found = f"{system.cpu_name() or 'unknown chip'}, wired memory up to {size(budget.wired_limit_bytes)} ({source})"
        yield Check("metal", "note", found)


def check_guarded_folders(paths: Paths) -> Iterator[Check]:
    """Look for model folders that the system asks its user about; a server that nobody sits at gets a no."""
    with contextlib.suppress(ConfigError):
        for folder in map(str, read_config(paths).models.extra_folders):
            path = paths.user_home / folder.removeprefix("~/")
            if current_platform().is_guarded(path, paths.user_home):
                found = f"{path}: macOS asks its user before each new terminal reads it, and refuses background servers"
                yield Check("permission", "note", found)


def check_disk(paths: Paths) -> Check:
    """Look at the space where models go."""
    wanted = own_models_folders(paths)[0]
    folder = existing(wanted)
    free = free_bytes(folder)
    found = f"{size(free)} free in {folder}"
    if free < LOW_DISK_BYTES:
        return Check("disk", "warning", found, remedy="free some space, or set models.dir elsewhere")
    return Check("disk", "ok", found)


def check_folders(paths: Paths) -> Iterable[Check]:
    """Look whether mlxr may write where it must."""
    folders = {"data": paths.data_dir, "config": paths.config_dir, "log": paths.log_dir, "runtime": paths.runtime_dir}
    for name, folder in folders.items():
        there = existing(folder)
        if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
            found = str(folder) if folder == there else f"{folder} (made when needed)"
            yield Check(f"{name} folder", "ok", found)
        else:
            remedy = f"sudo chown {os.geteuid()} {there}, or set MLXR_HOME elsewhere"
            yield Check(f"{name} folder", "broken", f"{folder} cannot be written", remedy=remedy)


def check_config(paths: Paths) -> Check:
    """Read the config."""
    try:
        config = read_config(paths)
    except ConfigError as exc:
        return Check("config", "broken", str(exc), remedy=f"edit {paths.config_file}")
    where = str(paths.config_file) if paths.config_file.exists() else "no file, so the defaults count"
    return Check("config", "ok", f"{where}; engine: {config.engine}")


def check_registry(paths: Paths) -> Iterable[Check]:
    """Read the catalogue."""
    if not paths.registry_db.exists():
        yield Check("models", "warning", "no catalogue yet", remedy=SETUP_COMMAND)
        return
    try:
        with open_registry_for_reading(paths) as registry:
            models = registry.models.list()
            failures = registry.files.failures()
    except DatabaseError as exc:
        yield Check("models", "broken", str(exc), remedy="mlxr models scan --rescue")
        return
    artifacts = [artifact for model in models for artifact in model.artifacts]
    gone = [artifact.path for artifact in artifacts if artifact.status in {"missing", "bad"}]
    yield Check("models", "ok", f"{plural(len(models), 'model')}, {plural(len(artifacts), 'artifact')}")
    if gone or failures:
        first = Path(gone[0] if gone else failures[0].path)
        found = f"{plural(len(gone) + len(failures), 'file')} missing or broken, e.g. {first}"
        yield Check("model files", "warning", found, remedy="mlxr models scan lists them with the reasons")
    if all(model.name != BUNDLED_MODEL for model in models):
        yield Check("bundled model", "warning", f"{BUNDLED_MODEL} is missing", remedy=SETUP_COMMAND)


def check_server(paths: Paths) -> Check:
    """Ask the running server."""
    instance = read_instance(paths)
    if instance is None:
        return Check("server", "note", "not running; `mlxr serve` starts it")
    try:
        with Client(instance) as client:
            status = client.status()
    except ClientError as exc:
        remedy = f"stop process {instance.pid} and start `mlxr serve` again"
        return Check("server", "broken", str(exc), remedy=remedy)
    found = f"{status.url}, process {status.pid}, {plural(len(status.workers), 'worker')}"
    return _check_status(status, found)


def _check_status(status: Status, found: str) -> Check:
    """Judge what a server says of itself."""
    if status.config_error is not None:
        return Check("server", "warning", f"{found}; {status.config_error}", remedy="mlxr config check")
    if status.version != VERSION:
        found = f"{found}, version {status.version}"
        return Check("server", "warning", found, remedy="restart it to use the installed version: mlxr service restart")
    if status.restart is not None:
        return Check("server", "broken", f"{found}; {status.restart}", remedy="mlxr service restart")
    strain = strain_line(status)
    if strain is not None:
        return Check("server", "note", f"{found}; {strain}")
    return Check("server", "ok", found)
