"""The route that searches the hub, as `mlxr models search` does."""

from typing import Annotated, Final

import msgspec
from litestar.types import ASGIApp
from msgspec import Meta

from registry.engines import EngineKind
from router.errors import InvalidRequestError
from router.http.asgi import json_reply
from router.http.caller import Scope
from router.http.streaming import until_disconnect
from router.jobs.hub_search import MAX_LIMIT, HubModel, words_and_author
from router.protocols.control.api import MLXR_API
from router.protocols.endpoint import Parameter
from router.protocols.parts import AnyRequest, HubSearchPart, ServingPart
from router.protocols.queries import engine_in, known_parameters, limit_in, page_limit

_DEFAULT_LIMIT: Final = 10
_QUERY: Final = (
    Parameter(name="q", type=str, what="What the names have in them; `@AUTHOR` in it is as `author`."),
    Parameter(name="author", type=str, what="Only of this organization."),
    Parameter(name="engine", type=EngineKind, what="Only for this one."),
    page_limit(MAX_LIMIT),
)


class HubModels(msgspec.Struct, frozen=True, kw_only=True):
    """Body of GET /v1/mlxr/hub/search, most downloads first.

    Attributes:
        weights_budget_bytes: How large weights may be here, whatever is loaded now.
    """

    models: tuple[HubModel, ...]
    weights_budget_bytes: Annotated[int, Meta(ge=0)]


@MLXR_API.get("/v1/mlxr/hub/search", HubModels, query=_QUERY, scope=Scope.MODELS, is_private=True)
async def search(request: AnyRequest, serving: ServingPart, hub_search: HubSearchPart) -> ASGIApp:
    """Look for models on the hub: the size of each quantization, downloads, and what fits here."""
    given = known_parameters(request, *(each.name for each in _QUERY))
    text, author = words_and_author(given.get("q", ""), given.get("author"))
    if not text and author is None:
        raise InvalidRequestError("q: it is missing; send ?q=WORDS, or ?q=@AUTHOR", "q")
    await serving.read_raw(request)  # to its end: behind that stands whether the client is there
    finding = hub_search.find(
        text,
        author=author,
        engine=engine_in(given),
        limit=limit_in(given, most=MAX_LIMIT, default=_DEFAULT_LIMIT),
    )
    found, budget_bytes = await until_disconnect(request.receive, finding)
    return json_reply(HubModels(models=found, weights_budget_bytes=budget_bytes))
