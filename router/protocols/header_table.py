"""The headers of requests and answers, as the API's document shows them. Not here: how they are read and written."""

from typing import Annotated, Final, Literal

from msgspec import Meta

from backends.wire.request import SpeculationMode
from registry.engines import EngineSetting
from registry.settings import ContextMode
from router.config.images import Side
from router.http.headers import (
    CONTEXT_HEADER,
    ENGINE_HEADER,
    HOPS_HEADER,
    IGNORED_HEADER,
    IMAGE_SIDE_HEADER,
    LOAD_HEADER,
    PRIORITY_HEADER,
    REQUEST_ID_HEADER,
    RETRIES_HEADER,
    SESSION_HEADER,
    SPECULATION_HEADER,
    STRICT_HEADER,
    TIMEOUT_HEADER,
    WORKER_HEADER,
    WOUND_HEADER,
)
from router.protocols.endpoint import Parameter
from router.requests.headers import MAX_SESSION_CHARS

REQUEST_HEADERS: Final = (
    Parameter(name=ENGINE_HEADER, type=EngineSetting, what="The engine that is to serve it."),
    Parameter(name=LOAD_HEADER, type=str, what="How the model is to be loaded: KEY=VALUE, KEY=VALUE."),
    Parameter(name=PRIORITY_HEADER, type=Literal["interactive", "background"], what="Comes before the body's."),
    Parameter(
        name=SESSION_HEADER,
        type=Annotated[str, Meta(min_length=1, max_length=MAX_SESSION_CHARS)],
        what="The conversation that it belongs to.",
    ),
    Parameter(name=WORKER_HEADER, type=Annotated[int, Meta(ge=1)], what="The worker that is to serve it, of several."),
    Parameter(name=TIMEOUT_HEADER, type=Annotated[float, Meta(gt=0)], what="Seconds that it may take."),
    Parameter(name=IMAGE_SIDE_HEADER, type=Side, what="Pixels that the longer side of images is shrunk to."),
    Parameter(name=SPECULATION_HEADER, type=SpeculationMode, what="Whether tokens are drafted, and by what."),
    Parameter(name=CONTEXT_HEADER, type=ContextMode, what="What becomes of a conversation that fills the context."),
    Parameter(name=HOPS_HEADER, type=Annotated[int, Meta(ge=0)], what="Servers of mlxr that passed it on, by these."),
    Parameter(name=STRICT_HEADER, type=bool, what="Whether to refuse it for fields that nobody knows."),
)
"""Those that say how a request is served, whatever its protocol."""

REQUEST_ID: Final = Parameter(
    name=REQUEST_ID_HEADER.decode(), type=str, what="By which the request is listed and can be cancelled."
)
"""Of every answer."""
SERVED_HEADERS: Final = (
    Parameter(name=IGNORED_HEADER.decode(), type=str, what="What of the request had no effect: paths of its fields."),
    Parameter(
        name=RETRIES_HEADER.decode(),
        type=Annotated[int, Meta(ge=1)],
        what="How often it began again on another worker, because the first one died.",
    ),
    Parameter(
        name=WOUND_HEADER.decode(),
        type=str,
        what="How a conversation was wound: turns=N; before=TOKENS; after=TOKENS; id=ID, and left_out.",
    ),
)
"""Of answers to requests that a model serves, each where there is something to say."""
ERROR_HEADERS: Final = (
    Parameter(name="retry-after", type=Annotated[int, Meta(ge=1)], what="Seconds after which a retry makes sense."),
    Parameter(name="www-authenticate", type=str, what="How to send a key, where one is needed."),
)
"""Of errors, likewise."""
