"""`mlxr serve`: run the gateway until Ctrl-C, with its log on stderr and in a file. Not here: the gateway."""

import faulthandler
import gc
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from backends.lifeline import end_with_stdin
from registry.catalogue import Model
from router.cli.detach import start_detached
from router.cli.logs.writing import configure_logging
from router.cli.terminal.context import CommandError, check_engine, config_file, current_paths
from router.cli.terminal.options import config_option, engine_option
from router.cli.terminal.verbs import option, verb
from router.config.capability import AUTO
from router.config.instance import ServerFacts
from router.config.load import Overrides, apply_overrides, load_config
from router.config.paths import Paths
from router.config.reference import ensure_config_file
from router.errors import ConfigError
from router.models.engine_choice import usable_artifacts
from router.models.targets import Purpose
from router.signals import end_on_signals
from router.version import VERSION

MAX_PORT = 65_535

EXIT_CONFIG: Final = 78
"""The config cannot be used: to start again is of no use. Source: EX_CONFIG of sysexits(3)."""


@verb
@option("--host", help="Address to listen on, instead of server.host.")
@option("--port", type=click.IntRange(0, MAX_PORT), help="Port, instead of server.port; 0 = any.")
@config_option()
@engine_option("auto, mlx or llamacpp.")
@option("--unix-socket", metavar="PATH", help="Listen on this socket as well.")
@option(
    "--tls-cert-file", metavar="PATH", help="Serve over TLS with this certificate, instead of server.tls_cert_file."
)
@option("--tls-key-file", metavar="PATH", help="Its key, instead of server.tls_key_file.")
@option("--detach", is_flag=True, help="Return once it serves, and leave it running without this terminal.")
@option("--log-file-only", is_flag=True, help="Write the log to its file alone, not to stderr as well.")
@option("--owner", hidden=True, help="The command that this server is started for; it ends when its stdin does.")
def serve(
    host: str | None,
    port: int | None,
    config: str | None,
    engine: str | None,
    unix_socket: str | None,
    tls_cert_file: str | None,
    tls_key_file: str | None,
    detach: bool,
    log_file_only: bool,
    owner: str | None,
) -> int:
    """Serve the models over HTTP until Ctrl-C.

    SIGTERM and Ctrl-C let running answers finish, a second one ends at once, SIGHUP reads the config file again.
    Exit codes: 0 stopped as asked, 1 it cannot serve, 2 a call that makes no sense, 78 the config cannot be used.

    Examples: `mlxr serve`, `mlxr serve --port 8080 --engine mlx`, `mlxr serve --detach`.
    """
    if not detach:
        end_on_signals()
    faulthandler.enable()  # a watchdog's SIGABRT then says where the process hung
    overrides = Overrides(
        host=host,
        port=port,
        unix_socket=unix_socket if unix_socket == AUTO else _absolute(unix_socket),
        tls_cert_file=_absolute(tls_cert_file),
        tls_key_file=_absolute(tls_key_file),
        engine=check_engine(engine),
    )
    paths = current_paths()
    file = config_file(paths, config)
    paths.ensure_folders()
    ensure_config_file(file)
    if detach:
        _detach(paths, _arguments(overrides, file))
        return 0
    try:
        return _serve(paths, file, overrides, owner=owner, has_stderr_log=not log_file_only)
    except ConfigError as exc:
        raise CommandError(str(exc), exit_code=EXIT_CONFIG) from exc


def _absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(path).absolute())


def _arguments(overrides: Overrides, file: Path) -> list[str]:
    """Write a call of this verb anew, for the process that is left running."""
    given = {
        "--host": overrides.host,
        "--port": overrides.port,
        "--unix-socket": overrides.unix_socket,
        "--tls-cert-file": overrides.tls_cert_file,
        "--tls-key-file": overrides.tls_key_file,
        "--engine": overrides.engine,
        "--config": file,
    }
    options = [f"{name}={value}" for name, value in given.items() if value is not None]
    return ["serve", "--log-file-only", *options]


def _detach(paths: Paths, arguments: Sequence[str]) -> None:
    instance = start_detached(paths, arguments, os.environ)
    print(f"mlxr {VERSION} serves on {instance.url} as process {instance.pid}; `kill {instance.pid}` stops it.")
    print(f"Its log: {paths.log_file}; what it prints: {paths.output_file}")


def _serve(paths: Paths, file: Path, overrides: Overrides, *, owner: str | None, has_stderr_log: bool) -> int:
    # What is made until the server serves stays: the collector would go through all of it for nothing, again and again.
    gc.disable()
    from router.gateway import GatewayOptions, run_gateway  # noqa: PLC0415 - half a second, of no use to `--detach`

    file_config = load_config(file, user_home=paths.user_home)
    loaded = apply_overrides(file_config, overrides)
    configure_logging(loaded.logging, paths.log_file, has_stderr=has_stderr_log)
    if owner is not None:
        end_with_stdin(lambda: os.kill(os.getpid(), signal.SIGTERM))
    return run_gateway(
        GatewayOptions(
            config=loaded,
            file_config=file_config,
            config_file=file,
            overrides=overrides,
            paths=paths,
            environment=os.environ,
            owner=owner,
            on_started=lambda services: _on_started(services.server, services.serving.models.list()),
        )
    )


def _on_started(server: ServerFacts, models: Sequence[Model]) -> None:
    gc.freeze()
    gc.enable()
    _print_banner(server, models)


def _print_banner(server: ServerFacts, models: Sequence[Model]) -> None:
    """Say where the server is, what it has, and what to try."""
    print(f"mlxr {VERSION} serves on {server.url} (Ctrl-C stops it); in a browser: {server.certified_url}/ui/")
    if not models:
        print("There are no models yet: `mlxr models pull ORG/REPO` gets one, also while the server runs.", flush=True)
        return
    width = max(len(model.name) for model in models)
    for model in models:
        print(f"  {model.name.ljust(width)}  {', '.join(model.engines) or 'no engine'}")
    name = next((model.name for model in models if usable_artifacts(model, Purpose.GENERATE)), None)
    if name is None:
        print("None of them generates text here; `mlxr models show NAME` says why.", flush=True)
        return
    body = f'{{"model": "{name}", "messages": [{{"role": "user", "content": "Why is the sky blue?"}}]}}'
    trust = "" if server.cert_file is None else f" --cacert {shlex.quote(server.cert_file)}"
    print(f"Try: curl{trust} {server.certified_url}/v1/chat/completions -d '{body}'")
    print(f'or, in another terminal: {_own_command()} run {name} "Why is the sky blue?"', flush=True)


def _own_command() -> str:
    """Give what this command is called in the user's terminal, where an environment's folder is not on the path."""
    return "mlxr" if shutil.which("mlxr") else os.path.relpath(sys.argv[0])
