import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.catalogue import Artifact, Model
from registry.engines import LOCAL_ENGINES, Engine, EngineKind, EngineSetting
from registry.facts import ArtifactFormat, KVGeometry, ModelKind
from registry.settings import NO_SETTINGS, LoadSettings, ModelSettings
from router.config.schema import EngineFallback
from router.errors import EngineNotAvailableError, InvalidRequestError, ModelLoadFailedError
from router.models.engine_choice import choose
from router.models.targets import Choice, EngineReason, Purpose
from tests.registry.catalogue_builder import make_facts

AUTO, MLX, LLAMACPP = EngineSetting.AUTO, EngineSetting.MLX, EngineSetting.LLAMACPP


def artifact(engine: str, *, kind: ModelKind = ModelKind.MODEL, **changes: Any) -> Artifact:
    form = ArtifactFormat.MLX if engine == "mlx" else ArtifactFormat.GGUF
    plain = Artifact(
        id=1 if engine == "mlx" else 2,
        model_name="m",
        format=form,
        path=f"/models/{engine}",
        files=(),
        mmproj_path=None,
        size_bytes=1,
        mtime_ns=1,
        sha256=None,
        status="ok",
        reason=None,
        is_owned=False,
        facts=msgspec.structs.replace(make_facts(form), kind=kind),
    )
    return msgspec.structs.replace(plain, **changes)


def model(*artifacts: Artifact, engine: Any = None, settings: ModelSettings = NO_SETTINGS) -> Model:
    return Model(
        name="m",
        artifacts=artifacts,
        engine=None if engine is None else EngineSetting(engine),
        aliases=(),
        settings=settings,
        created_at=0.0,
        last_used_at=None,
    )


BOTH = (artifact("llamacpp"), artifact("mlx"))


@pytest.mark.parametrize(
    ("requested", "own", "global_setting", "engine", "reason"),
    [
        (MLX, "llamacpp", LLAMACPP, "mlx", EngineReason.REQUEST),
        (None, "mlx", LLAMACPP, "mlx", EngineReason.MODEL_SETTING),
        (None, None, MLX, "mlx", EngineReason.GLOBAL_SETTING),
        (None, None, LLAMACPP, "llamacpp", EngineReason.GLOBAL_SETTING),
        (AUTO, "mlx", MLX, "llamacpp", EngineReason.AUTO_GGUF),
        (None, "auto", MLX, "llamacpp", EngineReason.AUTO_GGUF),
        (None, None, AUTO, "llamacpp", EngineReason.AUTO_GGUF),
    ],
)
def test_the_first_level_that_is_set_wins(
    requested: EngineSetting | None, own: str | None, global_setting: EngineSetting, engine: str, reason: EngineReason
) -> None:
    choice = choose(
        model(*BOTH, engine=own), requested=requested, global_setting=global_setting, is_apple_silicon=False
    )
    assert (str(choice.target.engine), choice.reason) == (engine, reason)
    assert choice.target.local.path == f"/models/{engine}"


@pytest.mark.parametrize(
    ("engines", "is_apple_silicon", "engine", "reason"),
    [
        (["llamacpp", "mlx"], True, "mlx", EngineReason.AUTO_APPLE_SILICON),
        (["llamacpp", "mlx"], False, "llamacpp", EngineReason.AUTO_GGUF),
        (["llamacpp"], True, "llamacpp", EngineReason.AUTO_GGUF),
        (["mlx"], False, "mlx", EngineReason.AUTO_ONLY),
    ],
)
def test_auto(engines: list[str], *, is_apple_silicon: bool, engine: str, reason: EngineReason) -> None:
    artifacts = [artifact(name) for name in engines]
    choice = choose(model(*artifacts), requested=None, global_setting=AUTO, is_apple_silicon=is_apple_silicon)
    assert (str(choice.target.engine), choice.reason) == (engine, reason)


def test_auto_passes_over_an_artifact_that_cannot_be_used() -> None:
    broken = artifact("mlx", status="missing", reason="/models/mlx is gone")
    choice = choose(model(artifact("llamacpp"), broken), requested=None, global_setting=AUTO, is_apple_silicon=True)
    assert choice.target.engine == Engine(EngineKind.LLAMACPP)


