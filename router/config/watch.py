"""Notice that the config file changed, and say what it now holds.

By polling: one `stat` each half second costs microseconds, works on every file system and for every way in which
editors save, and needs neither a thread nor another library. Not here: what to do about a change; a bad file changes
nothing, the caller keeps its config.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path

from router.config.load import load_config
from router.config.schema import Config
from router.errors import ConfigError

POLL_INTERVAL_S = 0.5
"""How often the file is looked at; a change is seen after one to two of these."""

FileSignature = tuple[int, int, int, int]
"""What changes when a file is written or replaced."""


def file_signature(path: Path) -> FileSignature | None:
    """Return that of a file; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


class Polling:
    """The time between two looks at something; whoever asks has the next one at once."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._is_asked = asyncio.Event()

    def ask(self) -> None:
        """Let the next look be now."""
        self._is_asked.set()

    async def next(self) -> bool:
        """Wait for the next look; tell whether somebody asked for it."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._is_asked.wait(), self._interval_s)
        is_asked = self._is_asked.is_set()
        self._is_asked.clear()
        return is_asked


class ConfigWatcher:
    """Watches one file on the running event loop.

    Args:
        path: The config file; it may be missing, replaced or a symbolic link.
        current: What the file held when the caller read it, without overrides of the command line.
        user_home: What a leading `~/` of a path in the file stands for.
        interval_s: Seconds between two looks.
    """

    def __init__(
        self, path: Path, *, current: Config, user_home: Path | None = None, interval_s: float = POLL_INTERVAL_S
    ) -> None:
        self._path = path
        self._user_home = user_home
        self._polling = Polling(interval_s)
        self._latest: Config | str = current
        self._is_present = False

    def read_now(self) -> None:
        """Read the file at once, and yield what it holds even if that is nothing new."""
        self._polling.ask()

    async def changes(self) -> AsyncGenerator[Config | ConfigError, None]:
        """Yield each new content of the file until the iterating task is cancelled.

        A file counts as written when two looks in a row see the same, so that a half-written one is not read. Content
        that means the same as before yields nothing. A `ConfigError` leaves the previous config in force; the next good
        content is yielded even when it equals that config, because it clears the error.

        Yields:
            The new config, or why there is none.
        """
        read: FileSignature | None = None
        seen = file_signature(self._path)
        self._is_present = seen is not None
        while True:
            is_asked = await self._polling.next()
            previous, seen = seen, file_signature(self._path)
            if not is_asked and (seen != previous or seen == read):
                continue
            read = seen
            result = await self._read(seen, is_asked=is_asked)
            if result is not None:
                yield result

    async def _read(self, signature: FileSignature | None, *, is_asked: bool) -> Config | ConfigError | None:
        """Read what there is; None when it says nothing new and nobody asked."""
        try:
            config = await asyncio.to_thread(self._load, signature)
        except ConfigError as exc:
            return exc if self._is_news(str(exc)) or is_asked else None
        self._is_present = signature is not None
        return config if self._is_news(config) or is_asked else None

    def _load(self, signature: FileSignature | None) -> Config:
        if signature is None and self._is_present:
            raise ConfigError(f"{self._path}: the file is gone; the last config stays in force until it is back")
        return load_config(self._path, user_home=self._user_home)

    def _is_news(self, content: Config | str) -> bool:
        is_news = content != self._latest
        self._latest = content
        return is_news
