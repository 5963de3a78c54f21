"""The last events of a server, and those who follow them.

Each event has an id, `RUN-NUMBER`; a follower is a place in the numbers, and holds nothing. One who reads so slowly
that the events at its place are gone is cut, and told what it has missed when it comes again. An event that is not for
whoever follows is passed over, also where it is told again later. Owned by the event loop.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from itertools import islice
from typing import Final

import msgspec

from router.events.kinds import AnyEvent, LoggedEvent, Lost, Snapshot
from router.http.caller import OWNER, Caller, base_name

MAX_KEPT: Final = 2048
"""Events for those who come back: some hundred bytes each."""
MAX_BATCH: Final = 64
"""Events that are handed out at once."""
_encode: Final = msgspec.json.Encoder().encode


class Audience(msgspec.Struct, frozen=True):
    """Whom an event is for.

    Attributes:
        owners: Ids of the keys whose it is, None among them = the server's owner; without a list it is nobody's own.
        model: That it is about, perhaps with an adapter; None = about none.
    """

    owners: frozenset[str | None] | None = None
    model: str | None = None

    def has(self, caller: Caller) -> bool:
        """Tell whether somebody is told."""
        if self.owners is not None and not caller.may_see_any(self.owners):
            return False
        return self.model is None or caller.may_use(base_name(self.model))


EVERYBODY: Final = Audience()


class EventLog:
    """See the module.

    Args:
        snapshot: How everything stands, for somebody.
        run: Names this run of the server in ids; None = at random.
    """

    def __init__(
        self, snapshot: Callable[[Caller], Snapshot], *, max_kept: int = MAX_KEPT, run: str | None = None
    ) -> None:
        self._snapshot = snapshot
        self._run = run or secrets.token_hex(4)
        self._kept: deque[tuple[bytes, Audience]] = deque(maxlen=max_kept)
        self._last = 0
        self._news = asyncio.Event()
        self._is_closed = False

    @property
    def last_id(self) -> str:
        """The id of the newest event; that of number 0 where there is none."""
        return self._id(self._last)

    def tell(self, event: LoggedEvent, audience: Audience = EVERYBODY) -> None:
        """Keep an event and hand it to all who follow and whom it is for."""
        self._last += 1
        self._kept.append((sse_frame(event, self.last_id), audience))
        self._wake()

    def close(self) -> None:
        """Let all who follow come to their end, and those who come later at once."""
        self._is_closed = True
        self._wake()

    async def follow(
        self, last_id: str | None = None, caller: Caller = OWNER, is_good: Callable[[], bool] = lambda: True
    ) -> AsyncIterator[bytes]:
        """Yield events as server-sent ones, until the log is closed or they are read too slowly.

        Args:
            last_id: What follows this one is told first; None = how everything stands.
            caller: Who follows.
            is_good: Whether that one still may; asked before each new event.
        """
        place = self._last if last_id is None else self._number(last_id)
        missing = self._missing_before(place)
        if last_id is not None and missing != 0:
            yield sse_frame(Lost(after=last_id[:80], num_events=missing), None)
            place = self._last - len(self._kept)
            while batch := self._after(place):
                place += len(batch)
                if chunk := _joined(batch, caller):
                    yield chunk
            if self._missing_before(place):
                return
        if last_id is None or missing != 0:
            place = self._last
            yield sse_frame(self._snapshot(caller), self.last_id)
        assert place is not None
        while not self._is_closed and self._missing_before(place) == 0:
            batch = self._after(place)
            if batch:
                if not is_good():
                    return
                place += len(batch)
                if chunk := _joined(batch, caller):
                    yield chunk
            else:
                await self._news.wait()

    def _after(self, place: int) -> list[tuple[bytes, Audience]]:
        """Return the next events behind a number, none where they are gone."""
        start = place - (self._last - len(self._kept))
        return list(islice(self._kept, start, start + MAX_BATCH)) if start >= 0 else []

    def _missing_before(self, place: int | None) -> int | None:
        """Return how many events behind a number are gone; None where that number is not of this run."""
        return None if place is None else max(0, self._last - len(self._kept) - place)

    def _number(self, event_id: str) -> int | None:
        run, _, text = event_id.partition("-")
        is_number = text.isascii() and text.isdigit() and len(text) <= len(str(self._last))
        return int(text) if run == self._run and is_number and int(text) <= self._last else None

    def _id(self, number: int) -> str:
        return f"{self._run}-{number}"

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def _joined(batch: Iterable[tuple[bytes, Audience]], caller: Caller) -> bytes:
    return b"".join(frame for frame, audience in batch if audience.has(caller))


def sse_frame(event: AnyEvent, event_id: str | None) -> bytes:
    """Return an event of a stream, named by its type. Source: WHATWG HTML, section 9.2.6."""
    head = b"" if event_id is None else b"id: " + event_id.encode() + b"\n"
    name = str(event.__struct_config__.tag).encode()
    return head + b"event: " + name + b"\ndata: " + _encode(event) + b"\n\n"
