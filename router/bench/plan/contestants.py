"""Who is measured: from what the user wrote to a model, an engine and settings, or a server by its URL. Pure.

Not here: what the server says of it once it is loaded (`server_facts`).
"""

import re
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import msgspec

from backends.wire.request import SpeculationMode
from registry.bench_record import BenchContestant
from registry.catalogue import Artifact, Model
from registry.engines import LOCAL_ENGINES, EngineKind, EngineSetting
from registry.errors import InvalidModelNameError, InvalidSettingError
from registry.names import parse_model_reference
from registry.settings import LOAD_SETTINGS, settings_from_text
from router.bench.plan.options import MAX_CONTESTANTS
from router.errors import BenchError
from router.http.headers import ENGINE_HEADER, LOAD_HEADER, SPECULATION_HEADER

_SHORT_KEYS: Final = {"ctx": "context_length", "kv": "kv_type"}
_SPECULATION: Final = "speculation"
"""Needs no other load: each request says it, in a header of its own."""

_KEYS: Final = {
    name: name for name, setting in LOAD_SETTINGS.items() if setting.is_in_header or name == _SPECULATION
} | _SHORT_KEYS
_SHOWN_KEYS: Final = ", ".join(f"{key}=" for key in sorted(set(_KEYS) - set(_SHORT_KEYS.values())))
MAX_LABEL_CHARS: Final = 120

_URL: Final = re.compile(r"https?://", re.IGNORECASE)


class Contestant(msgspec.Struct, frozen=True, kw_only=True):
    """One that is measured.

    Attributes:
        label: As the user named it; other than those of the others.
        engine: None = a server by URL.
        url: Of that server, up to its `/v1`; may hold a user and a password. None = ours.
        settings: Of the load, by their full names, and `speculation`.
        artifact: Its files; None = a server by URL.
        text_only_reason: Why it cannot be shown pictures; None = it can, or it is a server by URL.
        threads: What it or its model says of them; None = nothing, or it is a server by URL.
    """

    label: str
    model: str
    engine: EngineKind | None = None
    url: str | None = None
    settings: dict[str, str] = {}
    artifact: Artifact | None = None
    text_only_reason: str | None = None
    threads: str | None = None

    @property
    def is_foreign(self) -> bool:
        """Whether it is a server by URL."""
        return self.url is not None

    def headers(self, **more: str) -> dict[str, str]:
        """Return what each of its requests says of its engine, its load and its drafts.

        Args:
            more: Settings of the load that count where its own say nothing.
        """
        if self.engine is None:
            return {}
        pairs = more | self.settings
        said = {ENGINE_HEADER: str(self.engine), SPECULATION_HEADER: pairs.pop(_SPECULATION, "")}
        said[LOAD_HEADER] = ", ".join(f"{key}={value}" for key, value in pairs.items())
        return {name: value for name, value in said.items() if value}

    def holds_threads(self, threads: int | str | None) -> bool:
        """Tell whether it is to be held at all threads, because nobody has said how many or that they are to move.

        Args:
            threads: What the server says of loads that say nothing of them; None = it does not say.
        """
        wanted, is_asked = self.threads or threads, "threads" in self.settings
        return self.engine is EngineKind.LLAMACPP and wanted == "auto" and not is_asked

    def described(self) -> BenchContestant:
        """Return what a record keeps of it before it was measured."""
        plain = BenchContestant(
            label=self.label,
            model=self.model,
            engine=self.engine,
            url=None if self.url is None else without_secrets(self.url),
            settings=self.settings,
        )
        artifact = self.artifact
        if artifact is None:
            return plain
        quantization = artifact.facts.quantization
        return msgspec.structs.replace(
            plain,
            artifact_path=artifact.path,
            artifact_sha256=artifact.sha256,
            artifact_version=artifact.version,
            quantization=None if quantization is None else quantization.label,
            bits_per_weight=None if quantization is None else quantization.bits_per_weight,
            size_bytes=artifact.facts.weight_bytes or artifact.size_bytes,
        )


def contestants_of(reference: str, texts: Sequence[str], get_model: Callable[[str], Model]) -> tuple[Contestant, ...]:
    """Return who is measured.

    Args:
        reference: The model, as the command names it; `NAME@ENGINE` makes that engine the first contestant.
        texts: What the user wrote of each contestant; () = both engines. One alone gets the other engine beside it, if
            the model has it.

    Raises:
        BenchError: A text is not understood, or names what there is not.
        RegistryError: There is no such model, or the registry cannot be read.
    """
    name, engine = _name_and_engine(reference)
    if not texts and engine is not None:
        texts = (engine,)
    if len(texts) > MAX_CONTESTANTS:
        raise BenchError(f"{len(texts)} contestants are too many; the limit is {MAX_CONTESTANTS}.")
    found = [_parsed(text, name, get_model) for text in texts]
    model = get_model(name)
    if len(found) < 2:  # noqa: PLR2004 - two make a comparison
        taken = {one.engine for one in found if one.model == model.name}
        others = [engine for engine in LOCAL_ENGINES if engine in model.engines and engine not in taken]
        found += [_ours(engine, model, engine, {}) for engine in others]
    if not found:
        raise _no_form(model)
    return _with_unique_labels(found)


