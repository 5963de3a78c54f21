"""What is said of one endpoint: by whose protocol, what it takes, what it answers. Data only; they are in `table`."""

import re
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from router.http.error_response import Dialect

Protocol = Literal["openai", "responses", "anthropic", "ollama", "llamaserver", "mlxr"]
Method = Literal["GET", "HEAD", "POST", "DELETE"]

JSON: Final = "application/json"
SSE: Final = "text/event-stream"
NDJSON: Final = "application/x-ndjson"
TEXT: Final = "text/plain"
BINARY: Final = "application/octet-stream"
FORM: Final = "multipart/form-data"

DIALECTS: Final[dict[Protocol, Dialect]] = {
    "openai": Dialect.OPENAI,
    "responses": Dialect.OPENAI,
    "anthropic": Dialect.ANTHROPIC,
    "ollama": Dialect.OLLAMA,
    "llamaserver": Dialect.OPENAI,
    "mlxr": Dialect.OPENAI,
}
"""Whose errors a protocol's endpoints answer with."""

_CONVERTER: Final = re.compile(r"\{(\w+):\w+\}")


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter of the query, or a header.

    Attributes:
        is_required: Whether a request without it is refused.
    """

    name: str
    type: Any
    what: str
    is_required: bool = False


class Answer(msgspec.Struct, frozen=True):
    """What comes with one status.

    Attributes:
        types: Of the body, any of them; () = it has none.
    """

    types: tuple[Any, ...] = ()
    media: str = JSON


class Stream(msgspec.Struct, frozen=True):
    """What comes instead, a piece after the other.

    Attributes:
        media: `SSE` or `NDJSON`.
        events: Types of the pieces; after some, SSE ends with `[DONE]`.
    """

    media: str
    events: tuple[Any, ...]


class Body(msgspec.Struct, frozen=True):
    """What a request brings.

    Attributes:
        type: Of the body; `bytes` = anything.
    """

    type: Any
    media: str = JSON


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint.

    Attributes:
        path: As Litestar has it: `/v1/models/{model_id:path}`.
        body: Of requests; None = none is read.
        has_wishes: Whether the headers that say how a request is served are read.
        stream: That requests may ask for, or that is the answer; None = there is none.
    """

    method: Method
    path: str
    protocol: Protocol
    dialect: Dialect
    summary: str
    body: Body | None = None
    query: tuple[Parameter, ...] = ()
    has_wishes: bool = False
    answers: dict[int, Answer] = {}
    stream: Stream | None = None

    @property
    def url(self) -> str:
        """The path as OpenAPI has it: `/v1/models/{model_id}`."""
        return _CONVERTER.sub(r"{\1}", self.path)

    @property
    def path_parameters(self) -> list[str]:
        """Names of the parameters in the path."""
        return _CONVERTER.findall(self.path)


def row(
    protocol: Protocol,
    method: Method,
    path: str,
    summary: str,
    *answers: Any,
    body: Any = None,
    **more: Any,
) -> Endpoint:
    """Return an endpoint that answers with a 200, in its protocol's dialect; `more` says what is otherwise.

    Args:
        *answers: Types of the 200's body, any of them; none = it has no body.
        body: Type of the request's JSON, or a `Body`; None = none is read.
        **more: Further attributes of `Endpoint`.
    """
    fields: dict[str, Any] = {
        "dialect": DIALECTS[protocol],
        "answers": {200: Answer(answers)},
        "body": body if body is None or isinstance(body, Body) else Body(body),
        **more,
    }
    return Endpoint(protocol=protocol, method=method, path=path, summary=summary, **fields)


def page_limit(most: int) -> Parameter:
    """Return the parameter of a list that says how many entries a page has."""
    return Parameter(name="limit", type=Annotated[int, Meta(ge=1, le=most)], what="Entries of the page.")


MODEL: Final = Parameter(name="model", type=str, what="Its name; without it, the one that is loaded.")
AFTER: Final = Parameter(name="after", type=str, what="Id of the entry that the page begins behind.")
ORDER: Final = Parameter(name="order", type=Literal["asc", "desc"], what="The oldest or the newest first.")
