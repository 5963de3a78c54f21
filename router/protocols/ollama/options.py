"""Ollama's options: what they come to on an engine. What becomes of each stands beside it, in `schemas`. Pure."""

from typing import Any, Final

from registry.catalogue import Artifact
from registry.engines import EngineKind
from registry.settings import LoadSettings
from router.config import Config
from router.errors import InvalidRequestError, UnsupportedFieldError
from router.models.defaults import RequestDefaults, stop_texts
from router.models.load_settings import config_for
from router.protocols.fields.sampling import SamplingWishes
from router.protocols.fields.support import not_honoured
from router.protocols.ollama.schemas import Options
from router.protocols.openai.schemas import MAX_STOPS

_NO_SEED: Final = -1


def check_options(options: Options, config: Config, engine: EngineKind) -> None:
    """Refuse what the engine does not honour, unless it asks for what is so anyway.

    Raises:
        UnsupportedFieldError: An option asks for something that cannot be done; the message names it.
    """
    for name, field in not_honoured(options, engine):
        if not _is_so_anyway(name, getattr(options, name), config, engine):
            raise UnsupportedFieldError(f"options.{name} is not supported: {field.hint}", f"options.{name}")


def _is_so_anyway(name: str, value: Any, config: Config, engine: EngineKind) -> bool:
    match name, engine:
        case "num_batch", EngineKind.LLAMACPP:
            return bool(value == config.llamacpp.batch_tokens)
        case "num_batch", _:
            return bool(value == config.mlx.prefill_step_tokens)
        case "use_mmap", EngineKind.LLAMACPP:
            return bool(value == config.llamacpp.mmap)
        case _:
            return False


def load_wishes(options: Options, config: Config, of_model: LoadSettings, artifact: Artifact | None) -> LoadSettings:
    """Return what the options ask of the load; nothing where it is so anyway, so that nothing is loaded anew.

    Args:
        of_model: The model's own settings of its load.
        artifact: What is to be loaded, for how much context it was made; None = not known.
    """
    present = config_for(config, of_model)
    num_ctx, num_thread = options.num_ctx, options.num_thread or None
    trained = None if artifact is None else artifact.facts.context_length
    if num_ctx is not None and trained is not None:
        num_ctx = min(num_ctx, trained)
    is_same_context = num_ctx == min(present.generation.context_length, trained or present.generation.context_length)
    return LoadSettings(
        context_length=None if is_same_context else num_ctx,
        threads=None if num_thread == present.llamacpp.threads else num_thread,
    )


def sampling_wishes(options: Options, *, num_logprobs: int | None) -> SamplingWishes:
    """Return what the options say of how tokens are drawn."""
    return SamplingWishes(
        temperature=options.temperature,
        top_k=None if options.top_k is None else max(0, options.top_k),
        typical_p=options.typical_p,
        top_p=options.top_p,
        min_p=options.min_p,
        seed=None if options.seed == _NO_SEED else options.seed,
        repetition_penalty=options.repeat_penalty,
        penalty_window=options.repeat_last_n,
        frequency_penalty=options.frequency_penalty,
        presence_penalty=options.presence_penalty,
        num_logprobs=num_logprobs,
    )


def max_tokens(options: Options, defaults: RequestDefaults) -> int | None:
    """Return the upper bound of the answer; None = what the context leaves.

    Raises:
        InvalidRequestError: It is 0.
    """
    if options.num_predict is None:
        return defaults.max_tokens
    if options.num_predict == 0:
        message = "options.num_predict: an answer has at least one token; send 1 or more, or -1 for no bound"
        raise InvalidRequestError(message, "options.num_predict")
    return options.num_predict if options.num_predict > 0 else None


def stop_of(options: Options, defaults: RequestDefaults) -> tuple[str, ...]:
    """Return the request's stop texts and the model's.

    Raises:
        InvalidRequestError: They are too many together.
    """
    own = (options.stop,) if isinstance(options.stop, str) else tuple(options.stop or ())
    return stop_texts(own, defaults, MAX_STOPS, "options.stop")
