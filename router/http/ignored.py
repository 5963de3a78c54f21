"""What of a request has no effect: it is left out, and told in a header of the answer and once in the log.

One rule for all protocols. A field that nobody here knows is no error; a client that wants to be refused instead says
so with a header, and a user in the config (`server.strict_fields`). Where nobody would be told, because no request is
being read, it is refused as well. Not here: fields that are known, of which most that cannot be honoured are refused by
their name whatever the rule (`router.protocols.fields.support`).
"""

import contextlib
import functools
import logging
import re
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Final

from router.errors import InvalidRequestError
from router.http.headers import IGNORED_HEADER

_logger = logging.getLogger(__name__)

_MAX_HEADER_CHARS: Final = 1024
_MAX_FIELD_CHARS: Final = 120
_MAX_PATHS: Final = 512
_MAX_LOGGED: Final = 512
"""Fields that are remembered as logged."""
_UNPRINTABLE: Final = re.compile(r"[^!-+\--~]")
_INDEX: Final = re.compile(r"\[\d+\]")


class IgnoredFields:
    """What of one request is left out.

    Args:
        is_strict: Whether it is to be refused instead.
        asked: What is asked, for the log: `POST /v1/responses`.
    """

    def __init__(self, *, is_strict: bool, asked: str) -> None:
        self.is_strict = is_strict
        self._asked = asked
        self._paths: dict[str, None] = {}

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths in the order in which they were found, none twice: `messages[].x` is the field x of any message."""
        return tuple(self._paths)

    def add(self, path: str) -> None:
        """Leave a part of the request out."""
        shown = _UNPRINTABLE.sub("?", _INDEX.sub("[]", path)[:_MAX_FIELD_CHARS])
        if shown not in self._paths and len(self._paths) < _MAX_PATHS:
            self._paths[shown] = None
            _log_once(self._asked, shown)


_current: ContextVar[IgnoredFields | None] = ContextVar("ignored_fields", default=None)


def may_leave_out() -> bool:
    """Tell whether what has no effect is left out; otherwise it is to be refused."""
    current = _current.get()
    return current is not None and not current.is_strict


def leave_out(path: str, refusal: InvalidRequestError) -> None:
    """Note that a part of the request that is being read has no effect.

    Args:
        refusal: Raised where it is to be refused instead.
    """
    current = _current.get()
    if current is None or current.is_strict:
        raise refusal
    current.add(path)


def note_ignored(paths: Iterable[str]) -> None:
    """Note what has no effect, where it was already decided that it is left out."""
    current = _current.get()
    if current is not None:
        for path in paths:
            current.add(path)


def ignored_fields() -> tuple[str, ...]:
    """Return what was left out of the request that is being read."""
    current = _current.get()
    return () if current is None else current.paths


def ignored_headers() -> list[tuple[bytes, bytes]]:
    """Return the header that tells it; none where nothing was left out."""
    paths = ignored_fields()
    if not paths:
        return []
    shown: list[str] = []
    num_left = _MAX_HEADER_CHARS
    for path in paths:
        num_left -= len(path) + 2
        if num_left < 0:
            shown.append("...")
            break
        shown.append(path)
    return [(IGNORED_HEADER, ", ".join(shown).encode())]


@contextlib.contextmanager
def noting_ignored(asked: str, *, is_strict: bool = False) -> Iterator[IgnoredFields]:
    """Note what is left out of the request that is read in the `with` block."""
    noted = IgnoredFields(is_strict=is_strict, asked=asked)
    token = _current.set(noted)
    try:
        yield noted
    finally:
        _current.reset(token)


@functools.lru_cache(maxsize=_MAX_LOGGED)
def _log_once(asked: str, path: str) -> None:
    _logger.info("%.200s: %s has no effect here (told once)", asked, path)
