"""What users set on one model: the keys, their types and ranges, and texts made values.

The engine setting and aliases are kept beside these (`catalogue.Model`). Not here: storing them
(`store/models.py`), and what they do; whoever answers a request reads them.
"""

import difflib
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from registry.engines import ENGINE_SETTINGS, EngineKind, EngineSetting
from registry.errors import InvalidSettingError
from registry.hosts import HOST_PATTERN, HOST_WORDS, MAX_HOSTS, HostWord, why_no_group

MAX_TEXT_BYTES: Final = 64 << 10
"""A system prompt or a template fits; a model does not."""

ContextLength = Annotated[int, Meta(ge=16, le=10_000_000)]
Parallel = Annotated[int, Meta(ge=1, le=256)]
Workers = Annotated[int, Meta(ge=1, le=64)]
Threads = Annotated[int, Meta(ge=1, le=1024)] | Literal["auto", "all"]
"""`all` = one per physical core, shared by the workers; `auto` = of these as many as other programs leave cores for."""
OneKVType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"]
"""Element types of a KV cache, under the names that ggml gives them."""
KV_TYPES: Final[tuple[str, ...]] = typing.get_args(OneKVType)
_KV_NAMES: Final = "|".join(KV_TYPES)
_KV_WORDS: Final = f"one of {', '.join(KV_TYPES)}, or two of them, of keys and values, like q8_0/q4_0"
KVType = Annotated[
    str,
    Meta(
        pattern=f"^({_KV_NAMES})(/({_KV_NAMES}))?$",
        description=_KV_WORDS,
    ),
]
KVCacheMode = Literal["grow", "whole"]
"""Whether a KV cache begins small and grows up to its context, or has all of it from the load on."""
VisionMode = Literal["auto", "on", "off"]
"""Whether a model that can see is loaded with its tower: with the first picture, at once, or not at all."""
SpeculationMode = Literal["auto", "lookup", "draft", "off"]
"""Whether tokens are drafted: where that pays, wherever a text repeats itself, always by a draft model, or never."""
ContextMode = Literal["error", "wind"]
"""What becomes of a conversation that fills its context: a refusal, or a summary in the place of its older turns."""
HostWords = Annotated[tuple[HostWord, ...], Meta(min_length=1, max_length=MAX_HOSTS)]
RankBackend = Literal["ring", "jaccl"]
"""How the ranks of a model that is spread over hosts talk: over TCP, or RDMA over Thunderbolt."""
MaxTokens = Annotated[int, Meta(ge=1, le=10_000_000)]
Temperature = Annotated[float, Meta(ge=0, le=5)]
TopP = Annotated[float, Meta(ge=0, le=1)]
TopK = Annotated[int, Meta(ge=1, le=1_000_000)]
MinP = Annotated[float, Meta(ge=0, le=1)]
RepetitionPenalty = Annotated[float, Meta(gt=0, le=2)]
NonEmpty = Annotated[str, Meta(min_length=1)]
MAX_STOPS: Final = 16
MAX_TAGS: Final = 16
_TAG_PATTERN: Final = "^[a-z0-9](?:[a-z0-9._-]{0,30}[a-z0-9])?$"
_TAG_WORDS: Final = "1 to 32 of a-z, 0-9, '.', '_' and '-', beginning and ending with a letter or digit"
Tag = Annotated[str, Meta(pattern=_TAG_PATTERN, description=_TAG_WORDS)]
StopText = Annotated[str, Meta(min_length=1, max_length=256)]

FOREVER: Final = "forever"

MAX_PRESET_MESSAGES: Final = 64
"""Of a preset conversation; longer ones belong into requests."""

_JSON_EXAMPLES: Final = {
    "stop": 'one text, or a JSON list such as ["</s>", "User:"]',
    "messages": 'a JSON list such as [{"role": "user", "content": "Hi"}]; roles: system, user, assistant',
}
"""Settings that are typed as JSON -> what to type."""

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


class PresetMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message that every conversation of a model has at its beginning."""

    role: Literal["system", "user", "assistant"]
    content: NonEmpty


class LoadSetting(msgspec.Struct, frozen=True, kw_only=True):
    """Where a setting of a load may stand beside the model's own settings, and which engines have it.

    Attributes:
        section: Of the config, which has it under the same name for all models; None = the config has it not, or each
            engine's section does.
        is_per_engine: Whether each engine's section does, by the engine's name.
        engine: The only engine that has it; None = all do.
        is_in_header: Whether a request may have it, in the header `X-Mlxr-Load`.
    """

    section: str | None = None
    is_per_engine: bool = False
    engine: EngineKind | None = None
    is_in_header: bool = True

    def section_for(self, engine: EngineKind) -> str | None:
        """Return the section of the config that counts on an engine."""
        return engine.value if self.is_per_engine else self.section


_FOR_ALL: Final = LoadSetting(section="generation")
_FOR_LLAMACPP: Final = LoadSetting(section="llamacpp", engine=EngineKind.LLAMACPP)
_FOR_MLX: Final = LoadSetting(section="mlx", engine=EngineKind.MLX, is_in_header=False)
"""No request chooses which machines are reached."""
_PER_ENGINE_OF_ALL_REQUESTS: Final = LoadSetting(is_per_engine=True, is_in_header=False)
"""A request says it in words of its own, which need no other load."""


class LoadSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a model is loaded; None leaves a thing to the level below: the request's over the model's over the config's.

    The one table of such settings: a field and its `LoadSetting` are all that one needs to be set on models, sent in
    the header and told to the worker, where `LoadSpec` has it. With another value the same files are another target.

    Attributes:
        context_length: Tokens one request may use, prompt and answer together.
        kv_cache: Whether the cache grows by need; None = as the config has it.
        parallel: Sequences that a worker may run at a time.
        threads: Compute threads of each worker, `auto` or `all`; mlx chooses its own.
        template: Jinja chat template in the place of the model's own.
        vision: Whether it sees, if it can; None = `auto`.
        speculation: Whether tokens are drafted for requests that do not say.
        draft: Name of a smaller model with the same vocabulary, which may draft them.
        hosts: What a model on mlx is spread over; one alone = it is not.
        backend: How these hosts talk.
    """

    context_length: Annotated[ContextLength, _FOR_ALL] | None = None
    kv_type: Annotated[KVType, _FOR_LLAMACPP] | None = None
    kv_cache: Annotated[KVCacheMode, _FOR_LLAMACPP] | None = None
    parallel: Annotated[Parallel, _FOR_ALL] | None = None
    workers: Annotated[Workers, _FOR_ALL] | None = None
    threads: Annotated[Threads, _FOR_LLAMACPP] | None = None
    template: Annotated[NonEmpty, LoadSetting(is_in_header=False)] | None = None
    vision: Annotated[VisionMode, LoadSetting()] | None = None
    speculation: Annotated[SpeculationMode, _PER_ENGINE_OF_ALL_REQUESTS] | None = None
    draft: Annotated[NonEmpty, LoadSetting(engine=EngineKind.LLAMACPP, is_in_header=False)] | None = None
    hosts: Annotated[HostWords, _FOR_MLX] | None = None
    backend: Annotated[RankBackend, _FOR_MLX] | None = None


