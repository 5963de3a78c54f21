"""`mlxr service install | uninstall | start | stop | restart | status | logs`."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import click
import msgspec

from registry.disk import make_private
from router.cli.service.manager import ServiceManager, Systemd, service_manager
from router.cli.terminal.context import CommandError, config_file, current_paths, read_config
from router.cli.terminal.options import config_option, json_option
from router.cli.terminal.output import print_facts, print_json
from router.cli.terminal.server import version_notice
from router.cli.terminal.verbs import option, verb
from router.config.edit import write_atomically
from router.config.instance import read_instance
from router.config.paths import HOME_VARIABLE, Paths
from router.config.reference import ensure_config_file
from router.service.environment import secrets_left_out, service_environment
from router.service.plan import ServicePlan
from router.version import VERSION

EXIT_NOT_RUNNING: Final = 3
EXIT_NOT_INSTALLED: Final = 4
"""Of `status`. Source: systemctl(1), "Exit status"."""

ENDING_MARGIN_S: Final = 15.0
"""What an end in order may take beside the drain and the workers."""

_WITHOUT: Final = "`mlxr serve --detach` runs the server without one"


@verb
@config_option()
@option("--start/--no-start", "is_starting", default=True, help="Start it as well, or only when you log in again.")
def install(config: str | None, is_starting: bool) -> None:
    """Make the server a service of yours that starts when you log in, and again when it crashes.

    It keeps the folders (MLXR_HOME, HF_*, XDG_*) and the PATH of the shell that this is called in.

    Examples: `mlxr service install`, `mlxr service install --no-start`.
    """
    paths, manager = _here()
    if is_starting:
        _check_no_other(paths, manager)
    paths.ensure_folders()
    ensure_config_file(config_file(paths, config))
    make_private(manager.file.parent)
    write_atomically(manager.file, manager.content(_plan(paths, config)))
    print(f"The service is described in {manager.file}.")
    for name in secrets_left_out(os.environ):
        print(f"{name} is a secret and is not kept there; {paths.service_secrets_file} may have `{name}=...`.")
    fault = manager.fault()
    if fault is not None:
        raise CommandError(f"The service is not started: {fault}; {_WITHOUT}.")
    manager.enable(is_starting=is_starting)
    if is_starting:
        _print_where(paths)
    if isinstance(manager, Systemd):
        print("It starts when you log in; `loginctl enable-linger` has it start with the machine, and stay.")


@verb
def uninstall() -> None:
    """Stop the service and remove it; models, config and logs stay.

    Example: `mlxr service uninstall`.
    """
    paths, manager = _here()
    if not manager.file.exists():
        print("There is no service of mlxr.")
        return
    fault = manager.fault()
    if fault is None:
        manager.disable()
    manager.file.unlink()
    with contextlib.suppress(OSError):  # folders that others use stay
        for folder in manager.file.parents[:2]:
            folder.rmdir()
    if fault is None:
        manager.forget()
    print(f"The service is removed; models, config and logs stay in {paths.data_dir.parent}.")


@verb
def start() -> None:
    """Start the service; return when it serves.

    Example: `mlxr service start`.
    """
    paths, manager = _installed()
    _check_no_other(paths, manager)
    manager.start()
    _print_where(paths)


@verb
def stop() -> None:
    """Stop the service until it is started again; running answers may finish.

    Example: `mlxr service stop`.
    """
    _, manager = _installed()
    manager.stop()
    print("The service is stopped.")


@verb
def restart() -> None:
    """Stop the service and start it again, e.g. after an update.

    Example: `mlxr service restart`.
    """
    paths, manager = _installed()
    _check_no_other(paths, manager)
    manager.restart()
    _print_where(paths)


@verb
@json_option()
def status(is_json: bool) -> int:
    """Tell whether the service is installed and runs; exit code 0 running, 3 not running, 4 not installed.

    Examples: `mlxr service status`, `mlxr service status --json`.
    """
    paths, manager = _here()
    is_installed, fault, instance = manager.file.exists(), manager.fault(), read_instance(paths)
    state = manager.state() if is_installed and fault is None else None
    facts = {
        "installed": is_installed,
        "file": str(manager.file),
        "manager": fault or "reachable",
        **({} if state is None else msgspec.structs.asdict(state)),
        "url": None if instance is None else instance.url,
        "server_pid": None if instance is None else instance.pid,
        "server_version": None if instance is None else instance.version,
    }
    print_json(facts) if is_json else print_facts([(name.replace("_", " "), value) for name, value in facts.items()])
    if instance is not None and instance.version != VERSION:
        print(f"mlxr: {version_notice(instance.version)}", file=sys.stderr)
    if not is_installed:
        return EXIT_NOT_INSTALLED
    if fault is not None:
        raise CommandError(f"The service cannot be asked about: {fault}; {_WITHOUT}.")
    return 0 if state is not None and state.is_active else EXIT_NOT_RUNNING


@verb
@option("--lines", "-n", type=click.IntRange(1, 100_000), default=50, help="So many of the last lines.")
@option("--follow", "-f", is_flag=True, help="Go on with what is written, until Ctrl-C.")
def logs(lines: int, follow: bool) -> int:
    """Show what the service wrote.

    Examples: `mlxr service logs`, `mlxr service logs -f`.
    """
    paths, manager = _here()
    fault = manager.fault()
    if fault is not None:
        raise CommandError(f"The service's log cannot be shown: {fault}; the server's own log is {paths.log_file}.")
    command = manager.log_command(lines, is_following=follow)
    try:
        return subprocess.run(command, check=False).returncode
    except FileNotFoundError:
        raise CommandError(f"There is no {command[0]} here; the server's own log is {paths.log_file}.") from None


def _here() -> tuple[Paths, ServiceManager]:
    paths = current_paths()
    return paths, service_manager(paths, dict(os.environ), sys.platform)


def _installed() -> tuple[Paths, ServiceManager]:
    paths, manager = _here()
    if not manager.file.exists():
        raise CommandError("There is no service yet; `mlxr service install` makes one.", exit_code=EXIT_NOT_INSTALLED)
    fault = manager.fault()
    if fault is not None:
        raise CommandError(f"The service cannot be reached: {fault}; {_WITHOUT}.")
    return paths, manager


def _plan(paths: Paths, config: str | None) -> ServicePlan:
    loaded = read_config(paths, config)
    environment = service_environment(os.environ)
    if environment.get(HOME_VARIABLE):
        environment[HOME_VARIABLE] = str(paths.data_dir.parent)  # also where it was given relative to this folder
    options = [] if config is None else ["--config", str(Path(config).expanduser().absolute())]
    if sys.platform == "darwin":
        options.append("--log-file-only")  # nobody cuts the file of an agent's output
    return ServicePlan(
        argv=(sys.executable, "-P", "-m", "router.cli", "serve", *options),
        environment=environment,
        secrets_file=paths.service_secrets_file,
        output_file=paths.output_file,
        ending_s=loaded.server.drain_timeout_s + loaded.limits.stop_timeout_s + ENDING_MARGIN_S,
    )


def _check_no_other(paths: Paths, manager: ServiceManager) -> None:
    """Refuse where another server has the data folder: the service could only fail, again and again.

    Raises:
        CommandError: One runs that is not the service's.
    """
    instance = read_instance(paths)
    if instance is None or (manager.file.exists() and manager.fault() is None and manager.state().is_active):
        return
    raise CommandError(
        f"A server that is no service runs already, as process {instance.pid} on {instance.url}; "
        f"stop it first (`kill {instance.pid}`)."
    )


def _print_where(paths: Paths) -> None:
    instance = read_instance(paths)
    print("The service is started." if instance is None else f"mlxr {instance.version} serves on {instance.url}.")
