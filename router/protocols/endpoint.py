"""One endpoint, declared once, beside its handler: by whose protocol, what it takes, what it answers, who may.

    @ANTHROPIC.post("/v1/messages", AnswerMessage, body=MessagesRequest, scope=Scope.INFERENCE)
    async def create_message(...) -> ASGIApp:
        \"\"\"Answer a conversation.\"\"\"

What follows from it: Litestar's route, the API's document (`openapi`) with the first line of the handler's docstring as
its summary, the capability report's endpoints, the table in docs/api.md, and in whose dialect errors come. Which
protocols there are: `table`.
"""

import re
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec
from litestar.enums import HttpMethod
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler

from router.http.caller import Scope
from router.http.dialect import OPENAI, Dialect

Method = Literal["GET", "HEAD", "POST", "PATCH", "DELETE"]
Use = Literal["generate", "embed"]
"""What an endpoint needs of a model: that it generates text, or that it can at least be embedded with."""

JSON: Final = "application/json"
TEXT: Final = "text/plain"
BINARY: Final = "application/octet-stream"
FORM: Final = "multipart/form-data"

_CONVERTER: Final = re.compile(r"\{(\w+):\w+\}")
_KEY: Final = "endpoints"
SCOPES: Final = "scopes"
"""Under which a route says what its callers must have, all of it."""


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter of the query, or a header; `what` it does in one sentence."""

    name: str
    type: Any
    what: str
    is_required: bool = False


class Answer(msgspec.Struct, frozen=True):
    """What comes with one status: a body of any of some types, or none."""

    types: tuple[Any, ...] = ()
    media: str = JSON


class Stream(msgspec.Struct, frozen=True):
    """What comes instead, a piece after the other.

    Attributes:
        media: `SSE` or `NDJSON` of `router.http.streaming`.
        events: Types of the pieces beside the dialect's errors; after some, SSE ends with `[DONE]`.
    """

    media: bytes
    events: tuple[Any, ...]


class Body(msgspec.Struct, frozen=True):
    """What a request brings; the type `bytes` = anything."""

    type: Any
    media: str = JSON


class Api(msgspec.Struct, frozen=True):
    """A protocol that clients speak.

    Attributes:
        name: In the API's document and in lists.
        what: One line.
        dialect: Of errors below `prefixes`.
        prefixes: Paths that are this protocol's alone, whatever stands behind them.
        read_by_type: Objects within requests that only their `type` names (`json_types.read_by_type`).
    """

    name: str
    what: str
    dialect: Dialect = OPENAI
    prefixes: tuple[str, ...] = ()
    read_by_type: tuple[Any, ...] = ()

    def endpoint(self, method: Method, path: str, *types: Any, body: Any = None, **more: Any) -> "Declaration":
        """Declare an endpoint: what decorates its handler.

        Args:
            path: As Litestar has it: `/v1/models/{model_id:path}`.
            *types: Of the body of a 200, any of them; none = it has no body.
            body: Type of the request's JSON, or a `Body`; None = none is read.
            **more: Further attributes of `Endpoint`; `scope` must be among them.
        """
        given = {
            "answers": {200: Answer(types)},
            "body": body if body is None or isinstance(body, Body) else Body(body),
            **more,
        }
        return Declaration(Endpoint(api=self, method=method, path=path, **given))

    def get(self, path: str, *types: Any, **more: Any) -> "Declaration":
        """Declare an endpoint that answers a GET; arguments as of `endpoint`."""
        return self.endpoint("GET", path, *types, **more)

    def head(self, path: str, *types: Any, **more: Any) -> "Declaration":
        """Declare an endpoint that answers a HEAD; arguments as of `endpoint`."""
        return self.endpoint("HEAD", path, *types, **more)

    def post(self, path: str, *types: Any, **more: Any) -> "Declaration":
        """Declare an endpoint that answers a POST; arguments as of `endpoint`."""
        return self.endpoint("POST", path, *types, **more)

    def patch(self, path: str, *types: Any, **more: Any) -> "Declaration":
        """Declare an endpoint that answers a PATCH; arguments as of `endpoint`."""
        return self.endpoint("PATCH", path, *types, **more)

    def delete(self, path: str, *types: Any, **more: Any) -> "Declaration":
        """Declare an endpoint that answers a DELETE; arguments as of `endpoint`."""
        return self.endpoint("DELETE", path, *types, **more)

    def inference(self, path: str, *types: Any, use: Use = "generate", **more: Any) -> "Declaration":
        """Declare a POST that a model serves, as the request's headers want it; arguments as of `endpoint`."""
        return self.post(path, *types, has_request_headers=True, use=use, scope=Scope.INFERENCE, **more)


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint, as data.

    Attributes:
        scope: What its caller must have; there is no default, so that none is open by being forgotten.
        summary: One line; the handler's docstring has it.
        body: Of requests; None = none is read.
        headers: That it reads, beside those.
        answer_headers: That its answers have, beside those of all.
        has_request_headers: Whether the headers that say how a request is served are read.
        answers: By status.
        stream: That requests may ask for, or that is the answer; None = there is none.
        use: What it needs of a model; None = nothing.
        is_private: Whether, of web pages, only the server's own and those that the config names may ask; they alone
            may also delete, and change what is not an answer (`is_for_own_pages`).
    """

    api: Api
    method: Method
    path: str
    scope: Scope
    summary: str = ""
    body: Body | None = None
    query: tuple[Parameter, ...] = ()
    headers: tuple[Parameter, ...] = ()
    answer_headers: tuple[Parameter, ...] = ()
    has_request_headers: bool = False
    answers: dict[int, Answer] = {}
    stream: Stream | None = None
    use: Use | None = None
    is_private: bool = False

    @property
    def is_for_own_pages(self) -> bool:
        """Whether, of web pages, only the server's own and those that the config names may ask.

        Those of other programs of this machine may ask models; a declaration cannot forget to keep them from more.
        """
        changes = self.method not in {"GET", "HEAD"} and self.scope in {Scope.MODELS, Scope.ADMIN}
        return self.is_private or changes or self.method == "DELETE"

    @property
    def url(self) -> str:
        """The path as OpenAPI has it: `/v1/models/{model_id}`."""
        return _CONVERTER.sub(r"{\1}", self.path)

    @property
    def path_parameters(self) -> list[str]:
        """Names of the parameters in the path."""
        return _CONVERTER.findall(self.path)

    @property
    def stream_types(self) -> tuple[Any, ...]:
        """Types of what a stream may bring, errors among them."""
        return () if self.stream is None else (*self.stream.events, self.api.dialect.shape)


class Declaration:
    """Makes a Litestar handler of a function; one that stands on another makes the same function answer both."""

    def __init__(self, *endpoints: Endpoint) -> None:
        self._endpoints = endpoints

    def __or__(self, other: "Declaration") -> "Declaration":
        """Declare two endpoints of one handler."""
        return Declaration(*self._endpoints, *other._endpoints)

    def __call__(self, handler: Callable[..., Any]) -> HTTPRouteHandler:
        """Return the route."""
        lines = (handler.__doc__ or "").strip().splitlines()
        assert lines, "an endpoint's summary is its handler's docstring"
        rows = [msgspec.structs.replace(each, summary=each.summary or lines[0]) for each in self._endpoints]
        return HTTPRouteHandler(
            list(dict.fromkeys(row.path for row in rows)),
            http_method=[HttpMethod(method) for method in dict.fromkeys(row.method for row in rows)],
            status_code=200,
            opt={_KEY: tuple(rows), SCOPES: {row.scope for row in rows}},
        )(handler)


def also_at(route: HTTPRouteHandler, path: str, api: Api) -> HTTPRouteHandler:
    """Return a route by which another protocol's path is answered as an endpoint that there is."""
    row = endpoints_of(route)[0]
    return Declaration(msgspec.structs.replace(row, api=api, path=path))(route.fn)


def scopes_of(handler: BaseRouteHandler) -> set[Scope]:
    """Return all that a route's caller must have; what declares nothing, such as Litestar's OPTIONS, is an admin's."""
    scopes: set[Scope] = handler.opt.get(SCOPES) or {Scope.ADMIN}
    return scopes


def endpoints_of(handler: BaseRouteHandler) -> tuple[Endpoint, ...]:
    """Return what was declared of a route."""
    rows: tuple[Endpoint, ...] = handler.opt.get(_KEY, ())
    return rows
