"""What a request gets that does not say otherwise. Pure.

The first that says something wins: what is set on the model, what its makers recommend of sampling, the config.

Every protocol asks here; a request's own fields go before all of it. Not here: what belongs to the load
(`load_settings`).
"""

from collections.abc import Sequence
from typing import Any, Final, Self

import msgspec
from msgspec.structs import asdict

from backends.wire.prompts import PromptMessage
from registry.catalogue import Model
from registry.sampling import NOTHING_RECOMMENDED, SAMPLING_NAMES, RecommendedSampling
from registry.settings import MAX_STOPS, NO_SETTINGS, ModelSettings, PresetMessage
from router.config import GenerationConfig
from router.errors import InvalidRequestError

FROM_CONFIG: Final = "the config"
"""Who says how tokens are drawn where neither user nor makers do."""


class RequestDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """Defaults of a request for one model; the fields are those of `GenerationConfig` and `ModelSettings`.

    Attributes:
        max_tokens: None = what the context leaves.
        top_k: None = all.
        seed: None = another one each time.
    """

    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int | None = None
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    system: str | None = None
    messages: tuple[PresetMessage, ...] = ()
    allow_special_in_content: bool = False

    @classmethod
    def of(
        cls,
        generation: GenerationConfig,
        settings: ModelSettings = NO_SETTINGS,
        recommended: RecommendedSampling = NOTHING_RECOMMENDED,
    ) -> Self:
        """Put a model's settings over its makers' recommendation, and that over the config's."""
        wanted = set(cls.__struct_fields__)
        lower = {name: value for name, value in asdict(generation).items() if name in wanted}
        upper = {name: value for name, value in asdict(settings).items() if name in wanted and value is not None}
        return cls(**lower | recommended_in_force(generation, settings, recommended) | upper)


def recommended_in_force(
    generation: GenerationConfig, settings: ModelSettings, recommended: RecommendedSampling
) -> dict[str, Any]:
    """Return what counts of the makers' recommendation: what is not set on the model; nothing if it is switched off."""
    switch = settings.recommended_sampling
    if not (generation.recommended_sampling if switch is None else switch):
        return {}
    return {name: value for name, value in recommended.values.items() if getattr(settings, name) is None}


def sampling_origins(generation: GenerationConfig, model: Model) -> dict[str, tuple[Any, str]]:
    """Return how a model's tokens are drawn where a request does not say: name -> value, and who says so."""
    defaults = RequestDefaults.of(generation, model.settings, model.recommended_sampling)
    recommended = recommended_in_force(generation, model.settings, model.recommended_sampling)
    origins = {}
    for name in SAMPLING_NAMES:
        if name in recommended:
            origin = model.recommended_sampling.source
        elif getattr(model.settings, name) is not None:
            origin = "set on the model"
        else:
            origin = FROM_CONFIG if hasattr(generation, name) else "off"
        origins[name] = (getattr(defaults, name), origin)
    return origins


def with_system(
    messages: list[PromptMessage], system: str | None, preset: Sequence[PresetMessage] = ()
) -> list[PromptMessage]:
    """Return a conversation that begins as its model has it: with a system prompt, and with a preset conversation.

    A system prompt at the beginning of the request stays first, before the preset conversation: templates want it so.

    Args:
        system: The model's; None = there is none.
        preset: The model's; comes behind the system prompt.
    """
    if preset:
        own = messages[:1] if messages and messages[0]["role"] == "system" else []
        shown: list[PromptMessage] = [
            {"role": item.role, "content": item.content} for item in preset if not own or item.role != "system"
        ]
        messages = [*own, *shown, *messages[len(own) :]]
    if system is None or any(message["role"] == "system" for message in messages):
        return messages
    return [{"role": "system", "content": system}, *messages]


def stop_texts(said: str | Sequence[str] | None, defaults: RequestDefaults, param: str = "stop") -> tuple[str, ...]:
    """Return a request's stop texts and its model's, each once.

    Args:
        said: By the request; a text is one of them, and one that is empty is none.
    """
    own = tuple(text for text in ((said,) if isinstance(said, str) else said or ()) if text)
    texts = tuple(dict.fromkeys(own + defaults.stop)) if defaults.stop else own
    if len(texts) > max(MAX_STOPS, len(own)):
        raise InvalidRequestError(
            f"{param}: at most {MAX_STOPS} texts with the {len(defaults.stop)} that are set on the model; send fewer, "
            "or see `mlxr models set`",
            param,
        )
    return texts
