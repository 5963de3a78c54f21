"""Which engine, and so which artifact, a request means: three levels of the setting, the rule of `auto`, the fallback.

Pure: registry entries in, targets out.

The engine setting, first that is set wins:
    1. the request (`name@engine`, or the header X-Mlxr-Engine);
    2. the model's own setting;
    3. the global setting of the config.

`auto`, first that holds wins:
    1. the engine that is expected to answer sooner, where both have been measured on this machine (`auto`);
    2. mlx, on Apple Silicon, when the model has a usable MLX artifact;
    3. llamacpp, when it has a usable GGUF;
    4. whatever usable artifact it has.

Where the engine that comes of this has no usable files, or failed to load the model lately, `engine_fallback` says what
serves: nothing, or the other engine. Where it says nothing, that hangs on who named the engine: a request is refused,
under a setting or `auto` the other engine serves.

With an adapter, only the engines count for which there is one; with a picture, only those that can see the model's.
"""

from collections.abc import Callable, Container, Mapping

from backends.wire.load import kv_types_of
from registry.catalogue import Artifact, Model
from registry.engines import Engine, EngineKind, EngineSetting
from registry.facts import ModelKind
from registry.settings import LOAD_SETTINGS, LoadSettings
from router.config.schema import EngineFallback
from router.errors import EngineNotAvailableError, InvalidRequestError, ModelLoadFailedError
from router.models.adapters import artifacts_under, find_adapters
from router.models.draft import DraftSource, draft_source
from router.models.fallback import OTHER, fallback_for
from router.models.load_settings import AS_CONFIGURED, load_settings_of, overlaid
from router.models.targets import Choice, EngineReason, LocalArtifact, Purpose, Target, keep_alive_seconds
from router.models.vision import PictureNeed, artifacts_that_see, check_vision, vision_source

_KV_BLOCK = 32
"""Elements of a block of every quantized type. Source: ggml-common.h."""


def choose(
    model: Model,
    *,
    requested: EngineSetting | None,
    global_setting: EngineSetting,
    is_apple_silicon: bool,
    purpose: Purpose = Purpose.GENERATE,
    load: LoadSettings = AS_CONFIGURED,
    adapter: str | None = None,
    picture: PictureNeed | None = None,
    pick_auto: Callable[[Mapping[EngineKind, Artifact]], EngineKind | None] = lambda _artifacts: None,
    find_draft: Callable[[str], DraftSource] = lambda name: draft_source(name, None),
    fallback: EngineFallback | None = None,
    failing: Container[EngineKind] = frozenset(),
) -> Choice:
    """Return what serves a request for `model`.

    Args:
        requested: The request's own setting, or None.
        load: What the request itself wants of the load; it goes before the model's settings.
        adapter: What is to be laid over the model, or None.
        picture: What a request with a picture needs; None = it has none.
        pick_auto: Picks for `auto` between the engines that can serve; None = it cannot tell.
        find_draft: Finds a draft model by its name.
        fallback: The config's word on what serves where an engine cannot; None = it has none.
        failing: Engines that cannot load the model now, which counts only where another one may serve.

    Raises:
        InvalidRequestError: It is an embedding model, and text is to be generated; or the request wants it loaded in a
            way that the engine does not have.
        ModelCannotSeeError: The request has a picture, and the model, or the engine that is set, cannot see it.
        EngineNotAvailableError: The engine that is set has no usable artifact of this model, or no such adapter.
        AdapterNotFoundError: The model has no such adapter.
        ModelLoadFailedError: The model has no usable artifact at all, or is to be loaded as the engine cannot.
    """
    setting, reason = setting_of(model, requested, global_setting)
    loaded_with = overlaid(load_settings_of(model.settings), load)
    falls_back = fallback_for(fallback, requested) == OTHER
    named = None if setting.engine is None else setting.engine.kind
    by_engine = _artifacts_that_serve(model, purpose)
    wanted = None if falls_back and named not in by_engine else named
    if picture is not None:
        by_engine = artifacts_that_see(model, by_engine, wanted, picture, loaded_with.vision)
    adapters = {} if adapter is None else find_adapters(model, adapter)
    if adapter is not None:
        by_engine = artifacts_under(by_engine, adapters, f"{model.name}+{adapter}", wanted)
    engine, reason = _engine_for(
        (setting.engine, reason),
        by_engine,
        lambda those: _auto(those, pick_auto, is_apple_silicon=is_apple_silicon),
        cannot=failing if falls_back else (),
        fits=lambda artifact: falls_back and _can_load(model.name, artifact, load, loaded_with),
    )
    artifact = by_engine.get(engine.kind)
    if artifact is None:
        raise EngineNotAvailableError(model.name, str(engine), sorted(by_engine), _remedy(model.name, engine.kind))
    _check_load(model.name, artifact, requested=load, load=loaded_with)
    if engine.kind is EngineKind.MLX:
        _check_hosts(model.name, loaded_with, adapter)
    source = LocalArtifact(artifact.id, artifact.path, artifact.version, vision_source(artifact))
    draft_name = loaded_with.draft if engine.kind is EngineKind.LLAMACPP else None
    draft = None if draft_name is None else find_draft(draft_name)
    target = Target(model.name, engine, source, loaded_with, adapters.get(engine.kind), draft)
    return Choice(target, reason, keep_alive_seconds(model.settings.keep_alive_s))


