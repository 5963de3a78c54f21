"""What keys use: counted, written to their file now and then, and bounded per minute where a key has bounds.

A bound is a bucket that fills up evenly over a minute. Tokens are known when an answer has ended: a request is let in
while any are left, and what it takes beyond is missing afterwards. Clocks are monotonic.
"""

import asyncio
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from router.errors import RateLimitedError, UnauthorizedError
from router.http.caller import Caller
from router.keys.key import Key
from router.keys.store import KeyStore, KeyUsage
from router.stores.base import StoreThread

WRITE_S: Final = 5.0
"""How often what was used is written."""

_MINUTE_S: Final = 60.0


class Bucket:
    """What is left of one bound; full at first.

    Args:
        limit: Per minute, at least 1.
        now: Monotonic seconds.
    """

    def __init__(self, limit: int, now: float) -> None:
        self.limit = limit
        self._left = float(limit)
        self._at = now

    def left(self, now: float) -> float:
        """Return what may be used; below 0 where more was used than there was."""
        self._left = min(float(self.limit), self._left + (now - self._at) * self.limit / _MINUTE_S)
        self._at = now
        return self._left

    def take(self, amount: float, now: float) -> None:
        """Use some."""
        self._left = self.left(now) - amount

    def wait_s(self, needed: float, now: float) -> float:
        """Return in how many seconds so much is left; 0 = it is."""
        return max(0.0, (needed - self.left(now)) * _MINUTE_S / self.limit)


class KeyLimit(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of one bound.

    Attributes:
        what: `requests` or `tokens`.
        limit: Per minute.
        remaining: Now; 0 also where more was used than there was.
        reset_s: Until all of it is there again.
    """

    what: str
    limit: int
    remaining: int
    reset_s: float


class KeyUse:
    """Counts for all keys; owned by the event loop. `run` is its task.

    Args:
        path: Of the keys' file.
        key_of: Gives a key that is good now.
        is_session_good: Whether a session of the page has not ended.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        path: Path,
        key_of: Callable[[str], Key | None],
        *,
        is_session_good: Callable[[str], bool] = lambda _: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._is_session_good = is_session_good
        self._key_of = key_of
        self._clock = clock
        self._buckets: dict[tuple[str, str], Bucket] = {}
        self._unwritten: dict[tuple[str, str], KeyUsage] = {}
        self._thread = StoreThread(lambda: KeyStore.opened(path), "keys")

    async def run(self) -> None:
        """Write what was used, until cancelled; then all that is left."""
        try:
            while True:
                await asyncio.sleep(WRITE_S)
                self.write()
        finally:
            self.write()
            await self._thread.close()

    def write(self) -> None:
        """Write what was used since the last time."""
        if self._unwritten:
            used, self._unwritten = list(self._unwritten.values()), {}
            self._thread.post(lambda store: store.add_usage(used), "what keys used was not written")

    def admit(self, caller: Caller) -> None:
        """Count a request, or refuse it.

        Raises:
            RateLimitedError: The key has used what it may in a minute.
            UnauthorizedError: It is no longer good, though the connection that the request came by was let in with it.
        """
        if caller.session_id is not None and not self._is_session_good(caller.session_id):
            raise UnauthorizedError("The session of the page has ended; `mlxr ui` opens it anew.")
        if caller.key_id is None:
            return
        key = self._key_of(caller.key_id)
        if key is None:
            raise UnauthorizedError(f"The API key '{caller.name}' is no longer good: it was revoked, or has expired.")
        now = self._clock()
        for what, bucket in self._bounds(key).items():
            wait_s = bucket.wait_s(1.0, now)
            if wait_s > 0:
                self._count(caller.key_id, num_refused=1)
                raise RateLimitedError(
                    f"The API key '{caller.name}' may use {bucket.limit} {what} per minute; retry in "
                    f"{max(1, math.ceil(wait_s))} s.",
                    retry_after_s=wait_s,
                )
        self._count(caller.key_id, num_requests=1)
        bucket_of_requests = self._bounds(key).get("requests")
        if bucket_of_requests is not None:
            bucket_of_requests.take(1.0, now)

    def add_tokens(self, key_id: str | None, *, num_prompt: int, num_cached: int, num_answer: int) -> None:
        """Count what an answer took; also one that was cancelled or failed."""
        if key_id is None or not num_prompt + num_answer:
            return
        self._count(key_id, num_prompt_tokens=num_prompt, num_cached_tokens=num_cached, num_answer_tokens=num_answer)
        bucket = self._bounds(self._key_of(key_id)).get("tokens")
        if bucket is not None:
            bucket.take(float(num_prompt + num_answer), self._clock())

    def headers(self, caller: Caller) -> list[tuple[bytes, bytes]]:
        """Return what tells a client of its key's bounds; [] where there are none.

        Source: OpenAI, "Rate limits", "Rate limits in headers".
        """
        told = []
        for each in self.limits(caller):
            values = {"limit": str(each.limit), "remaining": str(each.remaining), "reset": f"{each.reset_s:.3g}s"}
            told += [(f"x-ratelimit-{name}-{each.what}".encode(), value.encode()) for name, value in values.items()]
        return told

    def limits(self, caller: Caller) -> list[KeyLimit]:
        """Return what is left of a key's bounds; [] where there are none."""
        bounds = self._bounds(self.key_of(caller))
        now = self._clock()  # behind the making of buckets: one that is full must not seem to lack a moment
        return [
            KeyLimit(
                what=what,
                limit=bucket.limit,
                remaining=max(0, math.floor(bucket.left(now))),
                reset_s=bucket.wait_s(float(bucket.limit), now),
            )
            for what, bucket in bounds.items()
        ]

    async def written(self) -> None:
        """Write what was used until now, and wait until it is there."""
        self.write()
        await self._thread.call(lambda _: None)

    def is_good(self, caller: Caller) -> bool:
        """Tell whether somebody who was let in would still be."""
        if caller.session_id is not None and not self._is_session_good(caller.session_id):
            return False
        return caller.key_id is None or self._key_of(caller.key_id) is not None

    def key_of(self, caller: Caller) -> Key | None:
        """Return the key that somebody asks with, if it is good; None where none is needed."""
        return None if caller.key_id is None else self._key_of(caller.key_id)

    def _bounds(self, key: Key | None) -> dict[str, Bucket]:
        if key is None:
            return {}
        limits = {"requests": key.requests_per_minute, "tokens": key.tokens_per_minute}
        return {what: self._bucket(key.id, what, limit) for what, limit in limits.items() if limit is not None}

    def _bucket(self, key_id: str, what: str, limit: int) -> Bucket:
        bucket = self._buckets.get((key_id, what))
        if bucket is None:
            bucket = self._buckets[key_id, what] = Bucket(limit, self._clock())
        return bucket

    def _count(self, key_id: str, **counts: int) -> None:
        now = time.time()
        day = time.strftime("%Y-%m-%d", time.gmtime(now))
        used = KeyUsage(key_id=key_id, day=day, last_used_at=now, **counts)
        before = self._unwritten.get((key_id, day))
        self._unwritten[key_id, day] = used if before is None else before + used
