"""When a key ends, as people write it. Pure."""

import datetime as dt
import re
from typing import Final

from router.errors import InvalidRequestError

_UNITS_S: Final = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SPAN: Final = re.compile(r"([1-9][0-9]{0,5})([mhdw])")


def expiry(text: str, now: float) -> float | None:
    """Return when a key ends, seconds since 1970; None = never.

    Args:
        text: `30d`, `12h`, `never`, or a day of this machine's calendar, at whose beginning it ends: `2027-01-31`.

    Raises:
        InvalidRequestError: It is no such thing, or lies in the past.
    """
    plain = text.strip().lower()
    if plain == "never":
        return None
    span = _SPAN.fullmatch(plain)
    if span is not None:
        return now + int(span[1]) * _UNITS_S[span[2]]
    try:
        ends_at = dt.datetime.combine(dt.date.fromisoformat(plain), dt.time()).timestamp()
    except (ValueError, OverflowError):
        message = f"expires: {text!r:.40} is no time; write 30d, 12h, a day such as 2027-01-31, or never"
        raise InvalidRequestError(message, "expires") from None
    if ends_at <= now:
        raise InvalidRequestError(f"expires: {text!r:.40} lies in the past", "expires")
    return ends_at
