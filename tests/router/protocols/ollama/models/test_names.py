"""Names of what Ollama's clients pull, make and delete."""

import pytest

from registry.catalogue import Model
from registry.errors import InvalidReferenceError
from router.errors import InvalidRequestError, MissingFieldError
from router.protocols.ollama.models.names import alias_meant, model_of, names_to_make, pull_name_of


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
