"""The list of models, which two protocols ask for by one path: OpenAI's, and Anthropic's by its header."""

from typing import Annotated, Any, Final

from litestar import Request
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import ASGIApp
from msgspec import Meta

from router.http.asgi import json_reply
from router.protocols.anthropic.answer_schemas import ModelInfo, ModelPage
from router.protocols.anthropic.models import VERSION_HEADER, model_info, model_page
from router.protocols.endpoint import Parameter
from router.protocols.openai.answer_schemas import ModelList, ModelObject
from router.protocols.openai.api import OPENAI_API
from router.protocols.openai.model_objects import adapter_object, model_object, model_objects
from router.services import Services

_PAGE: Final = (
    Parameter(
        name="limit", type=Annotated[int, Meta(ge=1, le=1000)], what="Entries of the page, with anthropic-version."
    ),
    Parameter(name="after_id", type=str, what="Id of the model before the page, with anthropic-version."),
    Parameter(name="before_id", type=str, what="Id of the model behind the page, with anthropic-version."),
)

_AnyRequest = Request[Any, Any, Any]


@OPENAI_API.get("/v1/models", ModelList, ModelPage, query=_PAGE)
async def list_models(request: _AnyRequest, services: NamedDependency[Services]) -> ASGIApp:
    """List the models, in Anthropic's shape for clients that send anthropic-version."""
    models = services.models.list()
    if VERSION_HEADER in request.headers:
        return json_reply(model_page(models, request.query_params))
    return json_reply(ModelList([item for model in models for item in model_objects(model)]))


@OPENAI_API.get("/v1/models/{model_id:path}", ModelObject, ModelInfo)
async def get_model(request: _AnyRequest, model_id: FromPath[str], services: NamedDependency[Services]) -> ASGIApp:
    """Describe a model, perhaps with an adapter."""
    name, plus, adapter = model_id.removeprefix("/").partition("+")
    model = services.models.get(name)
    listed = adapter_object(model, adapter) if plus else model_object(model)  # an error where there is no such adapter
    if VERSION_HEADER in request.headers:
        return json_reply(model_info(model, adapter if plus else None))
    return json_reply(listed)


ROUTES: Final = (list_models, get_model)
