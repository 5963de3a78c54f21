"""Models and artifacts in the catalogue, and what the user sets."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.catalogue import SkippedFile
from registry.engines import EngineKind
from registry.errors import (
    ArtifactConflictError,
    InvalidModelNameError,
    InvalidSettingError,
    ModelExistsError,
    ModelNotFoundError,
    RegistryCorruptError,
)
from registry.facts import ArtifactFormat
from registry.settings import ModelSettings
from registry.store import Registry
from tests.registry.catalogue_builder import make_draft, make_facts
from tests.registry.scan_steps import names

MLX = ArtifactFormat.MLX


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "data" / "registry.sqlite3", clock=lambda: 1_000.0) as opened:
        yield opened


# --- models and artifacts -----------------------------------------------------------------------------------------


def test_an_artifact_comes_back_as_it_went_in(store: Registry) -> None:
    draft = make_draft("/m/a.gguf", is_owned=True)
    artifact, change = store.artifacts.add(draft)
    assert change == "added"
    model = store.models.get("m")
    assert model.artifacts == (artifact,)
    assert (artifact.path, artifact.files, artifact.size_bytes) == ("/m/a.gguf", ("/m/a.gguf",), 100)
    assert artifact.facts == draft.facts
    assert (artifact.engine, artifact.status, artifact.is_owned) == ("llamacpp", "ok", True)
    assert (model.engine, model.created_at, model.last_used_at) == (None, 1_000.0, None)
    assert store.artifacts.find("/m/a.gguf") == artifact
    assert store.artifacts.find("/m/b.gguf") is None


def test_adding_the_same_again_changes_nothing(store: Registry) -> None:
    first, _ = store.artifacts.add(make_draft("/m/a.gguf"))
    assert store.artifacts.add(make_draft("/m/a.gguf")) == (first, "unchanged")
    changed, change = store.artifacts.add(make_draft("/m/a.gguf", size_bytes=101))
    assert (change, changed.id, changed.size_bytes) == ("updated", first.id, 101)


def test_an_artifact_that_no_engine_loads_is_listed_with_its_reasons(store: Registry) -> None:
    artifact, _ = store.artifacts.add(make_draft("/m/a.gguf", facts=make_facts(reasons=("one", "two"))))
    assert (artifact.status, artifact.reason) == ("unsupported", "one; two")
    assert store.models.get("m").engines == ()


def test_a_number_that_sqlite_cannot_hold_stays_in_the_facts(store: Registry) -> None:
    huge = (1 << 64) - 1
    artifact, _ = store.artifacts.add(make_draft("/m/a.gguf", facts=make_facts(context_length=huge)))
    assert artifact.facts.context_length == huge


def test_both_formats_of_one_base_become_one_model(store: Registry) -> None:
    store.artifacts.add(make_draft("/m/a.gguf"))
    store.artifacts.add(make_draft("/m/mlx", facts=make_facts(MLX, parameter_count=1_010_000, label="4bit-g32")))
    model = store.models.get("m")
    assert model.engines == ("llamacpp", "mlx")
    artifact = model.artifact_for(EngineKind.MLX)
    assert artifact is not None
    assert artifact.path == "/m/mlx"


def test_a_tied_output_matrix_that_is_stored_twice_does_not_hinder(store: Registry) -> None:
    store.artifacts.add(make_draft("/m/a.gguf"))
    store.artifacts.add(make_draft("/m/mlx", facts=make_facts(MLX, parameter_count=1_000_000 + 64 * 1_000)))
    assert names(store) == ["m"]


@pytest.mark.parametrize("facts", [{"parameter_count": 1_030_000}, {"num_layers": 3}, {"embedding_length": 128}])
def test_another_base_of_the_same_name_stands_alone(store: Registry, facts: dict[str, Any]) -> None:
    store.artifacts.add(make_draft("/m/a.gguf"))
    store.artifacts.add(make_draft("/m/mlx", facts=make_facts(MLX, label="8bit", **facts), organization="org"))
    assert names(store) == ["m", "org/m"]


def test_other_quantizations_get_names_of_their_own(store: Registry) -> None:
    for label in ("Q4_K_M", "Q8_0", "Q8_0", "Q8_0"):
        store.artifacts.add(make_draft(f"/m/{len(names(store))}.gguf", facts=make_facts(label=label)))
    assert names(store) == ["m", "m-2", "m-3", "m-q8_0"]


def test_a_named_model_takes_what_it_is_given(store: Registry) -> None:
    store.artifacts.add(make_draft("/m/a.gguf"), model_name="org/mine")
    assert names(store) == ["org/mine"]
    store.artifacts.add(make_draft("/m/mlx", facts=make_facts(MLX, num_layers=9)), model_name="org/mine")
    assert store.models.get("org/mine").engines == ("llamacpp", "mlx")
    with pytest.raises(ArtifactConflictError, match=r"/m/a\.gguf"):
        store.artifacts.add(make_draft("/m/b.gguf"), model_name="org/mine")
    with pytest.raises(InvalidModelNameError):
        store.artifacts.add(make_draft("/m/b.gguf"), model_name="../x")
    store.artifacts.add(make_draft("/m/a.gguf"), model_name="other")
    assert names(store) == ["org/mine", "other"]


def test_an_unknown_name_brings_names_that_look_like_it(store: Registry) -> None:
    store.artifacts.add(make_draft("/m/a.gguf", name="smollm2-135m-instruct"))
    with pytest.raises(ModelNotFoundError) as caught:
        store.models.get("smollm2-135m-instrct")
    assert caught.value.near == ("smollm2-135m-instruct",)
    with pytest.raises(ModelNotFoundError, match="mlxr models list"):
        store.models.get("zzz")


def test_a_moved_file_keeps_its_model(store: Registry) -> None:
    first, _ = store.artifacts.add(make_draft("/m/a.gguf"))
    store.models.change_settings("m", {"engine": "llamacpp"})
    store.artifacts.mark(first.id, "missing", "gone")
    moved, change = store.artifacts.add(make_draft("/n/b.gguf", name="other"))
    assert (moved.id, moved.path, moved.status, change) == (first.id, "/n/b.gguf", "ok", "updated")
    assert store.models.get("m").engine == "llamacpp"


def test_a_new_revision_keeps_its_model_by_its_origin(store: Registry) -> None:
    first, _ = store.artifacts.add(make_draft("/hf/1/a.gguf", origin="hf:o/r/a.gguf"))
    second, _ = store.artifacts.add(make_draft("/hf/2/a.gguf", origin="hf:o/r/a.gguf", size_bytes=7))
    assert second.id == first.id
    assert second.path == "/hf/2/a.gguf"


def test_a_checksum_is_dropped_when_the_bytes_change(store: Registry) -> None:
    artifact, _ = store.artifacts.add(make_draft("/m/a.gguf"))
    store.artifacts.set_sha256(artifact.id, "f" * 64)
    assert store.artifacts.add(make_draft("/m/a.gguf"))[0].sha256 == "f" * 64
    assert store.artifacts.add(make_draft("/m/a.gguf", mtime_ns=2))[0].sha256 is None


# --- what the user sets -------------------------------------------------------------------------------------------


def test_link_and_unlink_last(store: Registry) -> None:
    store.artifacts.add(make_draft("/m/a.gguf", name="one"))
    store.artifacts.add(make_draft("/m/mlx", name="two", facts=make_facts(MLX, num_layers=7)))
    assert store.models.link("two", "one").engines == ("llamacpp", "mlx")
    assert names(store) == ["one"]
    store.artifacts.add(make_draft("/m/mlx", name="two", facts=make_facts(MLX, num_layers=7), size_bytes=9))
    assert names(store) == ["one"]
    assert store.models.unlink("one", MLX).name == "one-mlx"
    store.artifacts.add(make_draft("/m/mlx", name="one", facts=make_facts(MLX), size_bytes=8))
    assert names(store) == ["one", "one-mlx"]


def test_linking_two_artifacts_of_one_format_is_refused_and_undone(store: Registry) -> None:
    store.artifacts.add(make_draft("/m/a.gguf", name="one"))
    store.artifacts.add(make_draft("/m/mlx", name="one", facts=make_facts(MLX)))
    store.artifacts.add(make_draft("/m/b.gguf", name="two"))
    before = store.models.list()
    with pytest.raises(ArtifactConflictError):
        store.models.link("one", "two")
    assert store.models.list() == before
    with pytest.raises(ModelNotFoundError):
        store.models.unlink("two", MLX)
    assert store.models.unlink("two", ArtifactFormat.GGUF).name == "two"


def test_engine_setting(store: Registry) -> None:
    store.artifacts.add(make_draft("/m/a.gguf"))
    assert store.models.change_settings("m", {"engine": "mlx"}).engine == "mlx"
    assert store.models.change_settings("m", {"engine": "upstream:box"}).engine == "upstream:box"
    assert [model.engine for model in store.models.summaries()] == ["upstream:box"]
    assert store.models.change_settings("m", {"engine": None}).engine is None
    with pytest.raises(InvalidSettingError):
        store.models.change_settings("m", {"engine": "cuda"})
    with pytest.raises(ModelNotFoundError):
        store.models.change_settings("n", {"engine": "mlx"})


def test_settings_are_changed_all_or_none(store: Registry) -> None:
    store.artifacts.add(make_draft("/m/a.gguf"))
    model = store.models.change_settings("m", {"temperature": 0.5, "stop": ["a", "ü"], "engine": "mlx", "seed": 3})
    assert model.settings == ModelSettings(temperature=0.5, stop=("a", "ü"), seed=3)
    assert model.engine == "mlx"
    with pytest.raises(InvalidSettingError, match="top_p"):
        store.models.change_settings("m", {"temperature": 0.7, "top_p": 2})
    assert store.models.get("m").settings == model.settings
    model = store.models.change_settings("m", {"stop": None, "seed": None, "engine": None, "top_k": None})
    assert (model.settings, model.engine) == (ModelSettings(temperature=0.5), None)


def test_a_setting_that_a_newer_version_wrote_is_left_alone(store: Registry) -> None:
    store.artifacts.add(make_draft("/m/a.gguf"))
    with store.write():
        store.rows("INSERT INTO settings SELECT id, 'from_the_future', '1' FROM models")
    assert store.models.get("m").settings == ModelSettings()


def test_a_damaged_setting_is_an_error_of_ours(store: Registry) -> None:
    store.artifacts.add(make_draft("/m/a.gguf"))
    with store.write():
        store.rows("INSERT INTO settings SELECT id, 'top_k', '\"x\"' FROM models")
    with pytest.raises(RegistryCorruptError):
        store.models.get("m")


def test_aliases(store: Registry) -> None:
    store.artifacts.add(make_draft("/m/a.gguf", name="one"))
    store.artifacts.add(make_draft("/m/b.gguf", name="two"))
    store.aliases.set("gpt-4", "one")
    assert store.models.get("gpt-4").name == "one"
    assert store.aliases.set("gpt-4", "two").aliases == ("gpt-4",)
    assert store.models.get("gpt-4").name == "two"
    with pytest.raises(ModelExistsError):
        store.aliases.set("one", "two")
    with pytest.raises(ModelExistsError):
        store.artifacts.add(make_draft("/m/c.gguf"), model_name="gpt-4")
    assert store.artifacts.add(make_draft("/m/c.gguf", name="gpt-4"))[0].model_name == "gpt-4-q4_k_m"
    store.aliases.remove("gpt-4")
    with pytest.raises(ModelNotFoundError):
        store.models.get("gpt-4")
    with pytest.raises(ModelNotFoundError):
        store.aliases.remove("gpt-4")


def test_rename(store: Registry) -> None:
    store.artifacts.add(make_draft("/m/a.gguf", name="one"))
    store.artifacts.add(make_draft("/m/b.gguf", name="two"))
    assert store.models.rename("one", "org/three").name == "org/three"
    with pytest.raises(ModelExistsError):
        store.models.rename("two", "org/three")
    with pytest.raises(InvalidModelNameError):
        store.models.rename("two", "Two")


def test_last_use_is_noted_and_an_unknown_model_ignored(store: Registry) -> None:
    store.artifacts.add(make_draft("/m/a.gguf"))
    store.models.touch_last_used("m")
    store.models.touch_last_used("gone")
    assert store.models.get("m").last_used_at == 1_000.0


@pytest.mark.parametrize(
    "name", ["' OR 1=1 --", 'm"; DROP TABLE models; --', "m\0", "\ud800x".encode("utf-8", "replace").decode()]
)
def test_names_are_values_never_sql(store: Registry, name: str) -> None:
    store.artifacts.add(make_draft("/m/a.gguf"))
    with pytest.raises(ModelNotFoundError):
        store.models.get(name)
    assert names(store) == ["m"]


def test_skipped_files_are_remembered_and_forgotten(store: Registry) -> None:
    bad = SkippedFile(path="/m/x.gguf", size_bytes=1, mtime_ns=2, kind="bad", code="truncated", reason="too short")
    store.files.skip(bad)
    assert store.files.failures() == (bad,)
    assert store.files.known()["/m/x.gguf"].code == "truncated"
    store.artifacts.add(make_draft("/m/x.gguf"))
    assert store.files.failures() == ()
    assert store.files.known()["/m/x.gguf"].status == "ok"
