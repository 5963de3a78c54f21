"""The keys of a running server, for who administers them over HTTP, and what each key may know of itself."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from backends.wire.request import Priority
from registry.threads import in_thread
from router.http.caller import Caller, Scope
from router.keys.key import Key
from router.keys.making import KeyRow, KeyWishes, MadeKey, key_rows, make_key
from router.keys.store import KeyStore, KeyUsage, first_day
from router.keys.use import KeyLimit, KeyUse

MAX_DAYS: Final = 36_500
_T = TypeVar("_T")


class OwnKey(msgspec.Struct, frozen=True, kw_only=True):
    """What a key is, and has left.

    Attributes:
        id: null = whoever asks needs no key: the server's owner, or anybody where no key was made.
        models: Patterns of names of models; null = all.
        expires_at: Seconds since 1970; null = never.
        session_id: Of the page, by which it is asked; null = by the key itself.
        limits: What is left of this minute; empty where nothing is bounded.
        usage: By day, of the last 30.
    """

    id: str | None
    name: str
    scope: Scope
    models: tuple[str, ...] | None
    priority: Priority | None
    expires_at: float | None
    session_id: str | None
    limits: list[KeyLimit]
    usage: list[KeyUsage]


class KeyAdministration:
    """See the module; a running server sees what is changed here as what another process changes.

    Args:
        path: Of the keys' file.

    Attributes:
        use: Counts what keys use; None = nobody counts.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.use: KeyUse | None = None

    async def create(self, wishes: KeyWishes) -> MadeKey:
        """Make a key; errors as of `make_key`."""
        return await self._with_store(lambda store: make_key(store, wishes, time.time()))

    async def revoke(self, name: str) -> Key:
        """End a key for good.

        Args:
            name: Or id.

        Raises:
            KeyNotFoundError: There is none.
        """
        return await self._with_store(lambda store: store.revoke(name, time.time()))

    async def rows(self) -> tuple[KeyRow, ...]:
        """List all keys, in the order of their making."""
        await self._written()
        return await self._with_store(lambda store: key_rows(store, time.time()))

    async def usage(self, days: int) -> list[KeyUsage]:
        """Return what all keys used, by key and day, today among the days."""
        await self._written()
        return await self._with_store(lambda store: store.usage(first_day(days)))

    def is_good(self, caller: Caller) -> bool:
        """Tell whether somebody who was let in would still be."""
        return self.use is None or self.use.is_good(caller)

    async def own(self, caller: Caller, days: int) -> OwnKey:
        """Return what a key may know of itself."""
        used = [] if caller.key_id is None else await self.usage(days)
        key = None if self.use is None else self.use.key_of(caller)
        return OwnKey(
            id=caller.key_id,
            name=caller.name,
            scope=caller.scope,
            models=caller.models,
            priority=caller.priority,
            expires_at=None if key is None else key.expires_at,
            session_id=caller.session_id,
            limits=[] if self.use is None else self.use.limits(caller),
            usage=[each for each in used if each.key_id == caller.key_id],
        )

    async def _written(self) -> None:
        if self.use is not None:
            await self.use.written()

    async def _with_store(self, work: Callable[[KeyStore], _T]) -> _T:
        def run() -> _T:
            with KeyStore.opened(self._path) as store:
                return work(store)

        return await in_thread(run)
