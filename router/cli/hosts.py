"""`mlxr hosts check`: whether a model can be spread over its hosts, before anything is unloaded for it.

Asks each host itself, by ssh, with the program that this mlxr is run by: it has to be at the same place there, as the
model's folder has. Not here: what a host answers (`backends.host_report`), and the load (`backends.mlx.ranks`).
"""

import contextlib
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec

from backends.host_report import Asked, HostReport
from backends.ssh import EXIT_UNREACHABLE, ssh_argv
from registry.catalogue import Artifact, Model
from registry.engines import EngineKind
from registry.hosts import LOOPBACK, Host, host_of
from registry.store import Registry
from router.cli.terminal.catalogue import open_registry_for_reading
from router.cli.terminal.context import CommandError, current_paths, read_config
from router.cli.terminal.options import json_option, model_argument
from router.cli.terminal.output import print_json, print_table, size
from router.cli.terminal.verbs import verb
from router.config import Config
from router.models.load_spec import load_spec_of
from router.placement.memory import this_machine
from router.placement.memory_need import memory_need, share_of

EXIT_PROBLEMS: Final = 1
EXIT_NO_PROGRAM: Final = 127
TIMEOUT_S: Final = 3600.0
"""Of one host; a large model's files take long to read."""
_COMMAND: Final = (sys.executable, "-P", "-m", "backends.host_report")


