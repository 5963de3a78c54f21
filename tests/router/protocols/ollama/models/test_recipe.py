"""What requests to create a model come to."""

from typing import Any

import msgspec
import pytest

from registry.errors import InvalidSettingError
from router.errors import InvalidRequestError
from router.protocols.ollama.models.recipe import Recipe, digest_hex, is_path, recipe_of
from router.protocols.ollama.models.schemas import CreateRequest

HEX = "0" * 64


def recipe(**fields: Any) -> Recipe:
    return recipe_of(msgspec.convert({"model": "m", **fields}, CreateRequest))


def test_parameters_become_settings_whatever_type_they_are_written_in() -> None:
    texts = {
        "temperature": "0.5",
        "num_ctx": "4096",
        "top_k": "40",
        "seed": "7",
        "stop": "###",
        "num_predict": "-1",
        "num_thread": "2",
    }
    numbers = {
        "temperature": 0.5,
        "num_ctx": 4096,
        "top_k": 40,
        "seed": 7,
        "stop": ["###"],
        "num_predict": -2,
        "num_thread": 2,
    }
    expected = {"temperature": 0.5, "context_length": 4096, "top_k": 40, "seed": 7, "stop": ("###",), "threads": 2}
    assert recipe(**{"from": "a"}, parameters=texts).settings == expected
    assert recipe(**{"from": "a"}, parameters=numbers).settings == expected


def test_what_asks_for_nothing_passes() -> None:
    neutral = {"num_gpu": 99, "typical_p": 1.0, "mirostat": "0", "presence_penalty": 0.0, "use_mmap": True, "seed": -1}
    got = recipe(**{"from": "a"}, parameters=neutral, system="", template="", license=[], messages=[], adapters={})
    assert got == Recipe(source="a", settings={})


@pytest.mark.parametrize(
    "parameters",
    [{"num_keep": 4}, {"temperature": "hot"}, {"temperature": "nan"}, {"temperature": True},
     {"num_ctx": 3}, {"stop": 5}, {"stop": [""]}, {"top_p": 2}, {"repeat_penalty": None}, {"mirostat": 2}],
)  # fmt: skip
def test_parameters_that_cannot_be_honoured_are_named(parameters: dict[str, Any]) -> None:
    (name,) = parameters
    with pytest.raises(InvalidRequestError, match=name) as refused:
        recipe(**{"from": "a"}, parameters=parameters)
    assert refused.value.param == f"parameters.{name}"


@pytest.mark.parametrize(
    "template",
    ["{{ .Prompt }}", "{{.Prompt}}", "{{- if .System }}x{{ end }}", "{{ range $i, $_ := .Messages }}{{ end }}",
     '{{ if eq .Role "user" }}{{ end }}', "{{ slice $.Messages 0 }}"],
)  # fmt: skip
def test_go_templates_are_refused_as_such(template: str) -> None:
    with pytest.raises(InvalidRequestError, match="Go template"):
        recipe(**{"from": "a"}, template=template)


@pytest.mark.parametrize(
    "template",
    ["{% for m in messages %}{{ m.content }}{% endfor %}", "{{ messages[0]['content'] | trim }}", "{{ not messages }}",
     '{{ messages }}{{ index }} {{ end }} {{ "a $5" }}', "{{- bos_token -}}{{ messages }}"],
)  # fmt: skip
def test_jinja_is_taken(template: str) -> None:
    assert recipe(**{"from": "a"}, template=template).settings == {"template": template}


def test_jinja_that_shows_no_conversation_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="does not use `messages`"):
        recipe(**{"from": "a"}, template="{{- bos_token -}}")


def test_a_second_upload_is_the_projector() -> None:
    other = "f" * 64
    got = recipe(modelfile=f"FROM @sha256:{HEX}\nFROM @sha256:{other}")
    assert (got.source, dict(got.files)) == (None, {"model.gguf": HEX, "mmproj.gguf": other})
    with pytest.raises(InvalidRequestError, match="a second FROM is the projector"):
        recipe(modelfile=f"FROM base\nFROM @sha256:{HEX}")


def test_old_clients_name_an_upload_in_the_modelfile() -> None:
    got = recipe(modelfile=f"FROM @sha256:{HEX}\nSYSTEM Hi\nLICENSE a\nLICENSE b")
    assert got == Recipe(source=None, files=(("model.gguf", HEX),), settings={"system": "Hi", "license": "a\n\nb"})


@pytest.mark.parametrize("source", ["/x", "./x", "../x", "~/x", "x.gguf", "C:\\x", "a/b.GGUF", "\\x", "~"])
def test_paths_are_known_by_their_looks(source: str) -> None:
    assert is_path(source)
    with pytest.raises(InvalidRequestError, match="not opened"):
        recipe(**{"from": source})


@pytest.mark.parametrize("source", ["a", "a:b", "a/b:c", "hf.co/o/r:Q4", "llama3.2", "gguf"])
def test_names_are_no_paths(source: str) -> None:
    assert recipe(**{"from": source}).source == source


@pytest.mark.parametrize("digest", ["", HEX, f"sha256:{HEX}\n", f"sha256:{'A' * 64}", "sha256:../x", f"sha256-{HEX}"])
def test_digests_are_exactly_digests(digest: str) -> None:
    with pytest.raises(InvalidRequestError, match="digest"):
        digest_hex(digest)


@pytest.mark.parametrize("name", ["../x", "a/b", "/x", ".x", "", "a\\b", "a\0b", " a", "x" * 600])
def test_names_of_files_stay_in_their_folder(name: str) -> None:
    with pytest.raises((InvalidRequestError, msgspec.ValidationError), match=r"files|Expected"):
        recipe(files={name: f"sha256:{HEX}"})


def test_texts_have_the_limits_of_settings() -> None:
    with pytest.raises(InvalidSettingError, match="system"):
        recipe(**{"from": "a"}, system="x" * 70_000)
