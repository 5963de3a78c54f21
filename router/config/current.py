"""The config in force: one owner, which everybody else asks anew each time."""

from typing import Final

from msgspec.structs import replace

from router.config.schema import Config

READ_AT_START: Final = ("server", "models", "hub", "logging")
"""Sections of which a change takes effect after a restart."""


class CurrentConfig:
    """Holds the config in force; whoever replaces it tells those who have to act on it.

    Attributes:
        config: Replaced as a whole.
        error: Why the last edit of the file was refused, or None.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.error: str | None = None

    def take_over(self, config: Config) -> tuple[str, ...]:
        """Put another config into force, and return the sections whose changes have to wait for a restart.

        The server's section stays as it was, because it is told to clients as what holds.
        """
        self.error = None
        waiting = tuple(name for name in READ_AT_START if getattr(config, name) != getattr(self.config, name))
        self.config = replace(config, server=self.config.server)
        return waiting
