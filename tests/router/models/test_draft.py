"""From the setting to what a worker is told of the model that drafts."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from backends.wire.load import LoadSpec
from backends.wire.request import SpeculationMode
from registry.engines import EngineSetting
from registry.facts import ArtifactFormat
from registry.removing.removal import remove_model
from registry.store import Registry
from router.config import Config, CurrentConfig
from router.models.directory import ModelDirectory
from router.models.draft import DraftSource, draft_source, draft_spec
from router.models.load_spec import load_spec_for
from router.models.model_request import ModelRequest
from tests.registry.catalogue_builder import make_draft, make_facts
from tests.support.tiny_model import write_gguf

SOURCE = DraftSource(name="small", artifact_id=2, path="/s.gguf", version="1", context_length=1000)
AUTO = LoadSpec(model_path="/m", context_length=4096, max_sequences=3, speculation=SpeculationMode.AUTO)


@pytest.fixture
def registry(tmp_path: Path, tiny_gguf: Path) -> Iterator[Registry]:
    """`big` and `small` with real headers, as far as their vocabularies are read."""
    small = write_gguf(tmp_path / "small.gguf", seed=1)
    with Registry(tmp_path / "registry.sqlite3") as registry:
        registry.artifacts.add(make_draft(str(tiny_gguf), name="big", facts=make_facts(context_length=4096)))
        small_facts = make_facts(context_length=512, parameter_count=5)
        registry.artifacts.add(make_draft(str(small), name="small", facts=small_facts))
        registry.artifacts.add(make_draft("/m/mlx", name="big2", facts=make_facts(ArtifactFormat.MLX)))
        registry.models.link("big2", "big")
        registry.models.change_settings("big", {"draft": "small"})
        yield registry


def directory_of(registry: Registry) -> ModelDirectory:
    return ModelDirectory(registry, current=CurrentConfig(Config()), is_apple_silicon=False)


def test_the_target_names_the_file_and_the_load_is_told_of_it(registry: Registry, tmp_path: Path) -> None:
    directory = directory_of(registry)
    target = directory.resolve(ModelRequest("big", EngineSetting.LLAMACPP)).target
    draft = load_spec_for(target, Config(), num_cores=2).draft
    assert draft is not None
    assert (draft.name, draft.model_path, draft.context_length) == ("small", str(tmp_path / "small.gguf"), 512)
    assert draft.why_not is None
    artifact = directory.draft_artifact_of(target)
    assert artifact is not None
    assert artifact.model_name == "small"
    spec = load_spec_for(target, Config(), num_cores=2, why_no_draft="no room")
    assert spec.draft is not None
    assert spec.draft.why_not == "no room"


def test_mlx_has_none(registry: Registry) -> None:
    target = directory_of(registry).resolve(ModelRequest("big", EngineSetting.MLX)).target
    assert target.draft is None
    assert load_spec_for(target, Config(), num_cores=2).draft is None


def test_another_file_of_it_is_another_target_and_none_is_told(registry: Registry) -> None:
    directory = directory_of(registry)
    request = ModelRequest("big", EngineSetting.LLAMACPP)
    before = directory.resolve(request).target
    (small,) = registry.models.get("small").artifacts
    facts = make_facts(context_length=512, parameter_count=6)
    registry.artifacts.add(make_draft(small.path, name="small", facts=facts, mtime_ns=9))
    directory.forget()
    after = directory.resolve(request).target
    assert before.draft is not None
    assert after.draft is not None
    assert before.draft.version != after.draft.version
    remove_model(registry, "small")
    directory.forget()
    gone = directory.resolve(request).target
    assert gone.draft == DraftSource(name="small", why_not="there is no model 'small'")
    assert directory.draft_artifact_of(gone) is None


def test_its_context_is_as_long_as_the_models_as_far_as_it_was_made_for() -> None:
    spec = draft_spec(SOURCE, AUTO)
    assert (spec.context_length, spec.kv_cells) == (1000, 3000)
    longer = draft_spec(msgspec.structs.replace(SOURCE, context_length=100_000), AUTO)
    assert (longer.context_length, longer.kv_cells) == (4096, 4096)
    many = draft_spec(SOURCE, msgspec.structs.replace(AUTO, max_sequences=8, kv_cells=10_000))
    assert many.kv_cells == 8000


@pytest.mark.parametrize(
    ("mode", "why_not"),
    [("auto", None), ("draft", None), ("lookup", "speculation is lookup"), ("off", "speculation is off")],
)
def test_it_is_loaded_where_it_may_draft(mode: str, why_not: str | None) -> None:
    spec = msgspec.structs.replace(AUTO, speculation=SpeculationMode(mode))
    assert draft_spec(SOURCE, spec).why_not == why_not
    assert draft_spec(SOURCE, AUTO, "no memory").why_not == "no memory"


def test_one_that_is_gone_is_told() -> None:
    assert draft_source("small", None).why_not == "there is no model 'small'"


def test_one_that_has_become_the_model_itself_is_not_loaded(registry: Registry) -> None:
    big = registry.models.get("big")
    assert draft_source("small", big, "big").why_not == "'small' is 'big' itself"