def without_secrets(url: str) -> str:
    """Return a URL without a user, a password and a query."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return urlunsplit((parts.scheme, host if parts.port is None else f"{host}:{parts.port}", parts.path, "", ""))


def _parsed(text: str, name: str, get_model: Callable[[str], Model]) -> Contestant:
    words = text.replace(",", " ").split()
    if not words:
        raise BenchError("A contestant is empty; name an engine, NAME@ENGINE or a URL, e.g. --b llamacpp.")
    if len(text) > MAX_LABEL_CHARS:
        raise BenchError(f"The contestant {text[:40]!r}... is longer than {MAX_LABEL_CHARS} characters.")
    first, settings = words[0], _settings_of(text, words[1:])
    if _URL.match(first):
        if settings:
            raise BenchError(f"{first}: settings cannot be given to a server by URL; start it with them.")
        return _foreign(first, name)
    if first in set(EngineSetting):
        return _ours(" ".join(words), get_model(name), first, settings)
    own_name, engine = _name_and_engine(first)
    model = get_model(own_name)
    if engine is None and not model.engines:
        raise _no_form(model)
    if engine is None and len(model.engines) > 1:
        both = " or ".join(f"{own_name}@{engine}" for engine in model.engines)
        raise BenchError(f"{first}: the model has two forms; write {both}.")
    return _ours(" ".join(words), model, engine or model.engines[0], settings)


def _no_form(model: Model) -> BenchError:
    return BenchError(f"The model '{model.name}' has no form that can be loaded; see `mlxr models show {model.name}`.")


def _name_and_engine(reference: str) -> tuple[str, EngineKind | None]:
    try:
        name, setting, adapter = parse_model_reference(reference)
    except InvalidModelNameError as exc:
        raise BenchError(f"{reference[:80]!r} is no engine (mlx, llamacpp), model or URL: {exc}") from exc
    if adapter is not None:
        raise BenchError(f"{reference}: adapters are not measured; name the model alone.")
    engine = None if setting is None else setting.engine
    return name, None if engine is None else engine.kind


def _ours(label: str, model: Model, engine: str, settings: dict[str, str]) -> Contestant:
    artifact = next((each for each in model.artifacts if each.engine == engine and each.status == "ok"), None)
    if artifact is None:
        have = ", ".join(model.engines) or "no engine"
        hint = f"; make the other form with `mlxr models convert {model.name}`" if engine == EngineKind.MLX else ""
        raise BenchError(f"The model '{model.name}' cannot run on {engine}; it runs on {have}{hint}.")
    for key in sorted(settings):
        owner = LOAD_SETTINGS[key].engine
        if owner not in {None, artifact.engine}:
            raise BenchError(f"{label}: {key} is a setting of {owner}; {engine} does not have it.")
    if settings.get(_SPECULATION) == SpeculationMode.DRAFT:
        _require_draft(label, model, artifact.engine)
    return Contestant(
        label=label,
        model=model.name,
        engine=artifact.engine,
        settings=settings,
        artifact=artifact,
        text_only_reason=_text_only_reason(model, artifact, settings),
        threads=settings.get("threads") or (None if model.settings.threads is None else str(model.settings.threads)),
    )


def _require_draft(label: str, model: Model, engine: EngineKind) -> None:
    owner = LOAD_SETTINGS["draft"].engine
    if engine != owner:
        raise BenchError(f"{label}: draft models are loaded on {owner} only; on {engine} use lookup, auto or off.")
    if model.settings.draft is None:
        way_out = f"`mlxr models set {model.name} draft=OTHER` sets one"
        raise BenchError(f"{label}: the model '{model.name}' has no model that drafts for it; {way_out}.")


def _text_only_reason(model: Model, artifact: Artifact, settings: dict[str, str]) -> str | None:
    if artifact.text_only_reason is None and settings.get("vision", model.settings.vision) == "off":
        return "it is loaded with vision: off"
    return artifact.text_only_reason


def _foreign(text: str, name: str) -> Contestant:
    url, _, model = text.partition("#")
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        has_host = False
    if not has_host:
        raise BenchError(f"{url[:80]!r} is no URL of a server; write e.g. http://127.0.0.1:8080#model.")
    if parts.query:
        raise BenchError(f"{without_secrets(url)}: a URL with a query is not supported; give the server's address.")
    base = url.rstrip("/").removesuffix("/v1")
    label = f"{without_secrets(base)}#{model}" if model else without_secrets(base)
    return Contestant(label=label, model=model or name, url=base)


def _settings_of(text: str, words: Sequence[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for word in words:
        short, sign, value = word.partition("=")
        key = _KEYS.get(short)
        if key is None or not sign or not value:
            raise BenchError(f"{text[:80]!r}: {word!r} is not understood; settings are {_SHOWN_KEYS}.")
        if key in pairs:
            raise BenchError(f"{text[:80]!r}: {short} is there twice.")
        pairs[key] = value
    try:
        settings_from_text(pairs)
    except InvalidSettingError as exc:
        raise BenchError(f"{text[:80]!r}: {exc}") from exc
    return pairs


def _with_unique_labels(found: Sequence[Contestant]) -> tuple[Contestant, ...]:
    labels: dict[str, int] = {}
    unique = []
    for one in found:
        number = labels[one.label] = labels.get(one.label, 0) + 1
        unique.append(one if number == 1 else msgspec.structs.replace(one, label=f"{one.label} ({number})"))
    return tuple(unique)
