"""The lists and the description of models, in the shapes that Ollama's clients read."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from registry.catalogue import Artifact, Model
from registry.facts import ChatTemplateFacts, ModelKind
from registry.scan import register_path
from registry.settings import ModelSettings, PresetMessage
from registry.store import Registry
from router.protocols.abilities import capabilities_of
from router.protocols.ollama.models.details import details_of, digest_of, gguf_keys, human_number
from router.protocols.ollama.models.listing import file_info, shown
from router.protocols.ollama.models.modelfile import modelfile_of, parameters_of
from tests.registry.catalogue_builder import make_facts
from tests.support import tiny_model
from tests.support.fake_openai import FakeFront, with_front

DETAIL_KEYS = {"parent_model", "format", "family", "families", "parameter_size", "quantization_level"}
LENGTHS = {"context_length", "embedding_length"}
LISTED_KEYS = {"name", "model", "modified_at", "size", "digest", "details", "capabilities"}
LOADED_KEYS = {"name", "model", "size", "digest", "details", "expires_at", "size_vram", "context_length", "engine"}
SETTINGS = ModelSettings(
    temperature=0.5,
    max_tokens=9,
    context_length=64,
    stop=("a", 'b"'),
    system="Be kind.",
    messages=(PresetMessage(role="user", content="Hi"),),
    license="Free.",
)


def register(folder: Path, *paths: Path, **settings: Any) -> Model:
    with Registry(folder / "registry.sqlite3") as registry:
        for path in paths:
            register_path(registry, path, name="tiny")
        return registry.models.change_settings("tiny", settings) if settings else registry.models.get("tiny")


@with_front()
async def test_all_models_are_listed_and_those_that_are_loaded(front: FakeFront) -> None:
    listed = (await front.client.get("/api/tags")).json()["models"]
    assert [model["name"] for model in listed] == ["m:latest", "nick:latest", "only-gguf:latest"]
    for model in listed:
        assert model.keys() == LISTED_KEYS
        assert model["details"].keys() == DETAIL_KEYS | LENGTHS
        assert re.fullmatch(r"[0-9a-f]{64}", model["digest"])
        assert model["model"] == model["name"]
    assert (await front.client.get("/api/ps")).json() == {"models": []}
    await front.client.post("/api/generate", json={"model": "m", "keep_alive": "5m"})
    (loaded,) = (await front.client.get("/api/ps")).json()["models"]
    assert loaded.keys() == LOADED_KEYS
    assert (loaded["name"], loaded["engine"]) == ("m:latest", "llamacpp")
    assert loaded["digest"] == listed[0]["digest"]
    info = (await front.client.get("/v1/models/m")).json()
    assert loaded["context_length"] == loaded["details"]["context_length"] == info["context_length"]
    again = (await front.client.get("/api/tags")).json()["models"][0]
    assert again["details"]["context_length"] == loaded["context_length"]
    assert loaded["size"] > 0


@with_front()
async def test_forever_is_what_ollama_has_for_it(front: FakeFront) -> None:
    await front.client.post("/api/generate", json={"model": "m", "keep_alive": -1})
    (loaded,) = (await front.client.get("/api/ps")).json()["models"]
    assert loaded["expires_at"] > "2300"
    await front.client.post("/api/generate", json={"model": "m", "keep_alive": "5m"})
    (loaded,) = (await front.client.get("/api/ps")).json()["models"]
    assert loaded["expires_at"] < "2300"


def artifact(model: Model, engine: Any) -> Artifact:
    found = model.artifact_for(engine)
    assert found is not None
    return found


def test_the_makers_recommendation_is_among_the_parameters_and_not_in_the_modelfile(
    tmp_path: Path, tiny_gguf: Path
) -> None:
    model = register(tmp_path, tiny_gguf, temperature=0.5, stop=["a"])
    found = artifact(model, "llamacpp")
    response = shown(model, found, file_info(found), {"top_k": 20, "repetition_penalty": 1.1})
    lines = [line.split() for line in response.parameters.splitlines()]
    assert lines == [["temperature", "0.5"], ["top_k", "20"], ["repeat_penalty", "1.1"], ["stop", '"a"']]
    assert "top_k" not in response.modelfile


def test_a_gguf_file_is_shown_with_its_own_keys(tmp_path: Path, tiny_gguf: Path) -> None:
    model = register(tmp_path, tiny_gguf)
    found = artifact(model, "llamacpp")
    response = msgspec.to_builtins(shown(model, found, file_info(found)))
    assert response["template"] == tiny_model.CHAT_TEMPLATE
    assert response["details"]["format"] == "gguf"
    info = response["model_info"]
    assert info["general.architecture"] == "llama"
    assert info["llama.context_length"] == found.facts.context_length
    in_force = msgspec.to_builtins(shown(model, found, file_info(found), context_length=128))
    assert (in_force["model_info"]["llama.context_length"], in_force["details"]["context_length"]) == (128, 128)
    assert in_force["model_info"]["mlxr.trained_context_length"] == found.facts.context_length
    assert "tokenizer.chat_template" not in info
    assert "general.name" not in info
    assert "completion" in response["capabilities"]


def test_an_mlx_folder_is_shown_under_the_same_keys(tmp_path: Path, tiny_gguf: Path, tiny_mlx: Path) -> None:
    model = register(tmp_path, tiny_gguf, tiny_mlx)
    mlx, gguf = artifact(model, "mlx"), artifact(model, "llamacpp")
    response = msgspec.to_builtins(shown(model, mlx, file_info(mlx)))
    assert response["template"] == tiny_model.CHAT_TEMPLATE
    assert response["details"]["format"] == "safetensors"
    ours, theirs = response["model_info"], file_info(gguf).keys
    for key in ("context_length", "embedding_length", "block_count", "vocab_size"):
        assert ours[f"llama.{key}"] == theirs[f"llama.{key}"]
    assert ours["general.parameter_count"] == theirs["general.parameter_count"]


def test_settings_are_shown_as_ollama_has_them(tmp_path: Path, tiny_gguf: Path) -> None:
    changes = msgspec.to_builtins(SETTINGS)
    model = register(tmp_path, tiny_gguf, **changes)
    found = artifact(model, "llamacpp")
    response = msgspec.to_builtins(shown(model, found, file_info(found)))
    assert response["system"] == "Be kind."
    assert response["license"] == "Free."
    assert response["messages"] == [{"role": "user", "content": "Hi"}]
    assert response["parameters"].splitlines() == [f"{name:<30} {value}" for name, value in parameters_of(SETTINGS)]
    assert modelfile_of(model, found).splitlines()[4:] == [
        f"FROM {tiny_gguf}",
        'SYSTEM "Be kind."',
        "PARAMETER temperature 0.5",
        "PARAMETER num_predict 9",
        "PARAMETER num_ctx 64",
        'PARAMETER stop "a"',
        'PARAMETER stop "b\\""',
        'MESSAGE user "Hi"',
        'LICENSE "Free."',
    ]


def test_capabilities_come_from_the_files(tmp_path: Path, tiny_gguf: Path) -> None:
    model = register(tmp_path, tiny_gguf)
    thinking = ChatTemplateFacts.from_text("<think>")
    bare = make_facts()
    assert capabilities_of(model, bare) == ["completion"]
    assert capabilities_of(model, bare, can_infill=True) == ["completion", "insert"]
    with_template = msgspec.structs.replace(bare, chat_template=thinking)
    assert capabilities_of(model, with_template) == ["completion", "tools", "thinking"]
    encoder = msgspec.structs.replace(bare, kind=ModelKind.EMBEDDING)
    assert capabilities_of(model, encoder) == ["embedding"]


def test_a_digest_is_the_files_or_until_then_their_states(tmp_path: Path, tiny_gguf: Path) -> None:
    model = register(tmp_path, tiny_gguf)
    found = artifact(model, "llamacpp")
    unknown = msgspec.structs.replace(found, sha256=None)
    assert digest_of(model, msgspec.structs.replace(found, sha256="ab" * 32)) == "ab" * 32
    assert digest_of(model, unknown) == digest_of(model, unknown)
    assert digest_of(model, unknown) != digest_of(model, msgspec.structs.replace(unknown, mtime_ns=5))


def test_the_same_files_with_other_settings_are_another_model(tmp_path: Path, tiny_gguf: Path) -> None:
    plain = register(tmp_path, tiny_gguf)
    found = artifact(plain, "llamacpp")
    changed = [register(tmp_path, tiny_gguf, temperature=value) for value in (0.5, 0.6)]
    digests = {digest_of(model, found) for model in (plain, *changed)}
    assert len(digests) == 3
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in digests)


@pytest.mark.parametrize(
    ("number", "text"),
    [(134_515_008, "134.52M"), (8_030_261_248, "8.0B"), (8_000_000_000, "8B"), (107_000, "107K"), (12, "12")],
)
def test_numbers_of_parameters(number: int, text: str) -> None:
    assert human_number(number) == text


def test_details_of_a_file() -> None:
    details = msgspec.to_builtins(details_of(make_facts()))
    assert details.keys() == DETAIL_KEYS | LENGTHS
    assert (details["family"], details["families"]) == ("llama", ["llama"])


def test_unknown_facts_have_no_keys() -> None:
    keys = gguf_keys(msgspec.structs.replace(make_facts(), context_length=None, kv=None))
    assert "llama.context_length" not in keys
    assert None not in keys.values()
