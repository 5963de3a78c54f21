"""One-time codes: whoever has one is given a session of the one who asked for it. In memory; only hashes are kept.

Owned by the event loop.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Final, Literal

import msgspec

CODE_S: Final = 60.0
"""How long one counts."""

_MAX_CODES: Final = 32
"""Kept at a time; with one more the oldest goes."""

CodeState = Literal["waiting", "used", "gone"]


class _Code(msgspec.Struct):
    digest: bytes
    key_id: str | None
    ends_at: float
    is_used: bool = False


class OneTimeCodes:
    """See the module.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._codes: dict[str, _Code] = {}

    def make(self, key_id: str | None) -> tuple[str, str]:
        """Make a code with 256 random bits.

        Args:
            key_id: Whose session it is for; None = the owner's.

        Returns:
            Its id, which opens nothing, and the code.
        """
        self._drop_old()
        while len(self._codes) >= _MAX_CODES:
            self._codes.pop(next(iter(self._codes)))
        code_id, code = f"code_{secrets.token_hex(8)}", secrets.token_urlsafe(32)
        self._codes[code_id] = _Code(_digest(code), key_id, self._clock() + CODE_S)
        return code_id, code

    def redeem(self, code: str) -> tuple[bool, str | None]:
        """Use a code up.

        Returns:
            Whether it was good, and whose session it is for.
        """
        self._drop_old()
        digest, found = _digest(code), None
        for each in self._codes.values():
            if hmac.compare_digest(each.digest, digest) and not each.is_used:
                found = each
        if found is None:
            return False, None
        found.is_used = True
        return True, found.key_id

    def state(self, code_id: str) -> CodeState:
        """Tell what has become of a code; `gone` = it is no longer good, or there was none."""
        self._drop_old()
        code = self._codes.get(code_id)
        return "gone" if code is None else "used" if code.is_used else "waiting"

    def _drop_old(self) -> None:
        now = self._clock()
        self._codes = {code_id: code for code_id, code in self._codes.items() if code.ends_at > now}


def _digest(code: str) -> bytes:
    return hashlib.sha256(code.encode("utf-8", "surrogatepass")).digest()