class ModelSettings(LoadSettings, frozen=True, kw_only=True, omit_defaults=True):
    """One model's own settings; None leaves a thing to the config and to the request.

    Attributes:
        keep_alive_s: How long it stays loaded after its last request; 0 = not at all, `forever` = until it must go.
        pinned: Whether it stays loaded however long nobody uses it, and goes for no other model where several may be
            loaded.
        temperature: 0 is greedy.
        top_p: Smallest set of tokens whose probability reaches this; 0 = the most probable token alone.
        top_k: The k most likely tokens.
        min_p: Drop tokens less likely than this share of the likeliest.
        repetition_penalty: Divides the logits of tokens that were there already; 1 = off.
        recommended_sampling: Whether its makers' recommendation counts where these say nothing of sampling.
        seed: Of requests that give none.
        stop: Texts that end an answer, beside a request's own.
        system: System prompt of conversations that begin without one.
        messages: What conversations begin with, behind the system prompt.
        context: What becomes of conversations that fill the context.
        tags: Words by which it is listed, and chosen for `auto:TAG`.
        license: Text of the model's licence; it is shown and does nothing.
    """

    keep_alive_s: Annotated[float, Meta(ge=0, le=1e9)] | Literal["forever"] | None = None
    pinned: bool | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    top_k: TopK | None = None
    min_p: MinP | None = None
    repetition_penalty: RepetitionPenalty | None = None
    recommended_sampling: bool | None = None
    seed: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)] | None = None
    max_tokens: MaxTokens | None = None
    stop: Annotated[tuple[StopText, ...], Meta(min_length=1, max_length=MAX_STOPS)] | None = None
    system: NonEmpty | None = None
    messages: Annotated[tuple[PresetMessage, ...], Meta(min_length=1, max_length=MAX_PRESET_MESSAGES)] | None = None
    context: ContextMode | None = None
    tags: Annotated[tuple[Tag, ...], Meta(min_length=1, max_length=MAX_TAGS)] | None = None
    license: NonEmpty | None = None


NO_SETTINGS: Final = ModelSettings()

_TYPES: Final[dict[str, Any]] = typing.get_type_hints(ModelSettings, include_extras=True)

LOAD_SETTINGS: Final[Mapping[str, LoadSetting]] = {
    name: typing.get_args(_TYPES[name])[0].__metadata__[-1] for name in LoadSettings.__struct_fields__
}
"""By name, in the order of the Struct."""


def _plain(kind: Any) -> Any:
    """Return a setting's type without range and None."""
    of_value = typing.get_args(kind)[0]
    return of_value.__origin__ if typing.get_origin(of_value) is Annotated else of_value


_PLAIN_TYPES: Final = {key: _plain(kind) for key, kind in _TYPES.items()}

ENGINE_KEY: Final = "engine"
"""Set like the others, stored with the model itself."""

TAGS_KEY: Final = "tags"
HOSTS_KEY: Final = "hosts"

SETTING_KEYS: Final = (ENGINE_KEY, *ModelSettings.__struct_fields__)


def set_settings(settings: ModelSettings) -> dict[str, Any]:
    """Give what is set.

    Returns:
        Key -> plain value, in the order of the Struct.
    """
    return {
        key: msgspec.to_builtins(list(value)) if isinstance(value, tuple) else value
        for key, value in msgspec.structs.asdict(settings).items()
        if value is not None
    }