@pytest.mark.parametrize(
    ("fallback", "requested", "own", "engine"),
    [
        (None, None, "mlx", "llamacpp"),
        (None, AUTO, "mlx", "llamacpp"),
        (None, None, None, "llamacpp"),
        (None, MLX, None, None),
        ("other", MLX, None, "llamacpp"),
        ("other", None, "mlx", "llamacpp"),
        ("refuse", None, "mlx", None),
        ("refuse", None, None, None),
    ],
)
@pytest.mark.parametrize("is_bad", [False, True])
def test_what_serves_where_the_engine_that_is_set_has_no_usable_artifact(
    fallback: EngineFallback | None,
    requested: EngineSetting | None,
    own: str | None,
    engine: str | None,
    *,
    is_bad: bool,
) -> None:
    """The global setting is mlx."""
    bad = [artifact("mlx", status="missing", reason="it is gone")] if is_bad else []

    def chosen() -> Choice:
        one = model(artifact("llamacpp"), *bad, engine=own)
        return choose(one, requested=requested, global_setting=MLX, is_apple_silicon=True, fallback=fallback)

    if engine is None:
        with pytest.raises(EngineNotAvailableError):
            chosen()
        return
    found = chosen()
    assert found.target.local.path == f"/models/{engine}"
    wanted = EngineReason.AUTO_GGUF if requested is AUTO else EngineReason.FALLBACK_NO_ARTIFACT
    assert found.reason is wanted


engines_of_models = st.lists(st.sampled_from(["mlx", "llamacpp"]), unique=True, min_size=1)
any_setting = st.sampled_from(list(EngineSetting))


@settings(max_examples=60, deadline=None)
@given(
    engines_of_models,
    st.none() | any_setting,
    st.none() | any_setting,
    any_setting,
    st.sampled_from([None, "other", "refuse"]),
    st.sets(st.sampled_from(list(LOCAL_ENGINES))),
    st.booleans(),
)
def test_another_engine_serves_only_where_it_may_and_can_and_is_said_to(
    engines: list[str],
    requested: EngineSetting | None,
    own: EngineSetting | None,
    global_setting: EngineSetting,
    fallback: EngineFallback | None,
    failing: set[EngineKind],
    is_apple_silicon: bool,  # noqa: FBT001 - drawn
) -> None:
    one = model(*(artifact(name) for name in engines), engine=own)

    def chosen(failing: set[EngineKind], fallback: EngineFallback | None) -> Choice | None:
        try:
            return choose(
                one,
                requested=requested,
                global_setting=global_setting,
                is_apple_silicon=is_apple_silicon,
                fallback=fallback,
                failing=failing,
            )
        except EngineNotAvailableError:
            return None

    plain, found = chosen(set(), "refuse"), chosen(failing, fallback)
    named = requested is not None and requested.engine is not None
    may = fallback == "other" or (fallback is None and not named)
    fit = [name for name in engines if EngineKind(name) not in failing]
    if not may:
        assert found == plain
    elif plain is not None and plain.target.engine.kind not in failing:
        assert found == plain, "nothing is changed that works"
    elif fit:
        assert found is not None
        assert found.target.engine.kind in fit
        is_there = plain is not None
        assert found.reason is (EngineReason.FALLBACK_LOAD_FAILED if is_there else EngineReason.FALLBACK_NO_ARTIFACT)
    else:
        assert found == plain, "nothing else can serve, so that what is set tells why"


def test_a_load_that_the_other_engine_cannot_do_is_no_way_out() -> None:
    """Keys and values of mlx have one type, whatever serves."""
    with pytest.raises(EngineNotAvailableError):
        choose(
            model(artifact("mlx"), settings=ModelSettings(kv_type="q8_0")),
            requested=None,
            global_setting=LLAMACPP,
            is_apple_silicon=False,
        )


def test_a_wish_that_cannot_be_met_names_the_engines_and_the_command() -> None:
    with pytest.raises(EngineNotAvailableError) as caught:
        choose(model(artifact("llamacpp")), requested=MLX, global_setting=AUTO, is_apple_silicon=True)
    assert caught.value.param == "model"
    for words in ("'m' cannot run on 'mlx'", "artifacts for: llamacpp", "mlxr models add PATH --name m"):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("artifacts", "words"),
    [
        ([artifact("mlx", status="bad", reason="its index names a file outside")], "a file outside"),
        ([artifact("llamacpp", status="missing")], "its gguf artifact is missing"),
        ([artifact("mlx", kind=ModelKind.EMBEDDING)], "kind embedding, which the mlx engine cannot run"),
        ([], "mlxr models show m"),
    ],
)
def test_a_model_without_a_usable_artifact_says_why(artifacts: list[Artifact], words: str) -> None:
    with pytest.raises(ModelLoadFailedError, match=words):
        choose(model(*artifacts), requested=None, global_setting=AUTO, is_apple_silicon=False)


