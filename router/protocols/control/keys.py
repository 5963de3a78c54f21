"""Routes of API keys: making and ending them, what they used, and what a key may know of itself."""

from typing import Annotated, Final

import msgspec
from litestar.params import FromPath
from litestar.types import ASGIApp
from msgspec import Meta

from router.http.asgi import json_reply
from router.http.caller import Scope, current_caller
from router.http.ignored import noting_ignored
from router.keys.administration import MAX_DAYS, OwnKey
from router.keys.key import Key
from router.keys.making import KeyRow, KeyWishes, MadeKey
from router.keys.store import KeyUsage
from router.protocols.control.api import MLXR_API
from router.protocols.endpoint import Parameter
from router.protocols.parts import AnyRequest, KeysPart, ServingPart
from router.protocols.queries import number_of

_DEFAULT_DAYS: Final = 30
_DAYS: Final = Parameter(
    name="days", type=Annotated[int, Meta(ge=1, le=MAX_DAYS)], what="How many days back, today among them; 30."
)


class KeyList(msgspec.Struct, frozen=True, kw_only=True):
    """Body of GET /v1/mlxr/keys, in the order of their making; those that were revoked are among them."""

    keys: tuple[KeyRow, ...]


class UsageList(msgspec.Struct, frozen=True, kw_only=True):
    """Body of GET /v1/mlxr/keys/usage, by key and day."""

    usage: list[KeyUsage]


@MLXR_API.get("/v1/mlxr/keys", KeyList, scope=Scope.ADMIN, is_private=True)
async def list_keys(keys: KeysPart) -> ASGIApp:
    """List the API keys; never their secrets."""
    return json_reply(KeyList(keys=await keys.rows()))


@MLXR_API.post("/v1/mlxr/keys", MadeKey, body=KeyWishes, scope=Scope.ADMIN, is_private=True)
async def create_key(request: AnyRequest, serving: ServingPart, keys: KeysPart) -> ASGIApp:
    """Make an API key; its secret is shown this one time."""
    with noting_ignored("POST /v1/mlxr/keys", is_strict=True):  # a bound that is misspelt must not be none
        wishes = await serving.read(request, KeyWishes)
    made = await keys.create(wishes)
    return json_reply(made, headers=[(b"cache-control", b"no-store")])


@MLXR_API.delete("/v1/mlxr/keys/{name:str}", Key, scope=Scope.ADMIN, is_private=True)
async def revoke_key(name: FromPath[str], keys: KeysPart) -> ASGIApp:
    """End an API key for good, by its name or id."""
    return json_reply(await keys.revoke(name))


@MLXR_API.get("/v1/mlxr/keys/usage", UsageList, query=(_DAYS,), scope=Scope.ADMIN, is_private=True)
async def get_key_usage(request: AnyRequest, keys: KeysPart) -> ASGIApp:
    """Tell what each API key used, by day."""
    return json_reply(UsageList(usage=await keys.usage(_days(request))))


@MLXR_API.get("/v1/mlxr/keys/me", OwnKey, query=(_DAYS,), scope=Scope.KEY)
async def get_own_key(request: AnyRequest, keys: KeysPart) -> ASGIApp:
    """Tell what the API key that asks allows, has left, and used."""
    return json_reply(await keys.own(current_caller(), _days(request)))


def _days(request: AnyRequest) -> int:
    return number_of(request.query_params, "days", most=MAX_DAYS, default=_DEFAULT_DAYS)


KEY_ROUTES: Final = (list_keys, create_key, revoke_key, get_key_usage, get_own_key)
