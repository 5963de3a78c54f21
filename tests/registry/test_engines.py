"""The names of engines: one declaration, which everything else that names them follows."""

import msgspec
import pytest

from backends.engines import create_engine
from registry.catalogue import ENGINE_OF_FORMAT
from registry.engines import LOCAL_ENGINES, Engine, EngineKind, EngineSetting, PullEngines
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
    assert {setting.engine for setting in EngineSetting} - {None} == set(map(Engine, LOCAL_ENGINES))


def test_the_setting_of_an_upstream_has_its_name_and_no_member() -> None:
    setting = EngineSetting("upstream:box-2")
    assert setting.engine == Engine(EngineKind.UPSTREAM, "box-2")
    assert setting == EngineSetting("upstream:box-2") == msgspec.json.decode(b'"upstream:box-2"', type=EngineSetting)
    assert {setting, EngineSetting("upstream:box-2")} == {"upstream:box-2"}
    assert msgspec.json.encode(setting) == b'"upstream:box-2"'
    assert setting not in list(EngineSetting)


@pytest.mark.parametrize(
    "text", ["upstream", "upstream:", "upstream:Box", "upstream:-a", "upstream:a b", "box", "upstream:a\n"]
)
def test_what_no_upstream_can_be_called_is_no_setting(text: str) -> None:
    with pytest.raises(ValueError, match="EngineSetting"):
        EngineSetting(text)


def test_whatever_names_engines_names_all_of_them() -> None:
    assert set(PullEngines) == {*LOCAL_ENGINES, "both"}
    assert set(ENGINE_OF_FORMAT) == set(ArtifactFormat)
    assert set(ENGINE_OF_FORMAT.values()) == set(LOCAL_ENGINES)


@pytest.mark.parametrize("kind", LOCAL_ENGINES)
def test_each_local_kind_has_an_engine_of_its_name(kind: EngineKind) -> None:
    assert create_engine(kind).name == kind
