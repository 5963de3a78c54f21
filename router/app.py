"""The Litestar app: routes, error handlers, dependencies. No sockets, no processes."""

from litestar import Litestar
from litestar.di import Provide

from router.http.litestar_errors import litestar_settings
from router.protocols.anthropic.routes import anthropic_router
from router.protocols.batches.routes import batches_router
from router.protocols.control.routes import control_router
from router.protocols.llamaserver.routes import llamaserver_router
from router.protocols.model_list import get_model, list_models
from router.protocols.ollama.models.routes import ollama_management_router
from router.protocols.ollama.routes import ollama_router
from router.protocols.openai.counting import count_input_tokens
from router.protocols.openai.embeddings import create_embeddings
from router.protocols.openai.model_deletion import delete_model
from router.protocols.openai.routes import openai_router
from router.protocols.responses.routes import responses_router
from router.services import Services


def create_app(services: Services) -> Litestar:
    """Return the app that serves `services`."""
    return Litestar(
        route_handlers=[
            openai_router,
            list_models,
            get_model,
            create_embeddings,
            count_input_tokens,
            delete_model,
            responses_router,
            batches_router,
            anthropic_router,
            llamaserver_router,
            ollama_router,
            ollama_management_router,
            control_router,
        ],
        dependencies={"services": Provide(lambda: services, use_cache=True, sync_to_thread=False)},
        openapi_config=None,
        **litestar_settings(max_body_bytes=services.config.server.max_body_bytes),
    )
