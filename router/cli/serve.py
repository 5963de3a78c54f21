"""`mlxr serve`: run the gateway until Ctrl-C. Not here: the gateway."""

import os
from collections.abc import Sequence
from pathlib import Path

import click

from registry.catalogue import Model
from router.cli.terminal.context import check_engine, config_file, current_paths
from router.cli.terminal.log_setup import configure_logging
from router.cli.terminal.options import config_option, engine_option
from router.cli.terminal.verbs import option, verb
from router.config.load import Overrides, apply_overrides, load_config
from router.config.reference import ensure_config_file
from router.gateway import GatewayOptions, run_gateway
from router.version import VERSION

MAX_PORT = 65_535


@verb
@option("--host", help="Address to listen on, instead of server.host.")
@option("--port", type=click.IntRange(0, MAX_PORT), help="Port, instead of server.port; 0 = any.")
@config_option()
@engine_option("auto, mlx or llamacpp.")
@option("--unix-socket", metavar="PATH", help="Listen on this socket as well.")
def serve(host: str | None, port: int | None, config: str | None, engine: str | None, unix_socket: str | None) -> int:
    """Serve the models over HTTP until Ctrl-C.

    Examples: `mlxr serve`, `mlxr serve --port 8080 --engine mlx`.
    """
    setting = check_engine(engine)
    paths = current_paths()
    file = config_file(paths, config)
    overrides = Overrides(
        host=host,
        port=port,
        unix_socket=None if unix_socket is None else str(Path(unix_socket).absolute()),
        engine=setting,
    )
    paths.ensure_folders()
    ensure_config_file(file)
    file_config = load_config(file, user_home=paths.user_home)
    loaded = apply_overrides(file_config, overrides)
    configure_logging(loaded.logging, paths.log_file)
    return run_gateway(
        GatewayOptions(
            config=loaded,
            file_config=file_config,
            config_file=file,
            overrides=overrides,
            paths=paths,
            environment=os.environ,
            on_started=lambda services: _print_banner(services.url or "", services.models.list()),
        )
    )


def _print_banner(url: str, models: Sequence[Model]) -> None:
    """Say where the server is, what it has, and one line to try."""
    print(f"mlxr {VERSION} serves on {url} (Ctrl-C stops it)")
    if not models:
        print("There are no models yet: `mlxr models pull ORG/REPO` gets one, also while the server runs.", flush=True)
        return
    width = max(len(model.name) for model in models)
    for model in models:
        print(f"  {model.name.ljust(width)}  {', '.join(model.engines) or 'no engine'}")
    name = next((model.name for model in models if model.engines), models[0].name)
    body = f'{{"model": "{name}", "messages": [{{"role": "user", "content": "Why is the sky blue?"}}]}}'
    print(f"Try: curl {url}/v1/chat/completions -d '{body}'", flush=True)
