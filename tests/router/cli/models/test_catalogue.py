import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from router.config.edit import set_value
from router.config.paths import Paths
from tests.registry.mlx_builder import write_mlx_dir
from tests.router.cli.conftest import Mlxr
from tests.router.cli.stub_gateway import StubGateway, worker
from tests.support import tiny_bert, tiny_model


@pytest.fixture
def outside(tmp_path: Path, tiny_gguf: Path) -> Path:
    """A model file that belongs to the user."""
    folder = tmp_path / "mine"
    folder.mkdir()
    return Path(shutil.copy(tiny_gguf, folder / "tiny-model.gguf"))


@pytest.fixture
def inside(paths: Paths, tiny_gguf: Path) -> Path:
    """A model file that belongs to mlxr."""
    paths.ensure_folders()
    return Path(shutil.copy(tiny_gguf, paths.models_dir / "owned-model.gguf"))


def listed(mlxr: Mlxr) -> list[dict[str, Any]]:
    models: list[dict[str, Any]] = json.loads(mlxr("models", "list", "--json").out)
    return models


def test_an_empty_catalogue_says_how_to_fill_it(mlxr: Mlxr) -> None:
    assert "mlxr models add PATH" in mlxr("models", "list").out
    assert listed(mlxr) == []


def test_an_added_model_is_listed_and_shown(mlxr: Mlxr, outside: Path) -> None:
    added = mlxr("models", "add", str(outside), "--name", "mine")
    assert (added.exit_code, added.out) == (0, "mine: runs on llamacpp. Try: mlxr run mine\n")
    table = mlxr("models", "list").out.splitlines()
    assert table[0].split()[:2] == ["NAME", "ENGINES"]
    assert table[1].split()[:2] == ["mine", "llamacpp"]
    (model,) = listed(mlxr)
    assert model["engines"] == ["llamacpp"]
    assert model["artifacts"][0]["path"] == str(outside)
    assert model["artifacts"][0]["is_owned"] is False
    shown = mlxr("models", "show", "mine").out
    assert str(outside) in shown
    assert "llama" in next(line for line in shown.splitlines() if line.startswith("architecture")).split()
    described = json.loads(mlxr("models", "show", "mine", "--json").out)
    assert described["name"] == "mine"
    assert described["capabilities"]["engines"] == ["llamacpp"]


def test_how_tokens_are_drawn_is_shown_with_who_says_so(mlxr: Mlxr, tmp_path: Path) -> None:
    folder = tiny_model.write_mlx(tmp_path / "makers")
    (folder / "generation_config.json").write_text('{"temperature": 0.6, "top_k": 20}')
    mlxr("models", "add", str(folder), "--name", "mine")
    mlxr("models", "set", "mine", "top_p=0.9")

    def sampling() -> list[str]:
        lines = mlxr("models", "show", "mine").out.splitlines()
        return next(line for line in lines if line.startswith("sampling")).split(maxsplit=1)[1].split(", ")

    makers = ["temperature 0.6 (generation_config.json)", "top_k 20 (generation_config.json)"]
    rest = ["top_p 0.9 (set on the model)", "min_p 0.0 (the config)"]
    assert sorted(sampling()) == sorted([*makers, *rest])
    described = json.loads(mlxr("models", "show", "mine", "--json").out)
    assert described["sampling"]["temperature"] == {"value": 0.6, "origin": "generation_config.json"}
    assert described["sampling"]["repetition_penalty"] == {"value": 1.0, "origin": "off"}
    mlxr("models", "set", "mine", "recommended_sampling=false")
    assert sorted(sampling()) == sorted(["temperature 1.0 (the config)", *rest])


def test_what_cannot_be_asked_is_not_advertised(mlxr: Mlxr, tmp_path: Path) -> None:
    odd = write_mlx_dir(tmp_path / "odd", config={"model_type": None})
    added = mlxr("models", "add", str(odd), "--name", "odd")
    assert added.exit_code == 0
    assert added.out == (
        "odd: is there, but no engine runs it: config.json has no model_type. `mlxr models show odd` has the details.\n"
    )
    bert = tiny_bert.write_gguf(tmp_path / "bert.gguf")
    assert mlxr("models", "add", str(bert), "--name", "bert").out == (
        "bert: runs on llamacpp, for embeddings (POST /v1/embeddings).\n"
    )


