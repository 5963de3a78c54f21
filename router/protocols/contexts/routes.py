"""Routes of what was told again of conversations: listing it, what a model sees now, deleting."""

from typing import Any, Final

from litestar.params import FromPath
from litestar.types import ASGIApp

from router.context.shown import shown_messages
from router.http.asgi import json_reply
from router.http.caller import Scope
from router.protocols.control.api import MLXR_API
from router.protocols.parts import AnyRequest, ContextsPart
from router.protocols.queries import AFTER, known_parameters, limit_in, page_limit
from router.status.contexts import ContextEntry, ContextList, ContextShown, DeletedContexts
from router.stores.contexts import Wind

_ALL: Final = "/v1/mlxr/contexts"
_ONE: Final = f"{_ALL}/{{context_id:str}}"
_MAX_PAGE: Final = 200


@MLXR_API.get(_ALL, ContextList, query=(page_limit(_MAX_PAGE), AFTER), scope=Scope.INFERENCE, is_private=True)
async def list_contexts(request: AnyRequest, contexts: ContextsPart) -> ASGIApp:
    """List what was told again of the conversations of the key that asks, the last used first."""
    given = known_parameters(request, "limit", "after")
    limit = limit_in(given, most=_MAX_PAGE, default=50)
    winds = await contexts.page(after=given.get("after"), limit=limit + 1)
    entries = [ContextEntry(**_fields_of(each)) for each in winds[:limit]]
    num, num_bytes = await contexts.sizes()
    return json_reply(ContextList(contexts=entries, has_more=len(winds) > limit, num_contexts=num, num_bytes=num_bytes))


@MLXR_API.delete(_ALL, DeletedContexts, scope=Scope.INFERENCE, is_private=True)
async def delete_contexts(contexts: ContextsPart) -> ASGIApp:
    """Forget what was told again of all conversations of the key that asks, for administrators of everybody's."""
    return json_reply(DeletedContexts(await contexts.delete_all()))


@MLXR_API.get(_ONE, ContextShown, scope=Scope.INFERENCE, is_private=True)
async def get_context(context_id: FromPath[str], contexts: ContextsPart) -> ASGIApp:
    """Return what was told of a conversation, and what its model sees of it now."""
    wind = await contexts.get(context_id)
    shown = ContextShown(**_fields_of(wind), narrative=wind.narrative, messages=shown_messages(wind.shown))
    return json_reply(shown)


@MLXR_API.delete(_ONE, DeletedContexts, scope=Scope.INFERENCE, is_private=True)
async def delete_context(context_id: FromPath[str], contexts: ContextsPart) -> ASGIApp:
    """Forget what was told of a conversation, earlier and later contexts of it as well."""
    return json_reply(DeletedContexts(await contexts.delete(context_id)))


def _fields_of(wind: Wind) -> dict[str, Any]:
    return {
        "id": wind.context_id,
        "owner": wind.owner,
        "model": wind.model,
        "session": wind.session_id,
        "conversation": wind.kept_in,
        "earlier": wind.earlier_id,
        "turns": wind.num_turns,
        "tokens_before": wind.tokens_before,
        "tokens_after": wind.tokens_after,
        "narrative_tokens": wind.narrative_tokens,
        "by": wind.told_by,
        "ms": round(wind.ms, 1),
        "left_out": wind.is_left_out,
        "is_stored": wind.is_stored,
        "num_bytes": wind.num_bytes,
        "created_at": round(wind.created_at, 3),
        "used_at": round(wind.used_at, 3),
    }


ROUTES: Final = (list_contexts, delete_contexts, get_context, delete_context)
