"""Which model a request of Ollama's API means, and how it is to be loaded and kept."""

from typing import Final

import msgspec

from backends.sequence import Priority
from registry.catalogue import Artifact
from registry.facts import ChatTemplateFacts
from router.models.defaults import RequestDefaults
from router.models.load_settings import load_settings_of, overlaid
from router.models.targets import Purpose
from router.models.wish import Wish
from router.protocols.ollama.durations import keep_alive_seconds
from router.protocols.ollama.names import wish_for
from router.protocols.ollama.options import check_options, load_wishes
from router.protocols.ollama.schemas import ChatRequest, EmbeddingsRequest, EmbedRequest, GenerateRequest, Options
from router.protocols.serving import Arrival
from router.services import Services

_AnyBody = ChatRequest | GenerateRequest | EmbedRequest | EmbeddingsRequest
_NO_OPTIONS: Final = Options()


class AskedModel(msgspec.Struct, frozen=True, kw_only=True):
    """What a request asks to be served by.

    Attributes:
        wish: Model and engine, how it is loaded and how long it stays.
        template: Of the model, or the user's own in its place; None = there is none.
    """

    wish: Wish
    defaults: RequestDefaults
    template: ChatTemplateFacts | None
    priority: Priority


def asked_model(services: Services, arrival: Arrival, body: _AnyBody, purpose: Purpose) -> AskedModel:
    """Return what a request asks for.

    Raises:
        RouterError: The model cannot be served, or an option cannot be honoured.
        RegistryError: There is no such model, or the registry cannot be read.
    """
    by_header = arrival.wishes.load
    wish = wish_for(services.models, body.model, arrival.engine, purpose, by_header)
    target = services.models.resolve(wish).target
    model = services.models.get(wish.model)
    options = body.options or _NO_OPTIONS
    check_options(options, services.config, target.engine.kind)
    artifact = services.models.artifact_of(target)
    by_options = load_wishes(options, services.config, load_settings_of(model.settings), artifact)
    wish = msgspec.structs.replace(
        wish, load=overlaid(by_options, by_header), keep_alive_s=keep_alive_seconds(body.keep_alive)
    )
    own = model.settings.template
    return AskedModel(
        wish=wish,
        defaults=services.defaults_for(wish.model),
        template=_template_of(artifact) if own is None else ChatTemplateFacts.from_text(own),
        priority=arrival.wishes.priority or Priority.INTERACTIVE,
    )


def _template_of(artifact: Artifact | None) -> ChatTemplateFacts | None:
    return None if artifact is None else artifact.facts.chat_template