def test_what_requests_may_ask_is_shown_once_for_engines_that_agree(mlxr: Mlxr, outside: Path, tiny_mlx: Path) -> None:
    mlxr("models", "add", str(outside), "--name", "mine")
    lines = mlxr("models", "show", "mine").out.splitlines()
    assert next(line for line in lines if line.startswith("requests on")).split()[2:] == ["llamacpp"]
    mlxr("models", "add", str(tiny_mlx), "--name", "mine")
    lines = mlxr("models", "show", "mine").out.splitlines()
    (on,) = [line for line in lines if line.startswith("requests on")]
    assert on.endswith("llamacpp and mlx")
    assert "response_format" in next(line for line in lines if line.startswith("honoured"))
    assert "best_of" in next(line for line in lines if line.startswith("neutral only"))
    assert "functions" in next(line for line in lines if line.startswith("refused"))


def test_two_forms_under_one_name(mlxr: Mlxr, outside: Path, tiny_mlx: Path) -> None:
    mlxr("models", "add", str(outside), "--name", "mine")
    both = mlxr("models", "add", str(tiny_mlx), "--name", "mine", "--engine", "mlx", "--json")
    assert json.loads(both.out)["engine"] == "mlx"
    assert sorted(listed(mlxr)[0]["engines"]) == ["llamacpp", "mlx"]
    assert mlxr("models", "unlink", "mine", "--format", "mlx").out.endswith("is now the model mine-mlx.\n")
    assert [model["name"] for model in listed(mlxr)] == ["mine", "mine-mlx"]
    assert "llamacpp and mlx" in mlxr("models", "link", "mine-mlx", "mine").out
    assert [model["name"] for model in listed(mlxr)] == ["mine"]
    assert mlxr("models", "unlink", "mine", "--format", "onnx").exit_code == 2


