"""The names that Ollama's clients have for the registry's models."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.engines import EngineSetting
from registry.errors import InvalidModelNameError
from registry.store import Registry
from router.models.directory import ModelDirectory
from router.protocols.ollama.names import OllamaModelNotFoundError, display_name, model_named, wish_for
from tests.registry.catalogue_builder import make_draft, make_facts


@pytest.fixture
def models(tmp_path: Path) -> Iterator[ModelDirectory]:
    with Registry(tmp_path / "registry.sqlite3") as registry:
        names = ("plain", "tagged:135m", "newest:latest", "org/repo", "org/pulled:q4_k_m")
        for number, name in enumerate(names):
            registry.artifacts.add(
                make_draft(f"/{number}.gguf", name=name, facts=make_facts(parameter_count=number + 1))
            )
        yield ModelDirectory(registry, engine_setting=EngineSetting.AUTO, is_apple_silicon=False)


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("plain", "plain"),
        ("plain:latest", "plain"),
        ("PLAIN:Latest", "plain"),
        ("tagged:135m", "tagged:135m"),
        ("newest", "newest:latest"),
        ("newest:latest", "newest:latest"),
        ("library/plain", "plain"),
        ("registry.ollama.ai/library/tagged:135m", "tagged:135m"),
        ("hf.co/org/repo", "org/repo"),
        ("hf.co/Org/Pulled:Q4_K_M", "org/pulled:q4_k_m"),
        ("huggingface.co/org/pulled:q4_k_m", "org/pulled:q4_k_m"),
    ],
)
def test_a_name_finds_its_model(models: ModelDirectory, reference: str, name: str) -> None:
    assert model_named(models, reference).name == name


def test_an_engine_may_follow(models: ModelDirectory) -> None:
    wish = wish_for(models, "plain:latest@llamacpp", None)
    assert (wish.model, wish.engine) == ("plain", "llamacpp")


@pytest.mark.parametrize(
    "reference", ["nope", "tagged", "plain:7b", "../../etc/passwd", "a b", "hf.co/x/plain", "hf.co/org/repo:q8_0", "\0"]
)
def test_an_unknown_one_is_not_found_in_ollamas_words(models: ModelDirectory, reference: str) -> None:
    with pytest.raises(OllamaModelNotFoundError) as caught:
        wish_for(models, reference, None)
    assert str(caught.value) == f"model '{reference}' not found"


def test_an_unknown_engine_is_said_to_be_one(models: ModelDirectory) -> None:
    with pytest.raises(InvalidModelNameError, match="'gpu' is no engine"):
        wish_for(models, "plain@gpu", None)


def test_names_are_shown_with_a_tag() -> None:
    assert [display_name(name) for name in ("a", "a:b", "o/a")] == ["a:latest", "a:b", "o/a:latest"]
