"""The config in force: one owner, which everybody else asks anew each time."""

from functools import reduce
from typing import Final

from msgspec.structs import replace

from router.config.schema import Config
from router.config.tiers import Tier, completed, settings_in_force, tier_for
from router.config.yaml_text import KeyPath, dotted
from router.status.memory import MemorySetting

READ_AT_START: Final = (("server",), ("models",), ("hub",), ("logging",), ("telemetry",), ("batches", "parallel"))
"""Sections and keys of which a change takes effect after a restart."""


def needs_restart(key: KeyPath) -> bool:
    """Tell whether a change of a key takes effect after a restart only."""
    return any(key[: len(each)] == each for each in READ_AT_START)


class CurrentConfig:
    """Holds the config in force; whoever replaces it tells those who have to act on it.

    Args:
        total_bytes: The memory of this machine, by which unset keys have their values; None = they stay unset.

    Attributes:
        config: Completed by the defaults of the machine's tier; replaced as a whole.
        at_start: What was in force when it was made.
        error: Why the last edit of the file was refused, or None.
    """

    def __init__(self, config: Config, *, total_bytes: int | None = None) -> None:
        self._total_bytes = total_bytes
        self._said = config
        self.config = self._completed(config)
        self.at_start: Final = self.config
        self.error: str | None = None

    @property
    def tier(self) -> Tier:
        """Whose defaults hold."""
        return Tier.DESKTOP if self._total_bytes is None else tier_for(self._said, self._total_bytes)

    @property
    def settings(self) -> list[MemorySetting]:
        """What hangs on the machine's memory, and who has the say about it."""
        return settings_in_force(self._said, self.tier)

    def take_over(self, config: Config) -> tuple[str, ...]:
        """Put another config into force, and return the sections and keys whose changes have to wait for a restart.

        The server's section stays as it was, because it is told to clients as what holds.
        """
        self.error = None
        waiting = tuple(
            dotted(each)
            for each in READ_AT_START
            if reduce(getattr, each, config) != reduce(getattr, each, self.config)
        )
        self._said = replace(config, server=self.config.server)
        self.config = self._completed(self._said)
        return waiting

    def _completed(self, config: Config) -> Config:
        return config if self._total_bytes is None else completed(config, self.tier)
