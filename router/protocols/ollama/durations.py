"""Times as Ollama writes them: Go's durations, nanoseconds, and RFC 3339 with nanoseconds. Pure.

Source: Go, package time, `ParseDuration`: "a possibly signed sequence of decimal numbers, each with optional fraction
and a unit suffix, such as "300ms", "-1.5h" or "2h45m". Valid time units are "ns", "us" (or "µs"), "ms", "s", "m",
"h"."; Ollama, api/types.go, `Duration.UnmarshalJSON`.
"""

import re
import time
from typing import Final

from router.errors import InvalidRequestError
from router.models.targets import FOREVER_S

_UNITS_S: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_NUMBER: Final = r"(?:[0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})"
_PART: Final = re.compile(rf"({_NUMBER})(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_DURATION: Final = re.compile(rf"[+-]?(?:{_PART.pattern}){{1,16}}", re.ASCII)
_PLAIN: Final = re.compile(rf"[+-]?{_NUMBER}", re.ASCII)

MAX_KEEP_ALIVE_S: Final = 1e9
"""From here on it is forever: 31 years."""


def keep_alive_seconds(value: str | float | None) -> float | None:
    """Return how many seconds a model is to stay loaded, from 0 to infinity; None = the request does not say.

    Args:
        value: `keep_alive` of a request: a duration, or seconds as a number or in a text; negative = forever.

    Raises:
        InvalidRequestError: It is no duration.
    """
    if value is None:
        return None
    seconds = parse_duration(value) if isinstance(value, str) else float(value)
    return FOREVER_S if seconds < 0 or seconds > MAX_KEEP_ALIVE_S else seconds


def parse_duration(text: str) -> float:
    """Return a duration in seconds; a number without a unit is seconds.

    Raises:
        InvalidRequestError: It is none; `param` is `keep_alive`.
    """
    plain = text.strip()
    if _PLAIN.fullmatch(plain):
        return float(plain)
    if _DURATION.fullmatch(plain) is None:
        message = f'keep_alive: {text!r:.60} is no duration; send one such as "5m", "1h30m" or "-1s", or seconds'
        raise InvalidRequestError(message, "keep_alive")
    seconds = sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(plain))
    return -seconds if plain.startswith("-") else seconds


def nanoseconds(milliseconds: float) -> int:
    """Return a time in whole nanoseconds."""
    return round(milliseconds * 1_000_000)


def timestamp(time_ns: int) -> str:
    """Return a moment, in nanoseconds since 1970, as RFC 3339 in UTC."""
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09}Z"
