"""A draft model on the command line: set, refused, counted, renamed and removed."""

import json
from pathlib import Path

import pytest

from registry.store import Registry
from router.config.paths import Paths
from router.placement.memory import MemoryBudget
from tests.router.cli.conftest import Mlxr
from tests.support import tiny_model
from tests.support.tiny_model import BOS_ID, write_gguf


@pytest.fixture
def pair(mlxr: Mlxr, tiny_gguf: Path, tmp_path: Path) -> Mlxr:
    """`big` and `small` have one vocabulary."""
    assert mlxr("models", "add", str(tiny_gguf), "--name", "big").exit_code == 0
    assert mlxr("models", "add", str(write_gguf(tmp_path / "s.gguf", seed=3)), "--name", "small").exit_code == 0
    return mlxr


def draft_of(mlxr: Mlxr, name: str = "big") -> str | None:
    settings = json.loads(mlxr("models", "show", name, "--json").out)["settings"]
    draft: str | None = settings.get("draft")
    return draft


def test_a_draft_model_is_set_by_any_of_its_names_and_taken_away(pair: Mlxr) -> None:
    assert pair("models", "alias", "small", "tiny").exit_code == 0
    assert pair("models", "set", "big", "draft=tiny").exit_code == 0
    assert draft_of(pair) == "small"
    assert pair("models", "set", "big", "draft=").exit_code == 0
    assert draft_of(pair) is None


def test_one_that_is_not_there_or_is_the_model_itself_is_refused(pair: Mlxr) -> None:
    absent = pair("models", "set", "big", "draft=smal")
    assert (absent.exit_code, "small" in absent.err) == (1, True)
    itself = pair("models", "set", "big", "draft=big")
    assert (itself.exit_code, "cannot draft for itself" in itself.err) == (1, True)


def test_one_with_another_vocabulary_is_refused_by_what_differs(
    pair: Mlxr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = tiny_model.vocabulary()
    tokens[BOS_ID] = "<|begin|>"
    monkeypatch.setattr(tiny_model, "vocabulary", lambda: tokens)
    pair("models", "add", str(write_gguf(tmp_path / "o.gguf", seed=4)), "--name", "other")
    refused = pair("models", "set", "big", "draft=other")
    assert refused.exit_code == 1
    assert "its token 257 is '<|begin|>', the model's is '<|im_start|>'" in refused.err
    assert draft_of(pair) is None


def test_one_without_a_gguf_is_refused(pair: Mlxr, tiny_mlx: Path) -> None:
    pair("models", "add", str(tiny_mlx), "--name", "folder")
    refused = pair("models", "set", "big", "draft=folder")
    assert (refused.exit_code, "folder has no usable GGUF" in refused.err) == (1, True)


def test_its_new_name_is_taken_over(pair: Mlxr, paths: Paths) -> None:
    pair("models", "set", "big", "draft=small")
    with Registry(paths.registry_db) as registry:
        registry.models.rename("small", "tiny")
    assert draft_of(pair) == "tiny"


def test_the_models_that_it_drafts_for_are_named_when_it_is_removed(pair: Mlxr) -> None:
    pair("models", "set", "big", "draft=small")
    removed = pair("models", "rm", "small", "--yes")
    assert removed.exit_code == 0
    assert "It drafts for big: they run without it then" in removed.out


def test_the_memory_that_it_takes_is_counted(pair: Mlxr) -> None:
    def report() -> dict[str, int]:
        (engine,) = json.loads(pair("models", "fit", "big", "--ctx", "256", "--json").out)["engines"]
        found: dict[str, int] = engine
        return found

    alone = report()
    pair("models", "set", "big", "draft=small")
    both = report()
    assert alone["draft_bytes"] == 0 < both["draft_bytes"]
    assert both["required_bytes"] == alone["required_bytes"] + both["draft_bytes"]
    pair("models", "set", "big", "speculation=lookup")
    assert report()["draft_bytes"] == 0, "it would not be loaded"
    assert "DRAFT" in pair("models", "fit", "big").out


def test_where_only_the_model_itself_fits_that_is_said(pair: Mlxr, monkeypatch: pytest.MonkeyPatch) -> None:
    pair("models", "set", "big", "draft=small")
    (engine,) = json.loads(pair("models", "fit", "big", "--ctx", "256", "--json").out)["engines"]
    alone_bytes = engine["required_bytes"] - engine["draft_bytes"]
    for num_bytes, exit_code, fits in ((alone_bytes, 0, "without draft"), (alone_bytes - 1, 1, "no")):
        budget = MemoryBudget(total_bytes=1 << 40, available_bytes=num_bytes)
        monkeypatch.setattr("router.cli.models.fit.read_budget", lambda _, budget=budget: budget)
        told = pair("models", "fit", "big", "--ctx", "256")
        assert (told.exit_code, f"  {fits}  " in told.out) == (exit_code, True)
