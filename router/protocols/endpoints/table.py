"""All endpoints, each with the protocol that it belongs to: the one place that lists them.

Tests hold it to the app's routes, to the dialects of errors and to what is really answered.
"""

from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from registry.engines import EngineSetting
from router.http.error_response import Dialect
from router.http.error_schemas import AnthropicError, OllamaError, OpenAIError
from router.http.headers import ENGINE_HEADER, LOAD_HEADER, PRIORITY_HEADER, SESSION_HEADER, TIMEOUT_HEADER
from router.protocols.endpoints import anthropic, responses
from router.protocols.endpoints.anthropic import ANTHROPIC_ENDPOINTS
from router.protocols.endpoints.base import Endpoint, Parameter, Protocol
from router.protocols.endpoints.batches import BATCH_ENDPOINTS
from router.protocols.endpoints.llamaserver import LLAMASERVER_ENDPOINTS
from router.protocols.endpoints.mlxr import MLXR_ENDPOINTS
from router.protocols.endpoints.ollama import OLLAMA_ENDPOINTS
from router.protocols.endpoints.openai import OPENAI_ENDPOINTS
from router.protocols.endpoints.responses import RESPONSES_ENDPOINTS
from router.protocols.fields.tools import AllowedChoice, NamedChoice
from router.requests.headers import MAX_SESSION_CHARS

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    *OPENAI_ENDPOINTS,
    *BATCH_ENDPOINTS,
    *RESPONSES_ENDPOINTS,
    *ANTHROPIC_ENDPOINTS,
    *OLLAMA_ENDPOINTS,
    *LLAMASERVER_ENDPOINTS,
    *MLXR_ENDPOINTS,
)

PROTOCOLS: Final[dict[Protocol, str]] = {
    "openai": "OpenAI's API.",
    "responses": "OpenAI's Responses API.",
    "anthropic": "Anthropic's Messages API.",
    "ollama": "Ollama's API.",
    "llamaserver": "llama-server's introspection.",
    "mlxr": "mlxr's own API.",
}

READ_BY_TYPE: Final[dict[Protocol, tuple[Any, ...]]] = {
    "openai": (NamedChoice, AllowedChoice),
    "responses": responses.READ_BY_TYPE,
    "anthropic": anthropic.READ_BY_TYPE,
}
"""Objects within requests that only their `type` names (`router.protocols.fields.json_types.read_by_type`)."""

ERRORS: Final[dict[Dialect, Any]] = {
    Dialect.OPENAI: OpenAIError,
    Dialect.OLLAMA: OllamaError,
    Dialect.ANTHROPIC: AnthropicError,
}
"""The shape of errors, by dialect."""

WISH_HEADERS: Final = (
    Parameter(name=ENGINE_HEADER, type=EngineSetting, what="The engine that is to serve it."),
    Parameter(name=LOAD_HEADER, type=str, what="How the model is to be loaded: KEY=VALUE, KEY=VALUE."),
    Parameter(name=PRIORITY_HEADER, type=Literal["interactive", "background"], what="Comes before the body's."),
    Parameter(
        name=SESSION_HEADER,
        type=Annotated[str, Meta(min_length=1, max_length=MAX_SESSION_CHARS)],
        what="The conversation that it belongs to.",
    ),
    Parameter(name=TIMEOUT_HEADER, type=Annotated[float, Meta(gt=0)], what="Seconds that it may take."),
)
"""Headers that say how a request is served, whatever its protocol."""
