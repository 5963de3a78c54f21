"""The config of a running server, for who looks at it and changes it over HTTP; the file has the say."""

import asyncio
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from registry.threads import in_thread
from router.config.current import CurrentConfig, needs_restart
from router.config.edit import get_at
from router.config.following import ConfigFollower
from router.config.key_types import key_paths
from router.config.load import load_config
from router.config.schema import Config
from router.config.settings.changes import change_file
from router.config.settings.described import ConfigKey, described
from router.config.yaml_text import dotted
from router.errors import UnavailableError

FOLLOWED_WITHIN_S: Final = 10.0
"""How long a change waits for its effect."""


class ConfigAdministration:
    """One per gateway; owned by its event loop.

    Args:
        follower: Puts what is written into force.
    """

    def __init__(self, current: CurrentConfig, follower: ConfigFollower) -> None:
        self._current = current
        self._follower = follower
        self._changing = asyncio.Lock()

    @property
    def file(self) -> Path:
        """The config file."""
        return self._follower.file

    @property
    def error(self) -> str | None:
        """Why the file cannot be used as it is, or None."""
        return self._current.error

    @property
    def in_force(self) -> Config:
        """The config that counts."""
        return self._current.config

    def keys(self) -> tuple[ConfigKey, ...]:
        """Describe every key."""
        return described(self._current, self._follower.content, self._follower.overrides)

    async def change(self, to_set: Mapping[str, Any], to_unset: Iterable[str] = ()) -> tuple[str, ...]:
        """Write into the file, and wait until that is in force; arguments and errors as of `change_file`.

        Returns:
            The keys of which the file says something else now.
        """
        async with self._changing:
            before = msgspec.to_builtins(self._follower.content)
            wanted = await in_thread(partial(self._write, to_set, tuple(to_unset)))
            await self._until_followed(wanted)
            after = msgspec.to_builtins(wanted)
        return tuple(dotted(path) for path in key_paths() if get_at(before, path) != get_at(after, path))

    async def _until_followed(self, wanted: Config) -> None:
        try:
            async with asyncio.timeout(FOLLOWED_WITHIN_S):
                await self._follower.until_read(wanted)
        except TimeoutError as exc:
            message = f"{self.file} is written, but this server has not followed it yet; look again in a moment."
            raise UnavailableError(message) from exc

    def _write(self, to_set: Mapping[str, Any], to_unset: tuple[str, ...]) -> Config:
        change_file(self.file, to_set, to_unset)
        return load_config(self.file, user_home=self._follower.user_home)


def waiting(keys: Iterable[str]) -> tuple[str, ...]:
    """Return those of some keys whose change takes effect after a restart."""
    return tuple(key for key in keys if needs_restart(tuple(key.split("."))))
