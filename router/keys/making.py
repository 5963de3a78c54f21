"""Making keys, for the command line and over HTTP: what may be wished for, and what is told of the keys there are."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import asdict

from backends.wire.request import Priority
from router.errors import InvalidRequestError
from router.http.caller import Scope
from router.keys.expiry import expiry
from router.keys.key import GrantedScope, Key, new_key
from router.keys.store import KeyStore

MAX_RATE: Final = 1_000_000_000
MAX_PATTERNS: Final = 64

Rate = Annotated[int, Meta(ge=1, le=MAX_RATE)]
Pattern = Annotated[str, Meta(min_length=1, max_length=128)]
State = Literal["good", "revoked", "expired"]


class KeyWishes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a new key is to be: body of POST /v1/mlxr/keys.

    Attributes:
        name: What it is for; up to 64 letters, digits and . _ @ -, a letter or digit first.
        models: Patterns of names of models (`*`, `?`); null = all.
        expires: `30d`, `12h`, a day such as `2027-01-31`, or `never`.
        priority: Of all its requests, whatever they say.
        requests_per_minute, tokens_per_minute: null = no limit.
    """

    name: Annotated[str, Meta(min_length=1, max_length=256)]
    scope: GrantedScope = "inference"
    models: Annotated[tuple[Pattern, ...], Meta(min_length=1, max_length=MAX_PATTERNS)] | None = None
    expires: Annotated[str, Meta(max_length=40)] = "never"
    priority: Priority | None = None
    requests_per_minute: Rate | None = None
    tokens_per_minute: Rate | None = None


class KeyRow(Key, frozen=True, kw_only=True):
    """A key as lists show it.

    Attributes:
        last_used_at: Seconds since 1970; null = it was not used yet.
    """

    last_used_at: float | None = None
    state: State = "good"


class MadeKey(Key, frozen=True, kw_only=True):
    """A new key, with what is never shown again.

    Attributes:
        secret: What clients send.
        is_first: Whether requests need a key from now on, because there was none before.
    """

    secret: str
    is_first: bool


def make_key(store: KeyStore, wishes: KeyWishes, now: float) -> MadeKey:
    """Make a key and keep it.

    Args:
        now: Seconds since 1970.

    Raises:
        InvalidRequestError: The wishes contradict each other, or the time is none.
        KeyNameError: The name cannot be one.
        KeyExistsError, TooManyKeysError: As of `KeyStore.add`.
    """
    if wishes.models is not None and wishes.scope == "admin":
        message = "models: a key of scope admin may everything; leave models out, or choose another scope"
        raise InvalidRequestError(message, "models")
    secret, made = new_key(
        wishes.name,
        scope=Scope(wishes.scope),
        created_at=now,
        models=wishes.models,
        expires_at=expiry(wishes.expires, now),
        priority=wishes.priority,
        requests_per_minute=wishes.requests_per_minute,
        tokens_per_minute=wishes.tokens_per_minute,
    )
    is_first = not store.all()
    store.add(made)
    return MadeKey(**asdict(made.key), secret=secret, is_first=is_first)


def key_rows(store: KeyStore, now: float) -> tuple[KeyRow, ...]:
    """List all keys, in the order of their making."""
    last_used = {used.key_id: used.last_used_at for used in store.usage()}  # by day: the newest comes last
    return tuple(_row(key, last_used.get(key.id), now) for key in store.all())


def _row(key: Key, last_used_at: float | None, now: float) -> KeyRow:
    is_bad = key.problem(now) is not None
    state: State = "good" if not is_bad else "revoked" if key.revoked_at is not None else "expired"
    return KeyRow(**asdict(key), last_used_at=last_used_at, state=state)
