"""The command line: `mlxr`. One file per verb or group of verbs, imported when a verb of it is called."""

from router.cli.app import main

__all__ = ["main"]
