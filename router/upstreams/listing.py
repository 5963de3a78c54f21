"""Which models an upstream has: its list, and what it tells of each. Pure.

Source: OpenAI API reference, "List models"; `max_model_len` is vLLM's, `context_length` mlxr's and OpenRouter's,
`meta.n_ctx_train` llama-server's.
"""

import fnmatch
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from registry.errors import InvalidModelNameError
from registry.names import MAX_NAME_CHARS, check_new_name
from router.config.upstreams import UpstreamConfig, UpstreamField
from router.upstreams.ollama import OLLAMA_FIELDS

MAX_MODELS: Final = 2000
_OTHER: Final = re.compile(r"[^a-z0-9._-]+")

_OPENAI: Final = frozenset(
    {
        UpstreamField.SEED,
        UpstreamField.FREQUENCY_PENALTY,
        UpstreamField.PRESENCE_PENALTY,
        UpstreamField.LOGIT_BIAS,
        UpstreamField.LOGPROBS,
        UpstreamField.TOOLS,
        UpstreamField.RESPONSE_FORMAT,
        UpstreamField.REASONING_EFFORT,
        UpstreamField.IMAGES,
        UpstreamField.COMPLETIONS,
        UpstreamField.EMBEDDINGS,
    }
)
"""OpenAI's own fields. Whether a model sees or embeds, the upstream itself says to whoever asks it."""

_LOCAL_SERVER: Final = _OPENAI | {UpstreamField.TOP_K, UpstreamField.MIN_P, UpstreamField.IGNORE_EOS}
_OF_SERVERS: Final[Mapping[str, frozenset[UpstreamField]]] = {
    "vllm": _LOCAL_SERVER
    | {
        UpstreamField.REPETITION_PENALTY,
        UpstreamField.MIN_TOKENS,
        UpstreamField.STOP_TOKEN_IDS,
        UpstreamField.CHAT_TEMPLATE_KWARGS,
        UpstreamField.CONTINUATION,
        UpstreamField.TOKEN_PROMPTS,
        UpstreamField.REGEX,
    },
    "llamacpp": _LOCAL_SERVER
    | {
        UpstreamField.TYPICAL_P,
        UpstreamField.GRAMMAR,
        UpstreamField.CHAT_TEMPLATE_KWARGS,
        UpstreamField.REASONING_CONTENT,
        UpstreamField.TOKEN_PROMPTS,
    },
}
"""What servers honour that say who they are, by `owned_by` in their lists."""


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A model that an upstream has.

    Attributes:
        name: What it is called here.
        model_id: What the upstream calls it.
        context_length: Tokens that it holds there; None = it does not say.
        honours: Fields that the upstream honours for it.
    """

    name: str
    model_id: str
    context_length: int | None = None
    honours: frozenset[UpstreamField] = frozenset()


def honoured_by(config: UpstreamConfig, owned_by: str = "") -> frozenset[UpstreamField]:
    """Return what an upstream honours: by its protocol or by who it says it is, and what the config says of it."""
    of_protocol = {"mlxr": frozenset(UpstreamField), "ollama": OLLAMA_FIELDS}
    usual = of_protocol.get(config.protocol) or _OF_SERVERS.get(owned_by.lower(), _OPENAI)
    return (usual | set(config.honours)) - set(config.lacks)


def listed(body: Any, config: UpstreamConfig) -> tuple[Listed, ...]:
    """Return which models of an upstream are served here.

    Args:
        body: What it answers to GET /models; None = nothing, so that only those that the config names are.
    """
    entries = body.get("data") if isinstance(body, dict) else body if isinstance(body, list) else None
    told = {
        entry["id"]: entry
        for entry in (entries if isinstance(entries, list) else [])[:MAX_MODELS]
        if isinstance(entry, dict) and isinstance(entry.get("id"), str)
    }
    own_names = {model_id: name for name, model_id in config.names.items()}
    wanted = [model_id for model_id in told if _is_wanted(model_id, config)]
    wanted += [each for each in config.models or () if "*" not in each and each not in told]
    wanted += [each for each in own_names if each not in wanted]
    found: dict[str, Listed] = {}
    for model_id in wanted:
        name = own_names.get(model_id) or name_of(model_id)
        if name is not None and name not in found:
            found[name] = _listed(name, model_id, told.get(model_id, {}), config)
    return tuple(found.values())


def _is_wanted(model_id: str, config: UpstreamConfig) -> bool:
    return config.models is None or any(fnmatch.fnmatchcase(model_id, pattern) for pattern in config.models)


def _listed(name: str, model_id: str, entry: Mapping[str, Any], config: UpstreamConfig) -> Listed:
    owner = entry.get("owned_by")
    return Listed(
        name=name,
        model_id=model_id,
        context_length=_context_length(entry) or config.context_length,
        honours=honoured_by(config, owner if isinstance(owner, str) else ""),
    )


def _context_length(entry: Mapping[str, Any]) -> int | None:
    meta = entry.get("meta")
    said = (
        entry.get("max_model_len"),
        entry.get("context_length"),
        meta.get("n_ctx") or meta.get("n_ctx_train") if isinstance(meta, dict) else None,
    )
    return next((each for each in said if isinstance(each, int) and each > 0), None)


def name_of(model_id: str) -> str | None:
    """Return what a model is called here: its id in small letters, made a name where it is none; None = it cannot be.

    Names have one `/` at most: of longer paths the last two parts count.
    """
    text = model_id.strip().lower()
    for candidate in (text, "/".join(filter(None, map(_segment, text.split("/")[-2:])))):
        try:
            return check_new_name(candidate)
        except InvalidModelNameError:
            continue
    return None


def _segment(text: str) -> str:
    base, colon, tag = text.partition(":")
    base, tag = (re.sub(r"\.{2,}", ".", _OTHER.sub("-", part)).strip("._-") for part in (base, tag))
    return f"{base}:{tag}"[:MAX_NAME_CHARS] if colon and base and tag else base[:MAX_NAME_CHARS]


def named(models: Iterable[Listed]) -> dict[str, Listed]:
    """Return models by what they are called here."""
    return {model.name: model for model in models}