def _engine_for(
    set_: tuple[Engine | None, EngineReason],
    by_engine: Mapping[EngineKind, Artifact],
    auto: Callable[[Mapping[EngineKind, Artifact]], tuple[Engine, EngineReason]],
    *,
    cannot: Container[EngineKind],
    fits: Callable[[Artifact], bool],
) -> tuple[Engine, EngineReason]:
    """Return the engine and why it is that one; one without an artifact where nothing else may serve.

    Args:
        set_: The engine that is set, None for `auto`, and whose setting that is.
        cannot: Engines that cannot load the model now.
        fits: Tells whether an artifact may serve in the place of another engine's.
    """
    engine, reason = set_
    if engine is None:
        engine, reason = auto(by_engine)
    if engine.kind in by_engine and engine.kind not in cannot:
        return engine, reason
    others = {
        kind: artifact
        for kind, artifact in by_engine.items()
        if kind != engine.kind and kind not in cannot and fits(artifact)
    }
    if not others:
        return engine, reason
    is_there = engine.kind in by_engine
    return auto(others)[0], EngineReason.FALLBACK_LOAD_FAILED if is_there else EngineReason.FALLBACK_NO_ARTIFACT


def _can_load(name: str, artifact: Artifact, requested: LoadSettings, load: LoadSettings) -> bool:
    """Tell whether an engine can do a load."""
    try:
        _check_load(name, artifact, requested=requested, load=load)
    except (InvalidRequestError, ModelLoadFailedError):
        return False
    return True


def _check_hosts(name: str, load: LoadSettings, adapter: str | None) -> None:
    """Refuse an adapter over a model that is spread over hosts."""
    if adapter is not None and load.hosts is not None and len(load.hosts) > 1:
        raise InvalidRequestError(
            f"model: '{name}' is spread over hosts ({', '.join(load.hosts)}), with which adapters do not go; ask it "
            f"without '+{adapter}', or take the hosts away: mlxr models set {name} hosts=",
            "model",
        )


def _check_load(name: str, artifact: Artifact, *, requested: LoadSettings, load: LoadSettings) -> None:
    """Refuse, before anything is unloaded for it, a load that the engine cannot do."""
    _check_requested_load(name, artifact.engine, requested)
    _check_kv_type(name, artifact, load.kv_type)
    check_vision(name, artifact, load.vision, requested.vision)


def _artifacts_that_serve(model: Model, purpose: Purpose) -> dict[EngineKind, Artifact]:
    """Return the usable artifacts, one at least."""
    by_engine = usable_artifacts(model, purpose)
    if by_engine:
        return by_engine
    others = usable_artifacts(model, Purpose.EMBED) if purpose is Purpose.GENERATE else {}
    if others:
        ranks = any(artifact.facts.pooling_type == "rank" for artifact in others.values())
        kind, path = ("a reranker", "/v1/rerank") if ranks else ("an embedding model", "/v1/embeddings")
        message = f"model: '{model.name}' is {kind}, it does not generate text; use POST {path}"
        raise InvalidRequestError(message, "model")
    raise ModelLoadFailedError(f"the model '{model.name}' cannot be served: {_why_unusable(model)}")


