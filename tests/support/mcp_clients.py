"""The official MCP client, in front of `mlxr mcp` as a process: on stdin and stdout, or over streamable HTTP."""

import contextlib
import os
import re
import select
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from tests.support.gateway_process import environment
from tests.support.processes import ending
from tests.support.waiting import WITHIN_S

_ADDRESS = re.compile(r"serves on (http://\S+)")


def argv(*arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "router.cli", "mcp", *arguments]


@contextlib.asynccontextmanager
async def over_stdio(home: Path, *arguments: str, mode: str = "auto") -> AsyncIterator[Client]:
    command, *rest = argv(*arguments)
    server = StdioServerParameters(command=command, args=rest, env=environment(home))
    async with Client(server, mode=mode, read_timeout_seconds=WITHIN_S) as client:
        yield client


@contextlib.contextmanager
def serving_http(home: Path, *arguments: str, key: str | None = None) -> Iterator[str]:
    """Run `mlxr mcp --http` on a free port; give its address."""
    own = environment(home) | ({} if key is None else {"MLXR_MCP_KEY": key})
    command = argv("--http", "--port", "0", *arguments)
    with ending(subprocess.Popen(command, env=own, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)) as process:
        yield _address(process)
        process.terminate()
        process.wait(WITHIN_S)


def _address(process: "subprocess.Popen[bytes]") -> str:
    assert process.stderr is not None
    text = ""
    while select.select([process.stderr], [], [], WITHIN_S)[0]:
        chunk = os.read(process.stderr.fileno(), 65536).decode()
        text += chunk
        if found := _ADDRESS.search(text):
            return found.group(1)
        if not chunk:
            break
    raise AssertionError(f"mlxr mcp did not start: {text!r}")


@contextlib.asynccontextmanager
async def over_http(address: str, *, key: str | None = None, mode: str = "auto") -> AsyncIterator[Client]:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=WITHIN_S, trust_env=False) as http,
        Client(streamable_http_client(address, http_client=http), mode=mode, read_timeout_seconds=WITHIN_S) as client,
    ):
        yield client


def text_of(result: Any) -> str:
    """Return a result's text."""
    return "".join(each.text for each in result.content)