class HostFinding(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of one host.

    Attributes:
        host: As the setting has it.
        needed_bytes: What its share of the model takes; None = not known, or no model is meant.
        problems: What stands in the way of a load, in words; () = nothing.
        remedies: Commands that mend it.
    """

    host: str
    report: HostReport | None
    needed_bytes: int | None = None
    problems: tuple[str, ...] = ()
    remedies: tuple[str, ...] = ()


@verb
@model_argument("Model that is spread; left out = the hosts of all models and of the config.", is_required=False)
@json_option()
def check(name: str | None, is_json: bool) -> int:
    """Check the hosts that a model is spread over: reachability, versions, memory, and whether its files are the same.

    Files are compared by checksum, which takes as long as reading them. Exit code 1: something stands in the way.

    Examples: `mlxr hosts check`, `mlxr hosts check glm-4.6`, `mlxr hosts check glm-4.6 --json`.
    """
    paths = current_paths()
    config = read_config(paths)
    with open_registry_for_reading(paths) as registry:
        words, model = _hosts(registry, config, name)
    artifact = None if model is None else model.artifact_for(EngineKind.MLX)
    if model is not None and artifact is None:
        raise CommandError(f"{model.name} has no MLX folder; hosts are for the mlx engine.")
    found = findings(words, _reports(words, artifact), artifact, _needed_bytes(artifact, config, len(words)))
    if is_json:
        print_json({"model": None if model is None else model.name, "hosts": found})
    else:
        _print(found)
    return EXIT_PROBLEMS if any(each.problems for each in found) else 0


def _hosts(registry: Registry, config: Config, name: str | None) -> tuple[tuple[str, ...], Model | None]:
    """Return the hosts that are meant, and the model."""
    of_config = config.mlx.hosts or ()
    if name is not None:
        model = registry.models.get(name)
        words = model.settings.hosts or of_config
        if len(words) < 2:  # noqa: PLR2004 - one is no group
            raise CommandError(
                f"{model.name} is spread over no hosts; set them first: "
                f"mlxr models set {model.name} hosts=local=ADDRESS,NAME=ADDRESS"
            )
        return words, model
    named = [*of_config, *(word for model in registry.models.list() for word in model.settings.hosts or ())]
    if not named:
        raise CommandError("no model has hosts; mlxr models set NAME hosts=local=ADDRESS,NAME=ADDRESS sets them.")
    return tuple(dict.fromkeys(named)), None


def _needed_bytes(artifact: Artifact | None, config: Config, num_ranks: int) -> int | None:
    if artifact is None or artifact.facts.memory is None:
        return None
    spec = msgspec.structs.replace(load_spec_of(artifact, config), hosts=())
    need = memory_need(artifact.facts, spec, this_machine())
    return share_of(need, artifact.facts, num_ranks=num_ranks).required_bytes


def _reports(words: Sequence[str], artifact: Artifact | None) -> list[HostReport | str]:
    """Ask all hosts at the same time; a text says why one has not answered."""
    hosts = [host_of(word) for word in words]
    folder = None if artifact is None else artifact.path
    if artifact is not None:
        print(f"Reading {size(artifact.facts.weight_bytes)} on each host…", file=sys.stderr)
    with _listening(hosts) as first, ThreadPoolExecutor(len(hosts)) as pool:
        asked = [
            Asked(folder=folder, address=host.address, first=None if host.ssh is None else first) for host in hosts
        ]
        return list(pool.map(ask, hosts, asked))


@contextlib.contextmanager
def _listening(hosts: Sequence[Host]) -> Iterator[tuple[str, int] | None]:
    """Listen where the first host is to be reached; None = that is no address of this machine."""
    address = next((host.address for host in hosts if host.ssh is None and host.address is not None), LOOPBACK)
    try:
        listener = socket.create_server((address, 0))
    except OSError:  # its own report says so
        yield None
        return
    with listener:
        yield address, int(listener.getsockname()[1])


def ask(host: Host, asked: Asked) -> HostReport | str:
    """Have a host report; a text says why it does not."""
    argv = list(_COMMAND) if host.ssh is None else ssh_argv(host.ssh, _COMMAND)
    try:
        done = subprocess.run(
            argv, input=msgspec.json.encode(asked), capture_output=True, timeout=TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        return "there is no ssh on this machine"
    except subprocess.TimeoutExpired:
        return f"it did not answer within {TIMEOUT_S:g} s"
    problem = _why_failed(host, done)
    if problem is not None:
        return problem
    try:
        return msgspec.json.decode(done.stdout, type=HostReport)
    except msgspec.DecodeError as exc:
        return f"what it answers is no report: {exc}"


def _why_failed(host: Host, done: subprocess.CompletedProcess[bytes]) -> str | None:
    words = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
    if host.ssh is not None and done.returncode == EXIT_UNREACHABLE:
        return f"ssh does not reach it without a password: {words[0]}"
    if done.returncode == EXIT_NO_PROGRAM:
        return f"mlxr is not where it is here: there is no {sys.executable}"
    if done.returncode != 0:
        return f"mlxr there does not answer (exit code {done.returncode}): {words[0]}"
    return None


def findings(
    words: Sequence[str],
    reports: Sequence[HostReport | str],
    artifact: Artifact | None,
    needed_bytes: int | None,
) -> list[HostFinding]:
    """Judge what hosts have answered; the first is what the others are compared with. Pure."""
    first = reports[0]
    return [
        _finding(word, report, first if isinstance(first, HostReport) else None, artifact, needed_bytes)
        for word, report in zip(words, reports, strict=True)
    ]


def _finding(
    word: str, report: HostReport | str, first: HostReport | None, artifact: Artifact | None, needed_bytes: int | None
) -> HostFinding:
    if isinstance(report, str):
        return HostFinding(host=word, report=None, needed_bytes=needed_bytes, problems=(report,))
    problems = list(report.problems)
    remedies: list[str] = []
    if first is not None and report.versions != first.versions:
        problems += [
            f"{name} is {report.versions.get(name, 'missing')}, on the first host {first.versions.get(name, 'missing')}"
            for name in sorted(report.versions.keys() | first.versions.keys())
            if report.versions.get(name) != first.versions.get(name)
        ]
    if artifact is not None:
        problem = _file_problem(report, first, artifact.path)
        if problem is not None:
            problems.append(problem)
            remedies += _copy_commands(word, artifact.path)
    if needed_bytes is not None and needed_bytes > report.available_bytes:
        problems.append(f"its share needs {size(needed_bytes)}, and {size(report.available_bytes)} is available")
    return HostFinding(
        host=word, report=report, needed_bytes=needed_bytes, problems=tuple(problems), remedies=tuple(remedies)
    )


def _file_problem(report: HostReport, first: HostReport | None, folder: str) -> str | None:
    if report.files is None:
        return f"it has no folder {folder}"
    if first is None or first.files is None or report.files == first.files:
        return None
    others = sorted(name for name in first.files if report.files.get(name) != first.files[name])
    extra = sorted(report.files.keys() - first.files.keys())
    return f"its files are not the same: {', '.join((others + extra)[:5])}"


def _copy_commands(word: str, folder: str) -> list[str]:
    name = host_of(word).ssh
    if name is None:
        return []
    parent = shlex.quote(shlex.join(["mkdir", "-p", str(Path(folder).parent)]))
    source, target = shlex.quote(f"{folder}/"), shlex.quote(f"{name}:{folder}/")
    # What links lead to is copied, which in a hub's cache is all of it.
    return [f"ssh {name} {parent}", f"rsync -rLt --partial --progress {source} {target}"]


def _print(found: Sequence[HostFinding]) -> None:
    rows = []
    for each in found:
        report = each.report
        versions = {} if report is None else report.versions
        rows.append(
            (
                each.host,
                "ok" if not each.problems else "no",
                None if report is None else report.system,
                versions.get("mlxr"),
                versions.get("mlx"),
                versions.get("mlx-lm"),
                size(each.needed_bytes),
                None if report is None else size(report.available_bytes),
            )
        )
    print_table(("HOST", "READY", "SYSTEM", "MLXR", "MLX", "MLX-LM", "NEEDS", "AVAILABLE"), rows)
    for each in found:
        for problem in each.problems:
            print(f"\n{each.host}: {problem}")
        for remedy in each.remedies:
            print(f"  {remedy}")