def setting_of(
    model: Model, requested: EngineSetting | None, global_setting: EngineSetting
) -> tuple[EngineSetting, EngineReason]:
    """Return the first engine setting that is set, and whose it is."""
    if requested is not None:
        return requested, EngineReason.REQUEST
    if model.engine is not None:
        return model.engine, EngineReason.MODEL_SETTING
    return global_setting, EngineReason.GLOBAL_SETTING


def usable_artifacts(model: Model, purpose: Purpose) -> dict[EngineKind, Artifact]:
    """Return the first usable artifact per engine; mlx-lm has no code for models that only embed."""
    kinds = {ModelKind.MODEL} if purpose is Purpose.GENERATE else {ModelKind.MODEL, ModelKind.EMBEDDING}
    by_engine: dict[EngineKind, Artifact] = {}
    for artifact in model.artifacts:
        is_encoder_folder = artifact.facts.kind is ModelKind.EMBEDDING and artifact.engine is EngineKind.MLX
        if artifact.status == "ok" and artifact.facts.kind in kinds and not is_encoder_folder:
            by_engine.setdefault(artifact.engine, artifact)
    return by_engine


def _auto(
    by_engine: Mapping[EngineKind, Artifact],
    pick: Callable[[Mapping[EngineKind, Artifact]], EngineKind | None],
    *,
    is_apple_silicon: bool,
) -> tuple[Engine, EngineReason]:
    picked = pick(by_engine) if len(by_engine) > 1 else None
    if picked is not None:
        return Engine(picked), EngineReason.AUTO_MEASURED
    if is_apple_silicon and EngineKind.MLX in by_engine:
        return Engine(EngineKind.MLX), EngineReason.AUTO_APPLE_SILICON
    if EngineKind.LLAMACPP in by_engine:
        return Engine(EngineKind.LLAMACPP), EngineReason.AUTO_GGUF
    return Engine(next(iter(by_engine))), EngineReason.AUTO_ONLY


def _why_unusable(model: Model) -> str:
    reasons = [_why_artifact_unusable(artifact) for artifact in model.artifacts]
    return "; ".join(reasons) or (
        f"no file of it is here for an engine of this machine; see `mlxr models show {model.name}`, and ask for it "
        "without an engine where an upstream has it"
    )


def _why_artifact_unusable(artifact: Artifact) -> str:
    if artifact.status != "ok":
        return artifact.reason or f"its {artifact.format} artifact is {artifact.status}"
    kind, engine = artifact.facts.kind, artifact.engine
    return f"its {artifact.format} artifact is of kind {kind}, which the {engine} engine cannot run"


def _check_requested_load(name: str, engine: EngineKind, load: LoadSettings) -> None:
    """Refuse what a request wants of the load and the engine cannot do."""
    for key, setting in LOAD_SETTINGS.items():
        if setting.engine not in {None, engine} and getattr(load, key) is not None:
            way_out = f"leave it out, or ask '{name}@{setting.engine}'"
            raise InvalidRequestError(f"{key}: the {engine} engine has no such setting of a load; {way_out}", key)


def _check_kv_type(name: str, artifact: Artifact, kv_type: str | None) -> None:
    """Refuse a type of the KV cache.

    Source: llama-context.cpp, "K cache type … does not divide n_embd_head_k"; `backends.mlx.caches.check_kv_type`.
    """
    if kv_type is None:
        return
    kv = artifact.facts.kv
    if artifact.engine is EngineKind.MLX:
        problem = f"which mlx does not have; use '{name}@llamacpp'"
    elif kv is not None and any(
        name.startswith("q") and length % _KV_BLOCK
        for name, length in zip(kv_types_of(kv_type), (kv.key_length, kv.value_length), strict=True)
    ):
        problem = f"for which its heads must have a multiple of {_KV_BLOCK} elements; use f16"
    else:
        return
    raise ModelLoadFailedError(
        f"the model '{name}' is set to a KV cache of type {kv_type}, {problem}, or take the setting away: "
        f"mlxr models set {name} kv_type="
    )


def _remedy(name: str, engine: EngineKind) -> str:
    kind = "MLX folder" if engine is EngineKind.MLX else "GGUF file"
    return f"mlxr models add PATH --name {name}   (PATH: its {kind})"
