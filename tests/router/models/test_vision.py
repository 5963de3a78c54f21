from typing import Any

import msgspec
import pytest

from registry.catalogue import Artifact
from registry.engines import EngineKind, EngineSetting
from registry.vision import VisionFacts
from router.errors import ModelCannotSeeError
from router.models.targets import Choice, choose
from tests.router.models.test_targets import AUTO, LLAMACPP, MLX, artifact, model

TOWER = VisionFacts(kind="gemma3", has_vision=True, size_bytes=9)
PARAM = "messages.0.content.1"


def that_sees(engine: str, **changes: Any) -> Artifact:
    plain = artifact(engine, mmproj_path=None if engine == "mlx" else "/models/mmproj.gguf")
    vision = msgspec.structs.replace(TOWER, **changes)
    return msgspec.structs.replace(plain, facts=msgspec.structs.replace(plain.facts, vision=vision))


def chosen(*artifacts: Artifact, setting: EngineSetting = AUTO, own: EngineSetting | None = None) -> Choice:
    return choose(
        model(*artifacts, engine=own),
        requested=None,
        global_setting=setting,
        is_apple_silicon=True,
        image_param=PARAM,
        another_that_sees=lambda: "other",
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
            image_param=PARAM,
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
    with pytest.raises(ModelCannotSeeError, match="no model here does: `mlxr pull`"):
        choose(
            model(artifact("llamacpp")),
            requested=None,
            global_setting=AUTO,
            is_apple_silicon=False,
            image_param=PARAM,
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
