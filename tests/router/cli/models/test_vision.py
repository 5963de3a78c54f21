"""What the commands say of models that see."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.registry.scan.test_pairing import gemma
from tests.router.cli.conftest import Mlxr
from tests.support.tiny_vision import VisionModel


@pytest.fixture
def folder(tmp_path: Path, vision_model: Callable[[str], VisionModel]) -> Path:
    """Qwen's tiny model as GGUF, with its projector beside it."""
    model = vision_model("qwen2_vl")
    (tmp_path / "eye").mkdir()
    shutil.copy(model.text_gguf, tmp_path / "eye" / "Eye-F32.gguf")
    shutil.copy(model.projector, tmp_path / "eye" / "mmproj-f32.gguf")
    return tmp_path / "eye"


def test_show_tells_what_a_model_sees_with_and_how_large(mlxr: Mlxr, folder: Path) -> None:
    mlxr("models", "add", str(folder / "Eye-F32.gguf"), "--name", "eye")
    lines = dict(line.split("  ", 1) for line in mlxr("models", "show", "eye").out.splitlines() if "  " in line)
    facts = {name: value.strip() for name, value in lines.items()}
    assert facts["projector"] == str(folder / "mmproj-f32.gguf")
    assert facts["sees"].startswith("pictures (qwen2_vl, tower of ")
    assert "by the longer side" in facts["pictures"]
    (artifact,) = json.loads(mlxr("models", "show", "eye", "--json").out)["artifacts"]
    assert artifact["text_only_reason"] is None
    assert artifact["images"]["high"] <= 1344
    assert [Path(file["path"]).name for file in artifact["files"]] == ["Eye-F32.gguf", "mmproj-f32.gguf"]
    mlxr("models", "set", "eye", "vision=off")
    assert "it is set to vision: off" in mlxr("models", "show", "eye").out


def test_a_model_that_has_a_tower_but_does_not_see_says_why(
    mlxr: Mlxr, tmp_path: Path, vision_model: Callable[[str], VisionModel]
) -> None:
    blind = shutil.copytree(vision_model("llava").folder, tmp_path / "blind")
    (blind / "preprocessor_config.json").unlink()
    (blind / "processor_config.json").unlink()
    mlxr("models", "add", str(blind), "--name", "blind")
    out = mlxr("models", "show", "blind").out
    assert re.search(
        r"^sees +no pictures: its folder has no preprocessor_config.json; pull it anew$", out, re.MULTILINE
    )
    (artifact,) = json.loads(mlxr("models", "show", "blind", "--json").out)["artifacts"]
    assert "no preprocessor_config.json" in artifact["text_only_reason"]
    assert artifact["images"] is None
    refused = mlxr("models", "set", "blind", "vision=on")
    assert refused.exit_code == 1
    assert "vision: blind cannot see (mlx: its folder has no preprocessor_config.json" in refused.err
    assert mlxr("models", "set", "blind", "vision=off").exit_code == 0


def test_lists_and_sums_tell_it(
    mlxr: Mlxr, folder: Path, tiny_gguf: Path, vision_model: Callable[[str], VisionModel]
) -> None:
    mlxr("models", "add", str(folder / "Eye-F32.gguf"), "--name", "eye")
    mlxr("models", "add", str(vision_model("qwen2_vl").folder), "--name", "eye")
    mlxr("models", "add", str(tiny_gguf), "--name", "tiny")
    listed = {model["name"]: model for model in json.loads(mlxr("models", "list", "--json").out)}
    assert [artifact["sees"] for artifact in listed["eye"]["artifacts"]] == [True, True]
    assert [artifact["sees"] for artifact in listed["tiny"]["artifacts"]] == [False]
    head, *rows = mlxr("models", "list").out.splitlines()
    assert "SEES" in head
    assert ["llamacpp, mlx" in row[head.index("SEES") :] for row in rows] == [True, False]
    engines = json.loads(mlxr("models", "fit", "eye", "--ctx", "256", "--json").out)["engines"]
    by_engine = {each["engine"]: each["vision_bytes"] for each in engines}
    assert by_engine["llamacpp"] == (folder / "mmproj-f32.gguf").stat().st_size + 100_000_000
    assert by_engine["mlx"] == 100_000_000
    out = mlxr("models", "fit", "eye", "--ctx", "256").out
    assert "VISION" in out
    assert re.search(r"^on llamacpp it sees +pictures, with mmproj-f32.gguf \(", out, re.MULTILINE)
    assert re.search(r"^on mlx it sees +pictures, with its own tower \(", out, re.MULTILINE)
    mlxr("models", "set", "eye", "vision=off")
    assert "no pictures: it is set to vision: off" in mlxr("models", "fit", "eye", "--ctx", "256").out
    engines = json.loads(mlxr("models", "fit", "eye", "--ctx", "256", "--json").out)["engines"]
    assert {each["vision_bytes"] for each in engines} == {0}


def test_a_projector_of_another_model_is_named_when_the_model_is_added(
    mlxr: Mlxr, tmp_path: Path, tiny_gguf: Path
) -> None:
    shutil.copy(tiny_gguf, tmp_path / "Other.gguf")
    (tmp_path / "mmproj-f32.gguf").write_bytes(gemma(128))
    added = mlxr("models", "add", str(tmp_path / "Other.gguf"), "--name", "other")
    assert added.exit_code == 0
    assert "note: the projector mmproj-f32.gguf is not used: its rows are 128 wide" in added.out


def test_a_conversion_that_cannot_be_is_refused_with_the_way_out(mlxr: Mlxr, folder: Path) -> None:
    mlxr("models", "add", str(folder / "Eye-F32.gguf"), "--name", "eye")
    refused = mlxr("models", "convert", "eye")
    assert refused.exit_code == 1
    assert "architecture qwen2vl, whose models can see" in refused.err
    assert "mlxr models pull ORG/REPO --engine mlx" in refused.err


def test_a_model_is_made_of_a_file_and_its_projector_by_a_modelfile(mlxr: Mlxr, folder: Path) -> None:
    recipe = folder / "Modelfile"
    recipe.write_text("FROM ./Eye-F32.gguf\nFROM ./mmproj-f32.gguf\n")
    made = mlxr("models", "create", "mine", "-f", str(recipe))
    assert "Try: mlxr run mine:latest --image FILE" in made.out, made.err
    recipe.write_text("FROM mine\nFROM ./mmproj-f32.gguf\n")
    refused = mlxr("models", "create", "other", "-f", str(recipe))
    assert "a second FROM is the projector beside a GGUF file" in refused.err
