"""Our tools as an MCP server, and serving it on stdin and stdout. Not here: what tools do (`tools.py`), and HTTP.

Source: Model Context Protocol, revision 2025-11-25, "Server features / Tools" and "Utilities / Progress"; the package
`mcp` speaks the later and earlier revisions as well.
"""

import contextlib
import json
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import anyio
import anyio.from_thread
import anyio.to_thread
import mcp_types as types
import msgspec
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from router.cli.client.errors import ClientError
from router.cli.client.jobs import JobClient
from router.cli.mcp.tools import TOOLS, Allowance, Call, RefusedError, Tool, tool_named
from router.cli.terminal.context import CommandError
from router.version import VERSION

Context: TypeAlias = ServerRequestContext[Any, Any]
Connecting = Callable[[], JobClient]
"""Gives a client of the gateway that runs now; raises a CommandError where none does."""

_FAILURES: Final = (ClientError, CommandError, RefusedError, msgspec.ValidationError, UnicodeError)
_INSTRUCTIONS: Final = (
    "Tools of mlxr, the local LLM inference router of this machine: one model name, two engines (mlx and llamacpp). "
    "Numbers are measured on this machine; what was not measured is null."
)


class _Progress:
    """Passes on from the tool's thread how far it is, for as long as that grows, as the protocol demands.

    Attributes:
        is_begun: Whether anything was told.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._last = -1.0
        self.is_begun = False

    def tell(self, share: float, what: str) -> None:
        self.is_begun = True
        if share > self._last:
            self._last = share
            anyio.from_thread.run(self._context.session.report_progress, share, 1.0, what)


def server_of(connecting: Connecting, allowed: Allowance) -> Server[Any]:
    """Make the server.

    Args:
        allowed: Only the tools that need no more are listed; others are refused.
    """

    async def on_list_tools(_: Context, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_listed(tool) for tool in TOOLS if tool.needs <= allowed])

    async def on_call_tool(context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            tool = tool_named(params.name, allowed)
            asked = msgspec.convert(params.arguments or {}, tool.takes)
            found = await _called(tool, asked, connecting, allowed, context)
        except _FAILURES as exc:
            return types.CallToolResult(content=[types.TextContent(text=str(exc))], is_error=True)
        return types.CallToolResult(content=[types.TextContent(text=json.dumps(found))], structured_content=found)

    return Server(
        "mlxr",
        version=VERSION,
        title="mlxr",
        instructions=_INSTRUCTIONS,
        on_list_tools=on_list_tools,
        on_call_tool=on_call_tool,
    )


async def serve_stdio(server: Server[Any]) -> None:
    """Serve one client on stdin and stdout, until it closes them."""
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def _listed(tool: Tool) -> types.Tool:
    hints = types.ToolAnnotations(
        read_only_hint=tool.needs is Allowance.READ,
        destructive_hint=False,
        idempotent_hint=tool.changes or tool.needs is Allowance.READ,
        open_world_hint=False,
    )
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.input_schema,
        annotations=hints,
    )


async def _called(
    tool: Tool, asked: msgspec.Struct, connecting: Connecting, allowed: Allowance, context: Context
) -> dict[str, Any]:
    """Do a tool's work on a thread; what was begun for a call that is cancelled is ended."""
    progress = _Progress(context)

    def work() -> dict[str, Any]:
        with connecting() as client:
            return tool.work(Call(client=client, allowed=allowed, tell=progress.tell), asked)

    def give_up() -> None:
        assert tool.give_up is not None
        with connecting() as client, contextlib.suppress(ClientError):  # it has ended by itself
            tool.give_up(client)

    try:
        return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
    except anyio.get_cancelled_exc_class():
        if tool.give_up is not None and progress.is_begun:
            with anyio.CancelScope(shield=True), contextlib.suppress(CommandError):
                await anyio.to_thread.run_sync(give_up)
        raise
