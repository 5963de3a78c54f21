"""Ollama's options that hang on the engine, or change how a model is loaded. Pure."""

from typing import Any

from registry.catalogue import Artifact
from registry.engines import EngineKind
from registry.settings import LoadSettings
from router.config import Config
from router.errors import UnsupportedFieldError
from router.models.load_settings import config_for
from router.protocols.fields.support import not_honoured
from router.protocols.ollama.schemas import Options


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


def requested_load(options: Options, config: Config, of_model: LoadSettings, artifact: Artifact | None) -> LoadSettings:
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
