from typing import Any

import msgspec
import pytest

from backends.wire.load import VisionSpec
from registry.catalogue import Artifact
from registry.engines import EngineKind, EngineSetting
from registry.settings import NO_SETTINGS, LoadSettings, ModelSettings
from registry.vision import VisionFacts
from router.errors import InvalidRequestError, ModelCannotSeeError, ModelLoadFailedError
from router.models.engine_choice import choose
from router.models.load_settings import AS_CONFIGURED
from router.models.targets import Choice, Target
from router.models.vision import PictureNeed, VisionSource, engines_that_cannot_see, vision_source, vision_spec
from tests.router.models.test_targets import AUTO, LLAMACPP, MLX, artifact, model

TOWER = VisionFacts(kind="gemma3", has_vision=True, size_bytes=9)
PARAM = "messages.0.content.1"
SOURCE = VisionSource(
    family="gemma3",
    facts=msgspec.structs.replace(TOWER, metadata=(("clip.vision.image_mean", (0.5, 0.5, 0.5)),)),
    projector_path="/models/mmproj.gguf",
    text_width=64,
    version="v1",
)


def that_sees(engine: str, **changes: Any) -> Artifact:
    plain = artifact(engine, mmproj_path=None if engine == "mlx" else "/models/mmproj.gguf")
    vision = msgspec.structs.replace(TOWER, **changes)
    return msgspec.structs.replace(plain, facts=msgspec.structs.replace(plain.facts, vision=vision))


def chosen(
    *artifacts: Artifact,
    setting: EngineSetting = AUTO,
    own: EngineSetting | None = None,
    settings: ModelSettings = NO_SETTINGS,
    load: LoadSettings = AS_CONFIGURED,
) -> Choice:
    return choose(
        model(*artifacts, engine=own, settings=settings),
        requested=None,
        global_setting=setting,
        is_apple_silicon=True,
        load=load,
        picture=PictureNeed(PARAM, lambda: "other"),
    )


def test_auto_passes_over_an_engine_that_cannot_see() -> None:
    assert chosen(that_sees("llamacpp"), artifact("mlx")).target.engine.kind is EngineKind.LLAMACPP
    assert chosen(that_sees("llamacpp"), that_sees("mlx")).target.engine.kind is EngineKind.MLX


def test_what_auto_measured_is_asked_of_those_that_see_only() -> None:
    asked: list[Any] = []
    for artifacts in ((that_sees("llamacpp"), artifact("mlx")), (that_sees("llamacpp"), that_sees("mlx"))):
        choose(
            model(*artifacts),
            requested=None,
            global_setting=AUTO,
            is_apple_silicon=False,
            picture=PictureNeed(PARAM),
            pick_auto=asked.append,
        )
    assert [sorted(each) for each in asked] == [["llamacpp", "mlx"]]


@pytest.mark.parametrize(("setting", "own"), [(MLX, None), (LLAMACPP, MLX)])
def test_an_engine_that_is_set_and_cannot_see_is_named_with_the_one_that_can(setting: Any, own: Any) -> None:
    with pytest.raises(ModelCannotSeeError) as caught:
        chosen(that_sees("llamacpp"), artifact("mlx"), setting=setting, own=own)
    assert caught.value.param == PARAM
    for words in (f"{PARAM}: ", "'m@mlx' cannot see pictures", "no vision tower", "ask 'm@llamacpp'"):
        assert words in str(caught.value)


def test_a_text_model_is_refused_with_the_name_of_one_that_sees() -> None:
    with pytest.raises(ModelCannotSeeError) as caught:
        chosen(artifact("llamacpp"), that_sees("mlx", missing=("preprocessor_config.json",)))
    for words in ("no vision projector (mmproj) (llamacpp)", "no preprocessor_config.json", "ask 'other'"):
        assert words in str(caught.value)


def test_where_nothing_sees_the_way_out_is_to_pull_a_model() -> None:
    with pytest.raises(ModelCannotSeeError, match="no model here does: `mlxr models pull`"):
        choose(
            model(artifact("llamacpp")),
            requested=None,
            global_setting=AUTO,
            is_apple_silicon=False,
            picture=PictureNeed(PARAM),
        )


def test_without_pictures_nothing_changes() -> None:
    choice = choose(
        model(that_sees("llamacpp"), artifact("mlx")), requested=None, global_setting=AUTO, is_apple_silicon=True
    )
    assert choice.target.engine.kind is EngineKind.MLX


