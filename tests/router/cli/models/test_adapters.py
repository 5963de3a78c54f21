"""`mlxr models adapters` and `mlxr models adapter …`, on real files of the tiny model."""

import json
from pathlib import Path

import pytest

from router.cli.doctor.model_folders import check_model_folders
from router.config.paths import Paths
from tests.router.cli.conftest import Mlxr
from tests.support import tiny_adapter


@pytest.fixture
def gguf_lora(tmp_path: Path) -> Path:
    return tiny_adapter.write_gguf_lora(tmp_path / "fox.gguf")


@pytest.fixture
def known(mlxr: Mlxr, tiny_gguf: Path, tiny_mlx: Path) -> Mlxr:
    for path in (tiny_gguf, tiny_mlx):
        assert mlxr("models", "add", str(path), "--name", "tiny").exit_code == 0
    return mlxr


def test_an_adapter_is_added_listed_shown_and_forgotten(known: Mlxr, gguf_lora: Path, tmp_path: Path) -> None:
    assert "mlxr models adapter add BASE PATH" in known("models", "adapters").out
    added = known("models", "adapter", "add", "tiny", str(gguf_lora), "--scale", "0.5")
    assert added.out == "tiny+fox: runs on llamacpp. Try: mlxr run tiny+fox@llamacpp\n"
    folder = tiny_adapter.write_mlx_lora(tmp_path / "lora")
    known("models", "adapter", "add", "tiny", str(folder), "--name", "fox")
    head, first, second = known("models", "adapters").out.splitlines()
    assert head.split() == ["ADAPTER", "ENGINE", "METHOD", "RANK", "ALPHA", "SCALE", "SIZE", "STATUS", "PATH"]
    assert first.split()[:6] == ["tiny+fox", "llamacpp", "lora", "4", "8.0", "0.5"]
    assert second.split()[:6] == ["tiny+fox", "mlx", "lora", "4", "8.0", "1.0"]
    shown = known("models", "show", "tiny").out
    assert f"adapter         tiny+fox on llamacpp: lora, rank 4, scale 0.5, 18.7 kB, {gguf_lora}" in shown
    gone = known("models", "adapter", "rm", "tiny+fox", "--engine", "mlx")
    assert gone.out == f"tiny+fox is forgotten on mlx; its files stay in {folder}.\n"
    assert (folder / "adapters.safetensors").exists()
    known("models", "adapter", "rm", "tiny+fox", "--files")
    assert not gguf_lora.exists()
    assert known("models", "adapters", "tiny").out.startswith("There are no adapters of tiny.")


def test_json_has_every_fact(known: Mlxr, gguf_lora: Path) -> None:
    added = json.loads(known("models", "adapter", "add", "tiny", str(gguf_lora), "--json").out)
    assert (added["reference"], added["engine"], added["rank"], added["own_scale"]) == ("tiny+fox", "llamacpp", 4, 2.0)
    assert added["problem"] is None
    assert json.loads(known("models", "adapters", "--json").out) == [added]
    assert json.loads(known("models", "show", "tiny", "--json").out)["adapters"] == [added]
    (listed,) = json.loads(known("models", "list", "--json").out)
    assert listed["adapters"] == [{"name": "fox", "engine": "llamacpp"}]
    gguf_lora.unlink()
    (gone,) = json.loads(known("models", "adapters", "--json").out)
    assert gone["problem"] == f"{gguf_lora} is gone"
    assert "is gone" in known("models", "adapters").out


def test_fit_counts_its_weights_on_the_engines_that_have_it(known: Mlxr, gguf_lora: Path) -> None:
    added = json.loads(known("models", "adapter", "add", "tiny", str(gguf_lora), "--json").out)
    base = json.loads(known("models", "fit", "tiny", "--json").out)
    changed = json.loads(known("models", "fit", "tiny+fox", "--json").out)
    assert (changed["model"], [each["engine"] for each in changed["engines"]]) == ("tiny+fox", ["llamacpp"])
    more = changed["engines"][0]["weights_bytes"] - base["engines"][0]["weights_bytes"]
    assert 0.9 * added["size_bytes"] < more <= added["size_bytes"]
    refused = known("models", "fit", "tiny+fox", "--engine", "mlx")
    assert (refused.exit_code, refused.err) == (1, "mlxr: tiny+fox has no usable artifact for mlx.\n")


def test_removing_the_base_says_what_becomes_of_its_adapters(known: Mlxr, gguf_lora: Path) -> None:
    known("models", "adapter", "add", "tiny", str(gguf_lora))
    removed = known("models", "rm", "tiny", "--yes")
    assert f"Its adapter fox is forgotten as well; the files stay in {gguf_lora}" in removed.out
    assert gguf_lora.exists()
    assert known("models", "adapters", "--json").out == "[]\n"


def test_the_doctor_tells_adapters_from_litter(mlxr: Mlxr, paths: Paths, tiny_mlx: Path) -> None:
    """It must never advise to delete somebody's training."""

    def findings() -> list[tuple[str, str, str | None]]:
        return [(check.name, check.found, check.remedy) for check in check_model_folders(paths)]

    paths.ensure_folders()
    mlxr("models", "add", str(tiny_mlx), "--name", "tiny")
    folder = tiny_adapter.write_mlx_lora(paths.models_dir / "fox")
    checkpoint = folder / "0000100_adapters.safetensors"
    checkpoint.write_bytes((folder / "adapters.safetensors").read_bytes())
    unregistered = ("adapter", f"1 adapter of no model, e.g. {folder}", f"mlxr models adapter add BASE {folder}")
    assert findings() == [unregistered]
    assert mlxr("models", "adapter", "add", "tiny", str(folder)).exit_code == 0
    assert findings() == []
    (folder / "adapters.safetensors").unlink()
    (finding,) = findings()
    assert finding[:2] == ("adapter", f"tiny+fox (mlx): {folder / 'adapters.safetensors'} is gone")
    assert "mlxr models adapter rm tiny+fox" in (finding[2] or "")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["adapters", "nobody"], 1, "no model 'nobody'"),
        (["adapter", "rm", "tiny"], 2, "BASE+NAME"),
        (["adapter", "rm", "tiny+fox", "--engine", "auto"], 2, "--engine is mlx or llamacpp"),
        (["adapter", "rm", "tiny+fox"], 1, "It has none"),
        (["adapter", "add", "tiny", "/no/such.gguf"], 1, "/no/such.gguf: there is no such file or folder"),
        (["adapter", "add", "tiny", "/no/such.gguf", "--scale", "much"], 2, "no number"),
        (["adapter", "add", "nobody", "/no/such.gguf"], 1, "no such file"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(known: Mlxr, arguments: list[str], exit_code: int, words: str) -> None:
    result = known("models", *arguments)
    assert (result.exit_code, result.out) == (exit_code, "")
    assert words in result.err
    assert result.err.count("\n") == 1


def test_a_model_is_no_adapter(known: Mlxr, tiny_gguf: Path, tiny_mlx: Path) -> None:
    for path in (tiny_gguf, tiny_mlx):
        refused = known("models", "adapter", "add", "tiny", str(path))
        assert refused.exit_code == 1
        assert str(path) in refused.err