def test_a_relative_path_may_be_added(mlxr: Mlxr, outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(outside.parent)
    assert mlxr("models", "add", outside.name).exit_code == 0
    assert listed(mlxr)[0]["artifacts"][0]["path"] == str(outside)


@pytest.mark.parametrize("name", ["../x", "Upper Case", "a@mlx", "\x1b[2J"])
def test_a_bad_name_is_refused(mlxr: Mlxr, outside: Path, name: str) -> None:
    result = mlxr("models", "add", str(outside), "--name", name)
    assert result.exit_code == 1
    assert "is no model name" in result.err
    assert "\x1b" not in result.err


def test_a_file_that_is_no_model_is_refused_with_the_reason(mlxr: Mlxr, tmp_path: Path) -> None:
    bad = tmp_path / "bad\x1b[2J.gguf"
    bad.write_bytes(b"nonsense")
    result = mlxr("models", "add", str(bad))
    assert result.exit_code == 1
    assert "bad\\x1b[2J.gguf" in result.err


def test_a_scan_finds_own_extra_and_cached_models_and_lists_broken_ones(
    *, mlxr: Mlxr, inside: Path, outside: Path, paths: Paths
) -> None:
    (outside.parent / "broken.gguf").write_bytes(b"GGUF")
    set_value(paths.config_file, ("standby",), value=False)
    paths.config_file.write_text(f"models:\n  extra_folders: [{outside.parent}]\n", encoding="utf-8")
    result = mlxr("models", "scan")
    assert result.exit_code == 0
    assert "2 models known: 2 new, 0 unchanged." in result.out
    assert str(inside) in result.out
    assert "broken   " in result.out
    report = json.loads(mlxr("models", "scan", "--json").out)
    assert report["num_unchanged"] == 2
    assert [Path(item["path"]).name for item in report["failed"]] == ["broken.gguf"]


def test_a_scan_with_a_bad_config_says_so(mlxr: Mlxr, paths: Paths) -> None:
    paths.ensure_folders()
    paths.config_file.write_text("models: 3\n", encoding="utf-8")
    result = mlxr("models", "scan")
    assert result.exit_code == 1
    assert "server.yaml, line 1: models: expected keys and values, got 3" in result.err


def test_a_damaged_catalogue_is_rescued(mlxr: Mlxr, inside: Path, paths: Paths) -> None:
    del inside
    paths.registry_db.write_bytes(b"this is no database, and long enough to be taken for one" * 100)
    broken = mlxr("models", "list")
    assert broken.exit_code == 1
    assert "mlxr models scan --rescue" in broken.err
    assert "The old catalogue is now" in mlxr("models", "scan", "--rescue").out
    assert len(listed(mlxr)) == 1


def test_rescuing_under_a_running_server_is_refused(mlxr: Mlxr, stub: StubGateway) -> None:
    del stub
    assert "stop the server first" in mlxr("models", "scan", "--rescue").err


def test_a_vanished_file_is_marked(mlxr: Mlxr, outside: Path) -> None:
    mlxr("models", "add", str(outside), "--name", "mine")
    outside.unlink()
    mlxr("models", "scan")
    assert "gguf missing" in mlxr("models", "list").out


# --- rm --------------------------------------------------------------------------------------------------------------


def test_removing_asks_first_and_takes_no_for_an_answer(
    mlxr: Mlxr, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlxr("models", "scan")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    for reply in ("", "n", "no way"):
        monkeypatch.setattr("builtins.input", lambda _question, reply=reply: reply)
        result = mlxr("models", "rm", "owned-model")
        assert result.exit_code == 1
        assert "Nothing was removed" in result.err
    assert inside.exists()
    assert len(listed(mlxr)) == 1
    monkeypatch.setattr("builtins.input", lambda _question: "y")
    assert mlxr("models", "rm", "owned-model").exit_code == 0
    assert not inside.exists()


def test_removing_without_a_terminal_needs_yes(mlxr: Mlxr, inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlxr("models", "scan")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    result = mlxr("models", "rm", "owned-model")
    assert result.exit_code == 2
    assert "--yes" in result.err
    assert inside.exists()


def test_own_files_are_deleted_and_named(mlxr: Mlxr, inside: Path) -> None:
    mlxr("models", "scan")
    result = mlxr("models", "rm", "owned-model", "--yes")
    assert result.exit_code == 0
    assert "This file will be deleted" in result.out
    assert f"  {inside}\n" in result.out
    assert not inside.exists()
    assert listed(mlxr) == []


def test_the_users_files_are_left_and_named(mlxr: Mlxr, outside: Path) -> None:
    mlxr("models", "add", str(outside), "--name", "mine")
    result = mlxr("models", "rm", "mine", "--yes")
    assert "will be left" in result.out
    assert f"  {outside}\n" in result.out
    assert outside.exists()
    assert listed(mlxr) == []


def test_the_users_files_are_deleted_only_with_files(mlxr: Mlxr, outside: Path) -> None:
    mlxr("models", "add", str(outside), "--name", "mine")
    report = json.loads(mlxr("models", "rm", "mine", "--yes", "--files", "--json").out)
    assert report["deleted"] == [str(outside)]
    assert not outside.exists()


def test_a_model_that_is_loaded_is_not_removed(mlxr: Mlxr, inside: Path, stub: StubGateway) -> None:
    mlxr("models", "scan")
    stub.status["workers"] = [worker("owned-model", state="generating")]
    result = mlxr("models", "rm", "owned-model", "--yes")
    assert result.exit_code == 1
    assert "generating on llamacpp" in result.err
    assert "mlxr stop owned-model" in result.err
    assert inside.exists()
    stub.status["workers"] = [worker("another"), worker(None, state="standby")]
    assert mlxr("models", "rm", "owned-model", "--yes").exit_code == 0
    assert not inside.exists()


def test_removing_an_unknown_model_suggests_near_names(mlxr: Mlxr, inside: Path) -> None:
    del inside
    mlxr("models", "scan")
    assert "Did you mean owned-model?" in mlxr("models", "rm", "owned-modell", "--yes").err
