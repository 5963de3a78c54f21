"""Which engines can do something with a model, and the endpoints that work on one.

Light on purpose: the command line imports it.
"""

from typing import Final

import msgspec

from registry.catalogue import Model
from registry.engines import EngineKind
from registry.facts import ModelKind

ENGINES: Final = tuple(sorted(EngineKind))


class EndpointCapability(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint that works on a model.

    Attributes:
        generates: Whether it needs a model that generates text; the others work on embedding models too.
    """

    path: str
    what: str
    engines: tuple[EngineKind, ...] = ENGINES
    generates: bool = True


ENDPOINTS: Final[tuple[EndpointCapability, ...]] = (
    EndpointCapability(path="POST /v1/chat/completions", what="answer a conversation"),
    EndpointCapability(path="POST /v1/completions", what="continue texts"),
    EndpointCapability(path="POST /v1/responses", what="answer, and keep the conversation to go on from"),
    EndpointCapability(path="POST /v1/responses/input_tokens", what="count a response's input tokens"),
    EndpointCapability(path="POST /v1/messages", what="answer a conversation, in Anthropic's API"),
    EndpointCapability(path="POST /v1/messages/count_tokens", what="count a conversation's tokens, in Anthropic's API"),
    EndpointCapability(path="POST /api/chat", what="answer a conversation, in Ollama's API"),
    EndpointCapability(path="POST /api/generate", what="answer or continue a text, in Ollama's API"),
    EndpointCapability(path="POST /api/embed", what="embed texts, in Ollama's API", generates=False),
    EndpointCapability(path="POST /v1/embeddings", what="embed texts; embedding models run on llamacpp"),
    EndpointCapability(path="POST /v1/chat/completions/input_tokens", what="count a conversation's tokens"),
    EndpointCapability(path="POST /tokenize", what="list a text's tokens"),
    EndpointCapability(path="POST /detokenize", what="write the text of tokens"),
    EndpointCapability(path="POST /apply-template", what="write a conversation as the model's template does"),
    EndpointCapability(path="GET /props", what="describe a model and the defaults of requests"),
    EndpointCapability(path="GET /slots", what="list the places in a loaded model's batch"),
)


def able_engines(model: Model | None) -> tuple[EngineKind, ...]:
    """Return the engines that can do anything with a model; both, when no model is named."""
    return _engines_with(model, frozenset({ModelKind.MODEL, ModelKind.EMBEDDING}))


def generating_engines(model: Model | None) -> tuple[EngineKind, ...]:
    """Return the engines that can generate text with a model; both, when no model is named."""
    return _engines_with(model, frozenset({ModelKind.MODEL}))


def _engines_with(model: Model | None, kinds: frozenset[ModelKind]) -> tuple[EngineKind, ...]:
    if model is None:
        return ENGINES
    usable = {
        artifact.engine for artifact in model.artifacts if artifact.status == "ok" and artifact.facts.kind in kinds
    }
    return tuple(name for name in ENGINES if name in usable)
