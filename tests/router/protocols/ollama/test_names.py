"""The names that Ollama's clients have for the registry's models, and for what they pull, make and delete."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.catalogue import Model
from registry.errors import InvalidModelNameError, InvalidReferenceError
from registry.store import Registry
from router.config import Config, CurrentConfig
from router.errors import InvalidRequestError, MissingFieldError
from router.models.directory import ModelDirectory
from router.protocols.ollama.names import (
    OllamaModelNotFoundError,
    alias_meant,
    display_name,
    model_named,
    model_of,
    model_request_for,
    names_to_make,
    pull_name_of,
)
from tests.registry.catalogue_builder import make_draft, make_facts


@pytest.fixture
def models(tmp_path: Path) -> Iterator[ModelDirectory]:
    with Registry(tmp_path / "registry.sqlite3") as registry:
        names = ("plain", "tagged:135m", "newest:latest", "org/repo", "org/pulled:q4_k_m")
        for number, name in enumerate(names):
            registry.artifacts.add(
                make_draft(f"/{number}.gguf", name=name, facts=make_facts(parameter_count=number + 1))
            )
        yield ModelDirectory(registry, current=CurrentConfig(Config()), is_apple_silicon=False)


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
    model_request = model_request_for(models, "plain:latest@llamacpp", None)
    assert (model_request.model, model_request.engine) == ("plain", "llamacpp")


@pytest.mark.parametrize(
    "reference", ["nope", "tagged", "plain:7b", "../../etc/passwd", "a b", "hf.co/x/plain", "hf.co/org/repo:q8_0", "\0"]
)
def test_an_unknown_one_is_not_found_in_ollamas_words(models: ModelDirectory, reference: str) -> None:
    with pytest.raises(OllamaModelNotFoundError) as caught:
        model_request_for(models, reference, None)
    assert str(caught.value) == f"model '{reference}' not found"


def test_an_unknown_engine_is_said_to_be_one(models: ModelDirectory) -> None:
    with pytest.raises(InvalidModelNameError, match="'gpu' is no engine"):
        model_request_for(models, "plain@gpu", None)


def test_names_are_shown_with_a_tag() -> None:
    assert [display_name(name) for name in ("a", "a:b", "o/a")] == ["a:latest", "a:b", "o/a:latest"]


@pytest.mark.parametrize(
    ("text", "reference", "called"),
    [
        ("smollm2:135m", "ollama://smollm2:135m", None),
        ("smollm2", "ollama://smollm2", None),
        ("user/Model:Q8", "ollama://user/Model:Q8", None),
        ("hf.co/Org/Repo-GGUF:Q4_K_M", "hf.co/Org/Repo-GGUF:Q4_K_M", "org/repo-gguf:q4_k_m"),
        ("huggingface.co/Org/Repo", "hf.co/Org/Repo", "org/repo:latest"),
        ("https://huggingface.co/Org/Repo:latest", "hf.co/Org/Repo", "org/repo:latest"),
        ("hf.co/Org/" + "x" * 96, "hf.co/Org/" + "x" * 96, "org/" + "x" * 96 + ":latest"),
        ("hf.co/" + "o" * 90 + "/" + "x" * 90, "hf.co/" + "o" * 90 + "/" + "x" * 90, None),
    ],
)
def test_names_to_pull(text: str, reference: str, called: str | None) -> None:
    assert pull_name_of(text) == (reference, called)


@pytest.mark.parametrize(
    "text",
    ["../x", "/etc/passwd", "file:///etc/passwd", "http://127.0.0.1:22/a", "a/b/c", "hf.co/x", "hf.co/../x", "é"],
)
def test_names_that_mean_nothing(text: str) -> None:
    with pytest.raises(InvalidReferenceError):
        pull_name_of(text)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Mario", ("mario", "mario:latest")),
        ("mario:latest", ("mario", "mario:latest")),
        ("me/mario:v1", ("me/mario:v1",)),
        ("registry.ollama.ai/library/mario", ("mario", "mario:latest")),
    ],
)
def test_names_to_make(text: str, names: tuple[str, ...]) -> None:
    assert names_to_make(text) == names


@pytest.mark.parametrize("text", ["", "../x", "a b", "x:../y", "x@mlx", "x+y", "a/b/c", "x" * 300, "x" * 125])
def test_names_that_cannot_be_made(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        names_to_make(text)


def test_the_old_field_counts_where_the_new_one_is_absent() -> None:
    assert model_of(None, " a ") == "a"
    assert model_of("b", "a") == "b"
    for missing in (None, "", "  "):
        with pytest.raises(MissingFieldError):
            model_of(missing, None)
    with pytest.raises(MissingFieldError, match="'destination' is required") as caught:
        model_of("", field="destination")
    assert caught.value.param == "destination"


def test_another_name_is_told_from_a_models_own() -> None:
    model = Model(name="mario", artifacts=(), engine=None, aliases=("gpt-4", "o/r:q4"), created_at=0, last_used_at=None)
    assert alias_meant(model, "mario") is None
    assert alias_meant(model, "Mario:latest") is None
    assert alias_meant(model, "GPT-4") == "gpt-4"
    assert alias_meant(model, "hf.co/O/R:Q4") == "o/r:q4"
    assert alias_meant(model, "something-derived") is None
