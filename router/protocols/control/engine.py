"""GET /v1/mlxr/engine/explain: which engine would serve a request of a model, and by which numbers."""

from typing import Annotated, Any, Final

from litestar import Request
from litestar.di import NamedDependency
from litestar.types import ASGIApp
from msgspec import Meta

from router.errors import InvalidRequestError
from router.http.asgi import json_reply
from router.protocols.choice import model_in_query
from router.protocols.control.api import MLXR_API
from router.protocols.control.explain import MAX_TOKENS, Explanation, explain, request_size
from router.protocols.endpoint import Parameter
from router.services import Services

_Tokens = Annotated[int, Meta(ge=1, le=MAX_TOKENS)]
_EXPLAINED: Final = (
    Parameter(name="model", type=str, what="Its name.", is_required=True),
    Parameter(name="prompt_tokens", type=_Tokens, what="Of the request."),
    Parameter(name="answer_tokens", type=_Tokens, what="Expected of its answer."),
)


@MLXR_API.get("/v1/mlxr/engine/explain", Explanation, query=_EXPLAINED)
async def explain_engine(request: Request[Any, Any, Any], services: NamedDependency[Services]) -> ASGIApp:
    """Tell which engine would serve a request, and why."""
    reference = model_in_query(request.query_params)
    if not reference:
        raise InvalidRequestError("model: it is missing; send ?model=NAME", "model")
    size = request_size(request.query_params.get("prompt_tokens"), request.query_params.get("answer_tokens"))
    return json_reply(explain(services.models, services.models.wish_for(reference, None), size))
