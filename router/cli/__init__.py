"""The command line: `mlxr`. One file per verb group; each imports what it needs inside the verb, to start quickly."""

from router.cli.app import main

__all__ = ["main"]
