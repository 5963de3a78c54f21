"""`mlxr mcp`: the running server as tools of an agent. Not here: the tools (`tools.py`) and the protocol."""

import asyncio
import os
import signal
import sys
from importlib import import_module
from typing import Final

import click
from click.core import ParameterSource

from router.cli.client.jobs import JobClient
from router.cli.mcp.tools import TOOLS, Allowance
from router.cli.terminal.context import CommandError, current_paths, file_in_use, read_config
from router.cli.terminal.server import instance_or_error
from router.cli.terminal.verbs import option, verb
from router.config.paths import Paths
from router.config.server import is_loopback
from router.http.hosts import HostRules

PACKAGE: Final = "mcp>=2.3.0"
"""As pyproject.toml has it, in the extra of that name."""

KEY_VARIABLE: Final = "MLXR_MCP_KEY"
MIN_KEY_CHARS: Final = 16
DEFAULT_PORT: Final = 11435


@verb
@option(
    "--allow",
    type=click.Choice([each.word for each in Allowance]),
    metavar="|".join(each.word for each in Allowance),
    default=Allowance.READ.word,
    help="What agents may do: only read; also measure and set a model's engine; also set that of all.",
)
@option("--http", "is_http", is_flag=True, help="Serve streamable HTTP at /mcp, instead of stdin and stdout.")
@option(
    "--host", metavar="ADDRESS", default="127.0.0.1", help=f"With --http. Others than loopback need {KEY_VARIABLE}."
)
@option(
    "--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, metavar="N", help="With --http. 0 = any free one."
)
def mcp(allow: str, is_http: bool, host: str, port: int) -> None:
    """Serve agents the running server's models, status, engine choice and benchmarks as tools of MCP.

    Agents start it themselves, on stdin and stdout. It needs a package that other verbs do not, and says which command
    installs it. HTTP clients have to send the key that is in MLXR_MCP_KEY, if one is.

    Examples: `mlxr mcp`, `mlxr mcp --allow models`, `mlxr mcp --http --port 11435`,
    `claude mcp add mlxr -- mlxr mcp`, `codex mcp add mlxr -- mlxr mcp`.
    """
    asked = click.get_current_context().get_parameter_source
    given = [name for name in ("host", "port") if asked(name) is ParameterSource.COMMANDLINE]
    if given and not is_http:
        raise CommandError(f"--{given[0]} means nothing without --http, which serves HTTP.", exit_code=2)
    paths = current_paths()
    allowed = Allowance[allow.upper()]
    try:
        serving = import_module("router.cli.mcp.serving")  # with the package it takes a second
    except ImportError as exc:
        way_out = f"`{sys.executable} -m pip install '{PACKAGE}'` installs it"
        raise CommandError(f"mlxr mcp needs a package that is not here ({exc}): {way_out}.") from exc
    server = serving.server_of(lambda: JobClient(instance_or_error(paths)), allowed)
    if is_http:
        _serve_http(server, paths, host, port, allowed)
        return
    if sys.stdin.isatty():
        print("mlxr: MCP on stdin and stdout, for an agent that starts this; Ctrl-C ends it.", file=sys.stderr)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the thread that reads stdin cannot be woken
    asyncio.run(serving.serve_stdio(server))


def _serve_http(server: object, paths: Paths, host: str, port: int, allowed: Allowance) -> None:
    """Serve over HTTP, and say where.

    Raises:
        CommandError: It cannot listen there, or others could ask without a key.
    """
    key = os.environ.get(KEY_VARIABLE) or None
    if key is not None and len(key) < MIN_KEY_CHARS:
        raise CommandError(f"{KEY_VARIABLE}: a key has {MIN_KEY_CHARS} characters or more.", exit_code=2)
    if key is None and not is_loopback(host):
        way_out = f"`export {KEY_VARIABLE}=$(openssl rand -hex 24)` first"
        raise CommandError(f"--host {host}: other machines could ask without a key; {way_out}.", exit_code=2)
    file = file_in_use(paths, None)
    config = read_config(paths, str(file) if file.exists() else None).server
    rules = HostRules(host, allowed_hosts=config.allowed_hosts, allowed_origins=config.allowed_origins)
    over_http = import_module("router.cli.mcp.over_http")
    with over_http.bound(host, port) as listening:
        at = f"[{host}]" if ":" in host else host
        tools = ", ".join(tool.name for tool in TOOLS if tool.needs <= allowed)
        address = f"http://{at}:{listening.getsockname()[1]}{over_http.MCP_PATH}"
        print(
            f"mlxr mcp serves on {address} ({'with' if key else 'without'} a key): {tools}", file=sys.stderr, flush=True
        )
        asyncio.run(over_http.serve_http(server, listening, rules, key))
