"""Routes by which the page at /ui/ gets in where keys are: one-time codes, and the sessions that they open."""

from typing import Annotated, Final

import msgspec
from litestar.params import FromPath
from litestar.types import ASGIApp
from msgspec import Meta

from router.http.asgi import json_reply
from router.http.body import decode_json, read_body
from router.http.caller import Scope, current_caller
from router.http.page import PAGE_PATH
from router.keys.session import Session
from router.keys.sessions import MadeSession, PageCode, PageCodeState, SessionList
from router.protocols.control.api import MLXR_API
from router.protocols.parts import AnyRequest, ServerPart, SessionsPart

_CODES: Final = "/v1/mlxr/ui/codes"
_SESSIONS: Final = "/v1/mlxr/ui/sessions"
_MAX_BODY_BYTES: Final = 1024
"""Strangers may send one."""

_NOT_STORED: Final = [(b"cache-control", b"no-store")]


class SessionRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/mlxr/ui/session."""

    code: Annotated[str, Meta(min_length=1, max_length=128)]


@MLXR_API.post(_CODES, PageCode, scope=Scope.KEY, is_private=True)
async def make_code(server: ServerPart, sessions: SessionsPart) -> ASGIApp:
    """Make a one-time code that opens the page with the rights of whoever asks."""
    url = f"{server.certified_url}{PAGE_PATH}/"
    return json_reply(sessions.make_code(current_caller(), url), headers=_NOT_STORED)


@MLXR_API.get(f"{_CODES}/{{code_id:str}}", PageCodeState, scope=Scope.KEY, is_private=True)
async def get_code(code_id: FromPath[str], sessions: SessionsPart) -> ASGIApp:
    """Tell whether a one-time code has been used."""
    return json_reply(sessions.code_state(code_id))


@MLXR_API.post("/v1/mlxr/ui/session", MadeSession, body=SessionRequest, scope=Scope.PUBLIC, is_private=True)
async def open_session(request: AnyRequest, sessions: SessionsPart) -> ASGIApp:
    """Use a one-time code up for a token, which is shown this one time."""
    raw = await read_body(request.scope, request.receive, limit_bytes=_MAX_BODY_BYTES)
    body = decode_json(raw, SessionRequest)
    made = await sessions.open(body.code, request.headers.get("user-agent", ""))
    return json_reply(made, headers=_NOT_STORED)


@MLXR_API.get(_SESSIONS, SessionList, scope=Scope.KEY, is_private=True)
async def list_sessions(sessions: SessionsPart) -> ASGIApp:
    """List the page's sessions of the key that asks; an administrator's all."""
    return json_reply(await sessions.rows(current_caller()))


@MLXR_API.delete(f"{_SESSIONS}/{{session_id:str}}", Session, scope=Scope.KEY, is_private=True)
async def end_session(session_id: FromPath[str], sessions: SessionsPart) -> ASGIApp:
    """End a session of the page for good."""
    return json_reply(await sessions.end(current_caller(), session_id))


SESSION_ROUTES: Final = (make_code, get_code, open_session, list_sessions, end_session)
