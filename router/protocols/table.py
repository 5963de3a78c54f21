"""All protocols and their endpoints. A new protocol is a folder with its `ROUTES`, and a line here."""

from typing import Final

from litestar.handlers import HTTPRouteHandler, WebsocketRouteHandler

from router.http.dialect import Dialects
from router.protocols.anthropic.api import ANTHROPIC_ERRORS
from router.protocols.anthropic.routes import ROUTES as ANTHROPIC
from router.protocols.batches.routes import ROUTES as BATCHES
from router.protocols.contexts.routes import ROUTES as CONTEXTS
from router.protocols.control.routes import ROUTES as CONTROL
from router.protocols.conversations.own_routes import OWN_ROUTES as OWN_CONVERSATIONS
from router.protocols.conversations.routes import ROUTES as CONVERSATIONS
from router.protocols.decisions.routes import ROUTES as DECISIONS
from router.protocols.endpoint import Api, Endpoint, endpoints_of
from router.protocols.llamaserver.routes import ROUTES as LLAMASERVER
from router.protocols.lmstudio.routes import ROUTES as LMSTUDIO
from router.protocols.models import ROUTES as MODELS
from router.protocols.models import VERSION_HEADER
from router.protocols.ollama.routes import ROUTES as OLLAMA
from router.protocols.openai.routes import ROUTES as OPENAI
from router.protocols.rerank.routes import ROUTES as RERANK
from router.protocols.responses.compacting import ROUTES as COMPACTING
from router.protocols.responses.routes import ROUTES as RESPONSES
from router.protocols.responses.socket import serve_responses

ROUTES: Final[tuple[HTTPRouteHandler, ...]] = (
    *OPENAI,
    *DECISIONS,
    *RERANK,
    *MODELS,
    *BATCHES,
    *RESPONSES,
    *COMPACTING,
    *CONVERSATIONS,
    *OWN_CONVERSATIONS,
    *CONTEXTS,
    *ANTHROPIC,
    *OLLAMA,
    *LLAMASERVER,
    *LMSTUDIO,
    *CONTROL,
)

SOCKETS: Final[tuple[WebsocketRouteHandler, ...]] = (serve_responses,)

ENDPOINTS: Final[tuple[Endpoint, ...]] = tuple(row for route in ROUTES for row in endpoints_of(route))

APIS: Final[tuple[Api, ...]] = tuple({row.api.name: row.api for row in ENDPOINTS}.values())

DIALECTS: Final = Dialects(
    {prefix: api.dialect for api in APIS for prefix in api.prefixes},
    by_header={"/v1/models": (VERSION_HEADER, ANTHROPIC_ERRORS)},
)
