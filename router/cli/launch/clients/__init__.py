"""The clients, in the order in which they are listed."""

from typing import Final

from router.cli.launch.clients.agents import CLAUDE, CODEX, OPENCODE, QWEN
from router.cli.launch.clients.chats import AIDER, LLM, OPEN_WEBUI
from router.cli.launch.clients.editors import CLINE, CONTINUE, JETBRAINS, VSCODE, XCODE, ZED
from router.cli.launch.plan import Client

CLIENTS: Final[tuple[Client, ...]] = (
    CLAUDE,
    CODEX,
    OPENCODE,
    AIDER,
    QWEN,
    CLINE,
    CONTINUE,
    ZED,
    VSCODE,
    XCODE,
    JETBRAINS,
    OPEN_WEBUI,
    LLM,
)