def test_a_copy_of_a_gguf_without_its_projector_is_a_text_model() -> None:
    seeing = that_sees("llamacpp")
    assert seeing.vision == TOWER
    assert msgspec.structs.replace(seeing, mmproj_path=None).vision is None


def test_a_target_knows_what_it_sees_with_and_is_another_when_that_changes() -> None:
    first = chosen(that_sees("llamacpp", version="v1")).target
    second = chosen(that_sees("llamacpp", version="v2")).target
    assert first != second
    assert first.local.vision is not None
    assert (first.local.vision.family, first.local.vision.text_width) == ("gemma3", 64)
    assert len({first, second}) == 2, "targets are keys"


def test_pictures_make_no_other_target_of_a_model() -> None:
    def target(picture: PictureNeed | None) -> Target:
        return choose(
            model(that_sees("llamacpp")),
            requested=None,
            global_setting=AUTO,
            is_apple_silicon=False,
            picture=picture,
        ).target

    assert target(PictureNeed(PARAM)) == target(None)


@pytest.mark.parametrize(
    ("settings", "load"),
    [(ModelSettings(vision="off"), AS_CONFIGURED), (ModelSettings(vision="on"), LoadSettings(vision="off"))],
)
def test_a_model_that_is_not_to_see_is_asked_for_no_picture(settings: ModelSettings, load: LoadSettings) -> None:
    with pytest.raises(ModelCannotSeeError, match="vision: off; `mlxr models set m vision=auto`"):
        chosen(that_sees("llamacpp"), settings=settings, load=load)
    assert (
        chosen(that_sees("llamacpp"), settings=settings, load=LoadSettings(vision="auto")).target.load.vision == "auto"
    )


def test_a_text_model_is_not_loaded_with_a_tower() -> None:
    def choose_text(settings: ModelSettings, load: LoadSettings) -> None:
        choose(
            model(artifact("llamacpp"), settings=settings),
            requested=None,
            global_setting=AUTO,
            is_apple_silicon=False,
            load=load,
        )

    with pytest.raises(ModelLoadFailedError, match="mlxr models set m vision="):
        choose_text(ModelSettings(vision="on"), AS_CONFIGURED)
    with pytest.raises(InvalidRequestError, match="no vision projector") as caught:
        choose_text(NO_SETTINGS, LoadSettings(vision="on"))
    assert caught.value.param == "vision"
    choose_text(ModelSettings(vision="auto"), AS_CONFIGURED)


@pytest.mark.parametrize(("mode", "is_preloaded"), [(None, False), ("auto", False), ("on", True)])
def test_a_worker_is_told_what_to_see_with(mode: Any, *, is_preloaded: bool) -> None:
    assert vision_spec(SOURCE, mode) == VisionSpec(
        family="gemma3",
        projector_path="/models/mmproj.gguf",
        projector_metadata={"clip.vision.image_mean": [0.5, 0.5, 0.5]},
        text_width=64,
        fingerprint="v1",
        is_preloaded=is_preloaded,
    )


def test_a_worker_of_a_text_model_is_told_of_nothing() -> None:
    assert vision_spec(SOURCE, "off") is None
    assert vision_spec(None, "on") is None
    assert vision_source(artifact("llamacpp")) is None


def test_a_folders_tower_is_in_the_folder_and_as_old_as_it() -> None:
    folder = that_sees("mlx")
    source = vision_source(folder)
    assert source is not None
    assert (source.projector_path, source.version) == (None, folder.version)


def test_an_engine_that_lacks_its_library_is_no_candidate_and_says_so() -> None:
    cannot_see = {EngineKind.MLX: "mlx-vlm is not installed"}
    both = (that_sees("llamacpp"), that_sees("mlx"))

    def engine(*artifacts: Artifact) -> EngineKind:
        return choose(
            model(*artifacts),
            requested=None,
            global_setting=AUTO,
            is_apple_silicon=True,
            picture=PictureNeed(PARAM, cannot_see=cannot_see),
        ).target.engine.kind

    assert engine(*both) is EngineKind.LLAMACPP
    with pytest.raises(ModelCannotSeeError, match=r"mlx-vlm is not installed \(mlx\)"):
        engine(that_sees("mlx"))


@pytest.mark.parametrize(("spec", "lacking"), [(None, {EngineKind.MLX}), ("found", set())])
def test_the_library_is_looked_for_and_not_imported(monkeypatch: pytest.MonkeyPatch, spec: Any, lacking: Any) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec if name == "mlx_vlm" else None)
    assert set(engines_that_cannot_see()) == lacking
