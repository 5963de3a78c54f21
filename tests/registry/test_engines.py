"""The names of engines: one declaration, which everything else that names them follows."""

import pytest

from backends.engines import create_engine
from registry.catalogue import ENGINE_OF_FORMAT
from registry.engines import Engine, EngineKind, EngineSetting, PullEngines
from registry.facts import ArtifactFormat


def test_what_is_written_is_read() -> None:
    for engine in (Engine(EngineKind.MLX), Engine(EngineKind.LLAMACPP, "box")):
        assert Engine.parse(str(engine)) == engine
    assert str(Engine(EngineKind.LLAMACPP, "box")) == "llamacpp:box"
    assert f"m@{Engine(EngineKind.MLX)}" == "m@mlx"


def test_what_is_no_kind_is_no_engine() -> None:
    with pytest.raises(ValueError, match="vllm"):
        Engine.parse("vllm:box")


def test_a_setting_is_auto_or_an_engine() -> None:
    assert EngineSetting.AUTO.engine is None
    assert {setting.engine for setting in EngineSetting} - {None} == set(map(Engine, EngineKind))


def test_whatever_names_engines_names_all_of_them() -> None:
    assert set(PullEngines) == {*EngineKind, "both"}
    assert set(ENGINE_OF_FORMAT) == set(ArtifactFormat)
    assert set(ENGINE_OF_FORMAT.values()) == set(EngineKind)


@pytest.mark.parametrize("kind", EngineKind)
def test_each_kind_has_an_engine_of_its_name(kind: EngineKind) -> None:
    assert create_engine(kind).name == kind
