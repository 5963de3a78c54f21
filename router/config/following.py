"""The config in force follows its file, and an order to read it now."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from router.config.current import CurrentConfig
from router.config.load import Overrides, apply_overrides
from router.config.schema import Config
from router.config.watch import ConfigWatcher
from router.errors import ConfigError

logger = logging.getLogger(__name__)


class ConfigFollower:
    """Puts each good edit of the file into force; a bad one changes nothing.

    Args:
        current: What is changed.
        file: The config file.
        content: What the file alone said when it was read; what later edits of it are compared with.
        overrides: The command line's, which stay above every later edit.
        user_home: What a leading `~/` of a path in the file stands for.
        on_read: Called after each reading, also of a bad edit.

    Attributes:
        content: What the file said when it was read last and could be.
        overrides: Those that still count.
    """

    def __init__(
        self,
        current: CurrentConfig,
        file: Path,
        content: Config,
        overrides: Overrides,
        *,
        user_home: Path,
        on_read: Callable[[], None],
    ) -> None:
        self.file: Final = file
        self.user_home: Final = user_home
        self.content = content
        self.overrides = overrides
        self._current: Final = current
        self._on_read = on_read
        self._has_read = asyncio.Event()
        self._watcher = ConfigWatcher(file, current=content, user_home=user_home)
        self.read_now: Final = self._watcher.read_now

    async def run(self, on_applied: Callable[[], None]) -> None:
        """Follow until cancelled.

        Args:
            on_applied: Called when another config is in force.
        """
        async for change in self._watcher.changes():
            try:
                self.take(change)
            except ConfigError as exc:
                self._current.error = str(exc)
                logger.warning("the config file is not used: %s", exc)
            else:
                on_applied()
            self._on_read()
            self._has_read.set()
            self._has_read = asyncio.Event()

    async def until_read(self, content: Config) -> None:
        """Read the file now, and return when it was read with that content."""
        while self.content != content:
            has_read = self._has_read
            self.read_now()
            await has_read.wait()

    def take(self, change: Config | ConfigError) -> None:
        """Put a new content into force; what only a restart can change is said in the log.

        Raises:
            ConfigError: It is one, or does not go with the command line's words.
        """
        if isinstance(change, ConfigError):
            raise change
        if change.engine != self.content.engine:
            # Who edits the engine now means it; what the command line said at the start is over.
            self.overrides = msgspec.structs.replace(self.overrides, engine=None)
        self.content = change
        config = apply_overrides(change, self.overrides)
        for waiting in self._current.take_over(config):
            logger.warning("changes of %s take effect after a restart", waiting)
        logger.info("the config file was read: engine is %s", config.engine.value)
