"""Ollama's options: which are honoured on which engine, and what they come to. Pure.

Every option of Ollama's documentation has a row, also those that it had once and that clients still know. One that an
engine does not honour passes only with a value that asks for nothing; anything else is refused by its name, where
Ollama itself would only warn in its log.

Source: Ollama, docs/modelfile.md ("Valid Parameters and Values") and api/types.go (`Options`, `Runner`); for the older
ones, its Python client (`Options`).
"""

from typing import Any, Final

from registry.catalogue import Artifact
from registry.engines import EngineKind
from router.config import Config
from router.errors import InvalidRequestError, UnsupportedFieldError
from router.models.defaults import RequestDefaults, stop_texts
from router.models.load_settings import LoadSettings, config_for
from router.protocols.fields.capabilities import Capability, Support
from router.protocols.fields.sampling import SamplingWishes
from router.protocols.ollama.schemas import MAX_STOPS, Options

_ENDPOINTS: Final = ("ollama",)
_NO_SEED: Final = -1
_ALL_THREADS: Final = 0


def _honoured(
    name: str, allowed: str, overrides: dict[EngineKind, Support] | None = None, hint: str = ""
) -> Capability:
    return Capability(name=name, allowed=allowed, endpoints=_ENDPOINTS, overrides=overrides or {}, hint=hint)


def _without_effect(name: str) -> Capability:
    return Capability(name=name, endpoints=_ENDPOINTS, support=Support.LABEL, allowed="any value of its type")


def _refused(name: str, hint: str, *neutral: Any) -> Capability:
    return Capability(name=name, endpoints=_ENDPOINTS, support=Support.REFUSED, neutral=neutral, hint=hint)


_OLD: Final = "neither engine has it; leave it out"

OPTIONS: Final[tuple[Capability, ...]] = (
    _honoured("temperature", "a number from 0 (greedy) to 5"),
    _honoured("top_k", "a whole number up to 1000000; 0 and -1 = all"),
    _honoured("top_p", "a number above 0, up to 1"),
    _honoured("min_p", "a number from 0 to 1"),
    _honoured("typical_p", "a number above 0, up to 1 (off)"),
    _honoured("seed", "a whole number of 64 bits; -1 = another one each time"),
    _honoured("repeat_penalty", "a number above 0, up to 10; 1 is off"),
    _honoured("repeat_last_n", "tokens from 1 to 1000000, 0 = penalties off, -1 = all"),
    _honoured("presence_penalty", "a number from -2 to 2"),
    _honoured("frequency_penalty", "a number from -2 to 2"),
    _honoured("num_predict", "tokens from 1 to 1000000000; -1 and -2 = what the context leaves"),
    _honoured("stop", f"up to {MAX_STOPS} texts of 1 to 256 characters, or one text"),
    _honoured("num_ctx", "tokens from 16, at most what the model was made for; another value loads the model anew"),
    _honoured(
        "num_thread",
        "1 to 1024 (llamacpp), 0 = as the engine likes; another value loads the model anew",
        {EngineKind.MLX: Support.REFUSED},
        "mlx chooses its threads itself; leave it out",
    ),
    # Without an effect, by their own definition.
    _without_effect("num_keep"),  # of a context that is shifted, which none is here
    _without_effect("mirostat_tau"),  # of mirostat, which must be off
    _without_effect("mirostat_eta"),
    # Not honoured.
    Capability(
        name="num_gpu",
        endpoints=_ENDPOINTS,
        support=Support.REFUSED,
        neutral=(0, -1),
        overrides={EngineKind.MLX: Support.NEUTRAL_ONLY},
        hint="llamacpp runs on the CPU by its nature here, so that it must be 0 or absent; for the GPU of a Mac, use "
        "NAME@mlx",
    ),
    _refused("main_gpu", "there is no choice of GPUs; leave it out", 0),
    _refused("num_batch", "set llamacpp.batch_tokens or mlx.prefill_step_tokens in the config, for all models"),
    _refused("use_mmap", "set llamacpp.mmap in the config, for all models"),
    _refused("use_mlock", "memory is not locked here; leave it out", False),
    _refused("numa", _OLD, False),
    _refused("low_vram", _OLD, False),
    _refused("f16_kv", "use `mlxr models set NAME kv_type=...` for the type of the KV cache", True),
    _refused("vocab_only", "a model is loaded whole or not at all; leave it out", False),
    _refused("logits_all", "use logprobs", False),
    _refused("embedding_only", "use POST /api/embed", False),
    _refused("draft_num_predict", "no draft model is used here; leave it out, or send 0", 0),
    _refused("mirostat", "neither engine has it; use temperature, top_p and min_p", 0),
    _refused("tfs_z", "neither engine has it; use min_p or typical_p", 1),
    _refused("penalize_newline", "penalties count newlines like any other token; leave it out", True),
)
"""Every option; a test holds it to the schema."""

_NUM_GPU_ON_MLX: Final = "mlx places the whole model on its device; leave it out, or use NAME@llamacpp for the CPU"


def with_allowed_values(error: InvalidRequestError) -> InvalidRequestError:
    """Return a decoder's error with what the option may be in its message, if it is an option that is wrong."""
    name = (error.param or "").removeprefix("options.").partition("[")[0]
    row = next((row for row in OPTIONS if error.param != name and row.name == name), None)
    if row is None or not row.allowed:
        return error
    return type(error)(f"{str(error).removesuffix('.')}; allowed: {row.allowed}.", error.param)


def check_options(options: Options, config: Config, engine: EngineKind) -> None:
    """Refuse what the engine does not honour, unless it asks for what is so anyway.

    Raises:
        UnsupportedFieldError: An option asks for something that cannot be done; the message names it.
    """
    for row in OPTIONS:
        value = getattr(options, row.name)
        if value is None or row.support_on(engine) in {Support.HONOURED, Support.LABEL}:
            continue
        if engine is EngineKind.MLX and row.name == "num_gpu" and value != -1:
            raise _refusal(row.name, _NUM_GPU_ON_MLX)
        if not row.is_neutral(value) and not _is_so_anyway(row.name, value, config, engine):
            raise _refusal(row.name, row.hint)


def _refusal(name: str, hint: str) -> UnsupportedFieldError:
    return UnsupportedFieldError(f"options.{name} is not supported: {hint}", f"options.{name}")


def _is_so_anyway(name: str, value: Any, config: Config, engine: EngineKind) -> bool:
    match name, engine:
        case "num_thread", EngineKind.MLX:
            return bool(value == _ALL_THREADS)
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
