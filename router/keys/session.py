"""One session of the page: a further secret of a key, with that key's rights and no more, which ends by itself."""

import re
import secrets
from typing import Final

import msgspec

from router.keys.key import digest_of, new_secret

SESSION_S: Final = 30 * 86_400.0
"""How long one lasts."""

MAX_CLIENT_CHARS: Final = 200
_UNSHOWN: Final = re.compile(r"[^ -~]")


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of it.

    Attributes:
        key_id: Whose rights it has; None = the server's owner's.
        client: What opened it, in its own words: a User-Agent. Untrusted.
        created_at, expires_at: Seconds since 1970.
    """

    id: str
    key_id: str | None
    client: str
    created_at: float
    expires_at: float


class LockedSession(msgspec.Struct, frozen=True):
    """A session with what its secret is known by."""

    session: Session
    salt: bytes
    digest: bytes


def new_session(key_id: str | None, client: str, now: float) -> tuple[str, LockedSession]:
    """Make a session and its secret.

    Args:
        now: Seconds since 1970.
    """
    secret, salt = new_secret(), secrets.token_bytes(16)
    session = Session(
        id=f"ses_{secrets.token_hex(8)}",
        key_id=key_id,
        client=_UNSHOWN.sub("?", client)[:MAX_CLIENT_CHARS],
        created_at=now,
        expires_at=now + SESSION_S,
    )
    return secret, LockedSession(session, salt, digest_of(secret.encode(), salt))
