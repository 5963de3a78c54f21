"""The route of events: what happens in the server, as it happens."""

from typing import Annotated, Final

from litestar.types import ASGIApp
from msgspec import Meta

from router.events.kinds import EVENT_TYPES
from router.http.caller import Scope, current_caller
from router.http.streaming import SSE
from router.protocols.control.api import MLXR_API
from router.protocols.endpoint import Parameter, Stream
from router.protocols.jobs import long_stream
from router.protocols.parts import AnyRequest, EventsPart, KeysPart, ServingPart

LAST_EVENT_ID: Final = Parameter(
    name="Last-Event-ID",
    type=Annotated[str, Meta(min_length=1)],
    what="The last event that was seen: what came since is told first. Without it, how everything stands.",
)


@MLXR_API.get(
    "/v1/mlxr/events",
    answers={},
    stream=Stream(SSE, EVENT_TYPES),
    headers=(LAST_EVENT_ID,),
    scope=Scope.MODELS,
    is_private=True,
)
async def follow_events(request: AnyRequest, serving: ServingPart, events: EventsPart, keys: KeysPart) -> ASGIApp:
    """Tell what happens: states of models, swaps, memory, heat, jobs."""
    last_id = request.headers.get(LAST_EVENT_ID.name) or None
    caller = current_caller()
    followed = events.follow(last_id, caller, lambda: keys.is_good(caller))
    return long_stream(followed, keepalive_s=serving.config.server.keepalive_s)


EVENT_ROUTES: Final = (follow_events,)
