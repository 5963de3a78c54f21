"""GET /v1/mlxr/engine/explain: which engine would serve a request of a model, and by which numbers."""

from typing import Any

from litestar import Request, get
from litestar.di import NamedDependency
from litestar.types import ASGIApp

from router.errors import InvalidRequestError
from router.http.asgi import json_reply
from router.protocols.choice import model_in_query
from router.protocols.control.explain import explain, request_size
from router.services import Services


@get("/v1/mlxr/engine/explain")
async def explain_engine(request: Request[Any, Any, Any], services: NamedDependency[Services]) -> ASGIApp:
    """Tell which engine would serve a request of `?model=`, with `&prompt_tokens=` and `&answer_tokens=`, and why."""
    reference = model_in_query(request.query_params)
    if not reference:
        raise InvalidRequestError("model: it is missing; send ?model=NAME", "model")
    size = request_size(request.query_params.get("prompt_tokens"), request.query_params.get("answer_tokens"))
    return json_reply(explain(services.models, services.models.wish_for(reference, None), size))