def test_an_embedding_model_is_served_for_embeddings_and_named_as_such_for_text() -> None:
    encoder = model(artifact("llamacpp", kind=ModelKind.EMBEDDING))
    for purpose in (Purpose.EMBED, Purpose.DESCRIBE):
        choice = choose(encoder, requested=None, global_setting=AUTO, is_apple_silicon=False, purpose=purpose)
        assert choice.target.engine == Engine(EngineKind.LLAMACPP)
    with pytest.raises(InvalidRequestError, match="POST /v1/embeddings") as caught:
        choose(encoder, requested=None, global_setting=AUTO, is_apple_silicon=False)
    assert caught.value.param == "model"


def test_any_decoder_can_embed() -> None:
    choice = choose(
        model(artifact("mlx")), requested=None, global_setting=AUTO, is_apple_silicon=False, purpose=Purpose.EMBED
    )
    assert choice.target.engine == Engine(EngineKind.MLX)


def test_the_models_settings_make_another_target_of_it_and_the_requests_go_before_them() -> None:
    own = model(*BOTH, settings=ModelSettings(context_length=100, parallel=2, temperature=0.1))
    usual, plain = (
        choose(each, requested=None, global_setting=LLAMACPP, is_apple_silicon=False).target
        for each in (own, model(*BOTH))
    )
    assert usual != plain
    assert usual.load == LoadSettings(context_length=100, parallel=2)
    longer = choose(
        own, requested=None, global_setting=LLAMACPP, is_apple_silicon=False, load=LoadSettings(context_length=300)
    )
    assert longer.target.load == LoadSettings(context_length=300, parallel=2)


def test_a_type_of_the_kv_cache_is_refused_on_mlx_before_anything_is_unloaded() -> None:
    own = model(*BOTH, settings=ModelSettings(kv_type="bf16"))
    target = choose(own, requested=LLAMACPP, global_setting=AUTO, is_apple_silicon=False).target
    assert target.load.kv_type == "bf16"
    with pytest.raises(ModelLoadFailedError, match="which mlx does not have; use 'm@llamacpp', or take"):
        choose(own, requested=MLX, global_setting=AUTO, is_apple_silicon=False)


@pytest.mark.parametrize(
    ("kv_type", "width", "is_refused"),
    [("q4_0", 80, True), ("f16", 80, False), ("q4_0", 64, False), ("f16/q4_0", 80, False), ("q8_0/f16", 80, True)],
)
def test_a_quantized_kv_cache_needs_heads_that_blocks_fit_into(kv_type: Any, width: int, is_refused: bool) -> None:  # noqa: FBT001 - a case
    kv = KVGeometry(num_layers=1, num_kv_heads=(1,), key_length=width, value_length=64)
    gguf = artifact("llamacpp")
    gguf = msgspec.structs.replace(gguf, facts=msgspec.structs.replace(gguf.facts, kv=kv))
    own = model(gguf, settings=ModelSettings(kv_type=kv_type))
    with pytest.raises(ModelLoadFailedError, match="multiple of 32") if is_refused else contextlib.nullcontext():
        choose(own, requested=None, global_setting=AUTO, is_apple_silicon=False)


@pytest.mark.parametrize("load", [LoadSettings(kv_type="f16"), LoadSettings(threads=2)])
def test_a_request_cannot_want_of_mlx_what_only_llamacpp_has(load: LoadSettings) -> None:
    with pytest.raises(InvalidRequestError, match="leave it out, or ask 'm@llamacpp'"):
        choose(model(*BOTH), requested=MLX, global_setting=AUTO, is_apple_silicon=False, load=load)
    choice = choose(model(*BOTH), requested=LLAMACPP, global_setting=AUTO, is_apple_silicon=False, load=load)
    assert choice.target.load == load
