"""One API key: what is kept of it, and its secret, which is shown once and never kept.

A secret has 256 random bits, so that one round of SHA-256 over a salt is as good as many: nobody can try them all.
"""

import hashlib
import re
import secrets
import string
import time
from typing import Final, Literal

import msgspec

from backends.wire.request import Priority
from router.errors import KeyNameError
from router.http.caller import Caller, Scope

SECRET_PREFIX: Final = "sk-mlxr-"  # noqa: S105 - what every secret begins with
"""Tells people and scanners of leaked secrets what it is; `sk-` is what clients and our own log know as a secret."""

NUM_SHOWN_CHARS: Final = len(SECRET_PREFIX) + 6
"""Of a secret, by which its owner knows it again."""

MAX_SECRET_BYTES: Final = 512
"""Longer ones are not looked at."""

_NUM_SECRET_CHARS: Final = 43  # of 62 each: 256 bits
_ALPHABET: Final = string.ascii_letters + string.digits
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")

GrantedScope = Literal["inference", "models", "admin", "metrics"]
"""Scopes that a key may have."""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a key.

    Attributes:
        id: What its things belong to.
        prefix: The first characters of its secret.
        models: Patterns of names of models; None = all.
        priority: Of all its requests; None = as they say.
        requests_per_minute, tokens_per_minute: None = no limit.
        created_at, expires_at, revoked_at: Seconds since 1970.
    """

    id: str
    name: str
    prefix: str
    scope: Scope
    models: tuple[str, ...] | None = None
    priority: Priority | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None

    @property
    def caller(self) -> Caller:
        """Who asks with it."""
        return Caller(key_id=self.id, name=self.name, scope=self.scope, models=self.models, priority=self.priority)

    def problem(self, now: float) -> str | None:
        """Say why it is no longer good; None = it is.

        Args:
            now: Seconds since 1970.
        """
        if self.revoked_at is not None:
            return f"The API key '{self.name}' was revoked."
        if self.expires_at is not None and now >= self.expires_at:
            day = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.expires_at))
            return f"The API key '{self.name}' expired on {day}."
        return None


class Locked(msgspec.Struct, frozen=True):
    """A key with what its secret is known by."""

    key: Key
    salt: bytes
    digest: bytes


def new_key(name: str, *, scope: Scope, created_at: float, **more: object) -> tuple[str, Locked]:
    """Make a key and its secret.

    Args:
        **more: Further attributes of `Key`.

    Raises:
        KeyNameError: The name cannot be one.
    """
    if _NAME.fullmatch(name) is None:
        raise KeyNameError(
            f"{name!r:.80} cannot be a key's name: use up to 64 letters, digits and . _ @ -, a letter or digit first."
        )
    secret = new_secret()
    given = {
        "id": f"key_{secrets.token_hex(8)}",
        "name": name,
        "prefix": secret[:NUM_SHOWN_CHARS],
        "scope": scope,
        "created_at": created_at,
        **more,
    }
    return secret, locked(msgspec.convert(given, Key), secret.encode())


def new_secret() -> str:
    """Return a secret that there has never been."""
    return SECRET_PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_NUM_SECRET_CHARS))


def locked(key: Key, secret: bytes) -> Locked:
    """Return a key as it is kept, under a salt of its own."""
    salt = secrets.token_bytes(16)
    return Locked(key, salt, digest_of(secret, salt))


def digest_of(secret: bytes, salt: bytes) -> bytes:
    """Return what a secret is known by, 32 bytes."""
    return hashlib.sha256(salt + secret).digest()
