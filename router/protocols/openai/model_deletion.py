"""DELETE /v1/models/NAME: remove a model as `mlxr models rm` does; files that are not mlxr's own stay.

Source: OpenAI API reference, "Delete a fine-tuned model".
"""

from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import ASGIApp

from router.errors import ModelInUseError, UnavailableError
from router.http.asgi import json_reply
from router.protocols.openai.answer_schemas import DeletedModel
from router.protocols.openai.api import OPENAI_API
from router.services import Services


@OPENAI_API.delete("/v1/models/{model_id:path}", DeletedModel)
async def delete_model(model_id: FromPath[str], services: NamedDependency[Services]) -> ASGIApp:
    """Remove a model that is not loaded."""
    name = services.models.get(model_id.removeprefix("/")).name
    for worker in services.supervisor.workers:
        if worker.target is not None and worker.target.model == name:
            raise ModelInUseError(name, str(worker.target.engine))
    if services.making is None:
        raise UnavailableError("The server cannot remove models now; try again in a moment.")
    await services.making.remove(name)
    services.models.forget()
    return json_reply(DeletedModel(id=name, object="model", deleted=True))
