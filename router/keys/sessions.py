"""The page's sessions of a running server: how the page gets in where keys are, and who may see and end them."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec.structs import asdict

from registry.threads import in_thread
from router.errors import SessionForbiddenError, SessionNotFoundError, UnauthorizedError
from router.http.caller import Caller
from router.keys.codes import CODE_S, CodeState, OneTimeCodes
from router.keys.session import Session, new_session
from router.keys.store import KeyStore

_T = TypeVar("_T")
_BAD_CODE: Final = "The code has been used, is older than a minute, or never was one; `mlxr ui` opens the page anew."


class PageCode(msgspec.Struct, frozen=True, kw_only=True):
    """How the page is opened: body of POST /v1/mlxr/ui/codes.

    Attributes:
        url: Of the page, as a browser on the server's machine reaches it.
        id: By which it is asked what has become of the code.
        code: Stands in the address's fragment, as `#code=`; null = the server wants no key.
        valid_s: How long it counts.
    """

    url: str
    id: str | None
    code: str | None
    valid_s: float


class PageCodeState(msgspec.Struct, frozen=True, kw_only=True):
    """What has become of a code."""

    state: CodeState


class SessionRow(Session, frozen=True, kw_only=True):
    """A session as lists show it.

    Attributes:
        is_current: Whether it is the one that asks.
    """

    is_current: bool = False


class SessionList(msgspec.Struct, frozen=True, kw_only=True):
    """Body of GET /v1/mlxr/ui/sessions, oldest first."""

    sessions: tuple[SessionRow, ...]


class MadeSession(Session, frozen=True, kw_only=True):
    """A new session.

    Attributes:
        token: What the page sends as its key; shown this one time.
    """

    token: str


class PageSessions:
    """See the module; a running server sees what is changed here as what another process changes.

    Args:
        path: Of the keys' file.
        is_key_needed: Whether requests need a key.
        clock: Seconds since 1970.
    """

    def __init__(
        self, path: Path, is_key_needed: Callable[[], bool], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._is_key_needed = is_key_needed
        self._clock = clock
        self._codes = OneTimeCodes()

    def make_code(self, caller: Caller, url: str) -> PageCode:
        """Make a one-time code for whoever asks; a session makes none, so that none outlives the one it came from.

        Args:
            url: Of the page.

        Raises:
            SessionForbiddenError: A session asks.
        """
        if caller.session_id is not None:
            raise SessionForbiddenError
        if not self._is_key_needed():
            return PageCode(url=url, id=None, code=None, valid_s=CODE_S)
        code_id, code = self._codes.make(caller.key_id)
        return PageCode(url=url, id=code_id, code=code, valid_s=CODE_S)

    def code_state(self, code_id: str) -> PageCodeState:
        """Tell what has become of a code."""
        return PageCodeState(state=self._codes.state(code_id))

    async def open(self, code: str, client: str) -> MadeSession:
        """Open a session with a code, which is used up.

        Args:
            client: What asks, in its own words.

        Raises:
            UnauthorizedError: The code is not good.
        """
        is_good, key_id = self._codes.redeem(code)
        if not is_good:
            raise UnauthorizedError(_BAD_CODE)
        now = self._clock()
        token, made = new_session(key_id, client, now)
        await self._with_store(lambda store: store.add_session(made, now))
        return MadeSession(**asdict(made.session), token=token)

    async def rows(self, caller: Caller) -> SessionList:
        """List the sessions that whoever asks may end: his key's, an administrator all."""
        now = self._clock()
        sessions = await self._with_store(lambda store: store.sessions(now))
        return SessionList(
            sessions=tuple(
                SessionRow(**asdict(each), is_current=each.id == caller.session_id)
                for each in sessions
                if caller.may_see(each.key_id)
            )
        )

    async def end(self, caller: Caller, session_id: str) -> Session:
        """End a session.

        Raises:
            SessionNotFoundError: There is none of that id, or it is not his.
        """
        sessions = (await self.rows(caller)).sessions
        if all(each.id != session_id for each in sessions):
            raise SessionNotFoundError(session_id)
        return await self._with_store(lambda store: store.end_session(session_id))

    async def _with_store(self, work: Callable[[KeyStore], _T]) -> _T:
        return await in_thread(partial(_run, self._path, work))


def _run(path: Path, work: Callable[[KeyStore], _T]) -> _T:
    with KeyStore.opened(path) as store:
        return work(store)