def check_settings(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Check values that are to be stored.

    Args:
        changes: Key -> plain value, or None to take the setting away.

    Returns:
        The same, each value as its type has it.

    Raises:
        InvalidSettingError: A key is unknown, or a value is of another type or out of its range.
    """
    return {key: _checked(key, value) for key, value in changes.items()}


def settings_from_text(pairs: Mapping[str, str]) -> dict[str, Any]:
    """Turn what was typed into values.

    Args:
        pairs: Key -> text; an empty text takes the setting away. `keep_alive_s` also understands `5m` and `forever`;
            `stop` is a JSON list, or one text as it is; `messages` is a JSON list of objects; `tags` and `hosts` are
            words with commas between.

    Returns:
        What `check_settings` gives.

    Raises:
        InvalidSettingError: A key is unknown, or a text is no value for it.
    """
    return check_settings({key: None if text == "" else _from_text(key, text) for key, text in pairs.items()})


def decode_settings(rows: Mapping[str, bytes | str]) -> ModelSettings:
    """Read stored settings. A key that a newer mlxr wrote is left alone.

    Args:
        rows: Key -> JSON.

    Raises:
        msgspec.DecodeError: A value is damaged.
    """
    known = {
        key: msgspec.json.decode(text, type=_TYPES[key])  # any value that was stored was checked then
        for key, text in rows.items()
        if key in _TYPES
    }
    return ModelSettings(**known)


def _checked(key: str, value: Any) -> Any:
    if key == ENGINE_KEY:
        try:
            return None if value is None else EngineSetting(value)
        except ValueError:
            raise InvalidSettingError(f"engine: {value!r:.40} is no engine; choose one of {ENGINE_SETTINGS}.") from None
    kind = _type_of(key)
    try:
        checked = msgspec.convert(value, kind)
    except msgspec.ValidationError as exc:
        raise InvalidSettingError(f"{key}: {_sentence(exc)}{_choices(key)}.") from exc
    if isinstance(checked, float) and checked != checked:  # noqa: PLR0124 - a NaN is in no range and passes every check
        raise InvalidSettingError(f"{key}: not a number.")
    _check_size(key, checked)
    if key == HOSTS_KEY and checked is not None and (problem := why_no_group(checked)) is not None:
        raise InvalidSettingError(f"hosts: {problem}.")
    return tuple(dict.fromkeys(checked)) if key == TAGS_KEY and checked is not None else checked


def _check_size(key: str, value: Any) -> None:
    try:
        num_bytes = len(msgspec.json.encode(value))
    except UnicodeEncodeError as exc:
        raise InvalidSettingError(f"{key}: the text is not Unicode.") from exc
    if num_bytes > MAX_TEXT_BYTES:
        raise InvalidSettingError(f"{key}: the value has {num_bytes} bytes; the limit is {MAX_TEXT_BYTES}.")


def _type_of(key: str) -> Any:
    if key in _TYPES:
        return _TYPES[key]
    near = difflib.get_close_matches(key, SETTING_KEYS, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(SETTING_KEYS)}."
    raise InvalidSettingError(f"There is no setting {key!r:.80}. {hint}")


def _from_text(key: str, text: str) -> Any:
    plain = _PLAIN_TYPES.get(key)
    if key == ENGINE_KEY or plain is str or typing.get_origin(plain) is Literal:
        return text
    if key == "keep_alive_s":
        return text if text == FOREVER else _seconds(text)
    if key == TAGS_KEY:
        return text.lower().replace(",", " ").split()
    if key == HOSTS_KEY:
        return text.replace(",", " ").split()
    if key in _JSON_EXAMPLES:
        return [text] if key == "stop" and not text.startswith("[") else _from_json(key, text)
    kind = _type_of(key)
    try:
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError as exc:
        raise InvalidSettingError(f"{key}: {_sentence(exc)}{_choices(key)}; you gave {text[:40]!r}.") from exc


def _seconds(text: str) -> float:
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    try:
        return float(number) * _UNITS[text[len(number) :] or "s"]
    except (KeyError, ValueError) as exc:
        raise InvalidSettingError(
            f"keep_alive_s: {text[:40]!r} is no time; give seconds, 30s, 5m, 2h, or {FOREVER}."
        ) from exc


def _from_json(key: str, text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as exc:
        raise InvalidSettingError(f"{key}: give {_JSON_EXAMPLES[key]}.") from exc


def _choices(key: str) -> str:
    """Name the words that a setting may have, alone or beside numbers."""
    words = _words_of(_TYPES[key])
    if not words:
        return ""
    has_only_words = typing.get_origin(_PLAIN_TYPES[key]) is Literal
    return f"; {'choose' if has_only_words else 'it may be a number or'} one of {', '.join(words)}"


def _words_of(kind: Any) -> list[str]:
    """Return the words that a type has, by itself or beside others."""
    parts = typing.get_args(kind)
    return list(parts) if typing.get_origin(kind) is Literal else [word for part in parts for word in _words_of(part)]


def _sentence(exc: msgspec.ValidationError) -> str:
    """Say in our words what msgspec says; the key stands before it."""
    text = str(exc).partition(" - at ")[0]
    if _KV_NAMES in text:
        return f"expected {_KV_WORDS}"
    if repr(HOST_PATTERN) in text:
        return f"expected {HOST_WORDS}"
    if _TAG_PATTERN in text:
        return f"expected tags, each {_TAG_WORDS}"
    return text[:1].lower() + text[1:]
