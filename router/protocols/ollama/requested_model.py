"""The model that a request of Ollama's API is to be served by, and how its options want it loaded and kept."""

from typing import Any, Final

import msgspec

from backends.wire.request import Priority, SpeculationMode
from registry.engines import EngineKind
from registry.facts import ChatTemplateFacts
from registry.settings import LoadSettings
from router.config import Config
from router.errors import UnsupportedFieldError
from router.http.ignored import leave_out
from router.models.defaults import RequestDefaults
from router.models.load_settings import config_for, load_settings_of, overlaid
from router.models.model_request import ModelRequest
from router.models.targets import Purpose
from router.protocols.fields.mlxr import wished_context, wished_speculation
from router.protocols.fields.sampling import NO_WINDOW
from router.protocols.fields.support import not_honoured
from router.protocols.ollama.durations import keep_alive_seconds
from router.protocols.ollama.names import model_request_for
from router.protocols.ollama.schemas import ChatRequest, EmbeddingsRequest, EmbedRequest, GenerateRequest, Options
from router.protocols.serving import Arrival, RequestService
from router.requests.context_wish import ContextWish

_AnyBody = ChatRequest | GenerateRequest | EmbedRequest | EmbeddingsRequest
_NO_OPTIONS: Final = Options()
_NO_DEFAULTS: Final = RequestDefaults()
_SPEED: Final = frozenset({"main_gpu", "num_batch", "use_mmap", "use_mlock", "numa", "low_vram", "draft_num_predict"})
"""Options that change how fast an answer comes, and not the answer; they stand in the settings of many clients."""


class RequestedModel(msgspec.Struct, frozen=True, kw_only=True):
    """What a request asks to be served by.

    Attributes:
        model_request: Model and engine, how it is loaded and how long it stays.
        template: Of the model, or the user's own in its place; None = there is none.
        speculation: Whether tokens are drafted; None = as the model was loaded.
        context: What is wanted where the conversation fills the context; None = it does not say.
    """

    model_request: ModelRequest
    defaults: RequestDefaults
    template: ChatTemplateFacts | None
    priority: Priority = Priority.INTERACTIVE
    speculation: SpeculationMode | None = None
    context: ContextWish | None = None


def requested_model(
    serving: RequestService,
    arrival: Arrival,
    body: _AnyBody,
    purpose: Purpose,
    model_request: ModelRequest | None = None,
) -> RequestedModel:
    """Return what a request asks for.

    Args:
        model_request: What answers it; None = what it names.
    """
    by_header = arrival.headers.load
    if model_request is None:
        model_request = model_request_for(serving.models, body.model, arrival.headers.engine, purpose, by_header)
    target = serving.models.resolve(model_request).target
    model = serving.models.get(model_request.model)
    options = body.options or _NO_OPTIONS
    defaults = serving.models.defaults_for(model_request.model)
    check_options(options, serving.config, target.engine.kind, defaults)
    artifact = serving.models.artifact_of(target)
    by_options = requested_load(options, serving.config, load_settings_of(model.settings))
    model_request = msgspec.structs.replace(
        model_request,
        load=overlaid(by_options, by_header),
        keep_alive_s=keep_alive_seconds(body.keep_alive),
        min_context=options.num_ctx if by_header.context_length is None else None,
    )
    own = model.settings.template
    fields = body.mlxr if isinstance(body, ChatRequest | GenerateRequest) else None
    of_artifact = None if artifact is None else artifact.facts.chat_template
    return RequestedModel(
        model_request=model_request,
        defaults=defaults,
        template=of_artifact if own is None else ChatTemplateFacts.from_text(own),
        priority=arrival.headers.priority or Priority.INTERACTIVE,
        speculation=wished_speculation(arrival.headers, fields),
        context=wished_context(arrival.headers, fields),
    )


def check_options(
    options: Options, config: Config, engine: EngineKind, defaults: RequestDefaults = _NO_DEFAULTS
) -> None:
    """Refuse what the engine does not honour, unless it asks for what is so anyway; a wish for speed is left out."""
    for name, field in not_honoured(options, engine):
        if name == "penalize_newline" and not _penalizes(options, defaults):
            continue
        if _is_so_anyway(name, getattr(options, name), config, engine):
            continue
        path = f"options.{name}"
        refusal = UnsupportedFieldError(f"{path} is not supported: {field.hint}", path)
        if name not in _SPEED:
            raise refusal
        leave_out(path, refusal)


def _is_so_anyway(name: str, value: Any, config: Config, engine: EngineKind) -> bool:
    configured = {
        ("num_batch", EngineKind.LLAMACPP): config.llamacpp.batch_tokens,
        ("num_batch", EngineKind.MLX): config.mlx.prefill_step_tokens,
        ("use_mmap", EngineKind.LLAMACPP): config.llamacpp.mmap,
    }
    if name == "num_gpu":
        return bool(value > 0)  # as many layers as there are, or as fit: only 0 asks for the CPU
    return (name, engine) in configured and bool(value == configured[name, engine])


def _penalizes(options: Options, defaults: RequestDefaults) -> bool:
    """Tell whether tokens that were there already are made less likely, newlines among them."""
    repetition = defaults.repetition_penalty if options.repeat_penalty is None else options.repeat_penalty
    is_set = repetition not in {0, 1} or options.presence_penalty or options.frequency_penalty
    return bool(is_set) and options.repeat_last_n != NO_WINDOW


def requested_load(options: Options, config: Config, of_model: LoadSettings) -> LoadSettings:
    """Return what the options ask of the load; nothing where it is so anyway, so that nothing is loaded anew.

    `num_ctx` is no such thing: a context that holds more serves as well (`ModelRequest.min_context`).

    Args:
        of_model: The model's own settings of its load.
    """
    num_thread = options.num_thread or None
    present = config_for(config, of_model).llamacpp.threads
    return LoadSettings(threads=None if num_thread == present else num_thread)
