import json
from pathlib import Path

import pytest

from registry.engines import EngineSetting
from router.cli import engine as engine_verb
from router.config import load_config
from router.config.paths import Paths
from tests.router.cli.conftest import Mlxr
from tests.router.cli.stub_gateway import StubGateway


@pytest.fixture
def model(mlxr: Mlxr, tiny_gguf: Path) -> str:
    mlxr("models", "add", str(tiny_gguf), "--name", "some-model")
    return "some-model"


def test_without_a_server_the_setting_is_stored_in_the_commented_file(mlxr: Mlxr, paths: Paths) -> None:
    result = mlxr("engine", "mlx")
    assert result.exit_code == 0
    assert "engine: mlx" in result.out
    assert "No server is running" in result.out
    assert load_config(paths.config_file).engine is EngineSetting.MLX
    assert "# Which engine serves a model" in paths.config_file.read_text(encoding="utf-8")
    assert "as before" in mlxr("engine", "mlx").out
    assert json.loads(mlxr("engine", "--json").out) == {"engine": "mlx"}


def test_a_named_config_file_is_edited_instead(mlxr: Mlxr, tmp_path: Path, paths: Paths) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("engine: auto # mine\n", encoding="utf-8")
    assert mlxr("engine", "llamacpp", "--config", str(file)).exit_code == 0
    assert file.read_text(encoding="utf-8") == "engine: llamacpp # mine\n"
    assert not paths.config_file.exists()


def test_a_bad_config_is_not_edited(mlxr: Mlxr, paths: Paths) -> None:
    paths.ensure_folders()
    paths.config_file.write_text("prot: 3\n", encoding="utf-8")
    result = mlxr("engine", "mlx")
    assert result.exit_code == 1
    assert "line 1: prot: unknown key" in result.err
    assert paths.config_file.read_text(encoding="utf-8") == "prot: 3\n"


def test_with_a_server_it_waits_until_the_setting_is_in_force(mlxr: Mlxr, stub: StubGateway) -> None:
    asked = 0

    class Slow(dict[str, object]):
        """The status of a server that notices at the third look."""

        def copy_now(self) -> dict[str, object]:
            nonlocal asked
            asked += 1
            return self | {"engine_setting": "mlx" if asked >= 3 else "auto"}

    stub.status_of = Slow(stub.status).copy_now
    result = mlxr("engine", "mlx")
    assert result.exit_code == 0
    assert asked == 3
    assert "The running server now uses engine: mlx." in result.out


@pytest.mark.parametrize(
    ("config_error", "words"), [(None, "was it started with --engine"), ("server.yaml, line 3: oops", "line 3: oops")]
)
def test_a_server_that_does_not_follow_is_a_failure_with_the_reason(
    *, mlxr: Mlxr, stub: StubGateway, monkeypatch: pytest.MonkeyPatch, config_error: str | None, words: str
) -> None:
    monkeypatch.setattr(engine_verb, "EFFECT_TIMEOUT_S", 0.0)
    stub.status["config_error"] = config_error
    result = mlxr("engine", "mlx")
    assert result.exit_code == 1
    assert "still uses engine: auto" in result.err or config_error is not None
    assert words in result.err


def test_a_models_own_setting(mlxr: Mlxr, model: str) -> None:
    assert mlxr("engine", "llamacpp", "--model", model).out == "some-model: engine llamacpp\n"
    shown = json.loads(mlxr("engine", "--model", model, "--json").out)
    assert (shown["model_setting"], shown["model_engines"]) == ("llamacpp", ["llamacpp"])
    assert mlxr("engine", "default", "--model", model).out == "some-model: engine as set globally\n"
    assert "the global one" in mlxr("engine", "--model", model).out


def test_a_missing_artifact_is_warned_about(mlxr: Mlxr, model: str) -> None:
    result = mlxr("engine", "mlx", "--model", model)
    assert result.exit_code == 0
    assert "no usable artifact for mlx" in result.err
    assert "mlxr models add PATH --name some-model" in result.err
    assert mlxr("engine", "auto", "--model", model).err == ""


def test_an_unknown_model_suggests_near_names(mlxr: Mlxr, model: str) -> None:
    assert f"Did you mean {model}?" in mlxr("engine", "mlx", "--model", "some-modle").err


def test_default_is_only_for_a_model(mlxr: Mlxr) -> None:
    assert mlxr("engine", "default").exit_code == 2
