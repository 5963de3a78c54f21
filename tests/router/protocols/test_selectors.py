"""`auto:small` and the like in the place of a model's name, in every protocol: answers name what was chosen."""

import contextlib
import sqlite3
from typing import Any

import pytest

from tests.support.fake_openai import FakeFront, sse_objects, with_front

SAID = [{"role": "user", "content": "hi"}]
EXPLAIN = "/v1/mlxr/engine/explain"
ASKED = [
    ("/v1/chat/completions", {"messages": SAID, "max_tokens": 3}),
    ("/v1/completions", {"prompt": "once", "max_tokens": 3}),
    ("/v1/responses", {"input": "hi", "max_output_tokens": 3}),
    ("/v1/messages", {"messages": SAID, "max_tokens": 3}),
    ("/api/chat", {"messages": SAID, "stream": False, "options": {"num_predict": 3}}),
    ("/api/generate", {"prompt": "once", "stream": False, "options": {"num_predict": 3}}),
    ("/completion", {"prompt": "once", "n_predict": 3}),
]


def tag(front: FakeFront, name: str, *tags: str) -> None:
    front.registry.models.change_settings(name, {"tags": list(tags) or None})
    front.models.forget()


@with_front()
async def test_every_protocol_takes_one_and_names_what_was_chosen(front: FakeFront) -> None:
    tag(front, "only-gguf", "code")
    for path, body in ASKED:
        answer = await front.client.post(path, json={"model": "auto:code"} | body)
        assert (answer.status_code, answer.json()["model"]) == (200, "only-gguf"), path
    stream = await front.chat(model="Auto:code@llamacpp", stream=True)
    assert {chunk["model"] for chunk in sse_objects(stream)[:-1]} == {"only-gguf"}
    assert front.fleet.num_launches == {"mlx": 0, "llamacpp": 1}


@with_front()
async def test_a_loaded_model_that_is_meant_too_is_not_swapped(front: FakeFront) -> None:
    """Of the two small ones `only-gguf` is the smaller."""
    assert (await front.chat(model="auto:small")).json()["model"] == "only-gguf"
    assert (await front.chat(model="m")).json()["model"] == "m"
    for _ in range(3):
        assert (await front.chat(model="auto:small")).json()["model"] == "m"


@with_front()
async def test_one_that_means_nothing_is_a_404_that_says_why_and_how_to_tag(front: FakeFront) -> None:
    answer = await front.chat(model="auto:code")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "nothing_selected")
    assert answer.json()["error"]["message"] == (
        "There is no model for 'auto:code': no model here is named for code; "
        "`mlxr models set NAME tags=code` tags one, `mlxr models list` shows what there is."
    )
    tag(front, "only-gguf", "code")
    assert (await front.chat(model="auto:code@mlx")).status_code == 404
    assert (await front.chat(model="auto:code+fox")).status_code == 400
    assert (await front.chat(model="auto:")).status_code == 400
    plain = await front.chat(model="auto")
    assert (plain.status_code, "auto:small or auto:vision" in plain.text) == (404, True)


@with_front()
async def test_a_name_from_before_selectors_goes_before_them(front: FakeFront) -> None:
    insert = "INSERT INTO aliases (alias, model_id, is_found) SELECT ?, id, 0 FROM models WHERE name = ?"
    with contextlib.closing(sqlite3.connect(front.registry.path)) as older, older:
        older.executemany(insert, [("auto", "m"), ("auto:small", "only-gguf")])  # as mlxr gives none any more
    front.models.forget()
    answer = await front.chat(model="auto")
    assert (answer.status_code, answer.json()["model"]) == (200, "auto")
    assert (await front.chat(model="auto:small")).json()["model"] == "auto:small"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/embeddings", {"model": "auto:small", "input": "a"}),
        ("PATCH", "/v1/mlxr/models/settings", {"model": "auto:small", "set": {"top_k": 1}}),
        ("DELETE", "/v1/models/auto:small", None),
    ],
)
@with_front()
async def test_what_needs_one_certain_model_refuses_a_selector(
    front: FakeFront, method: str, path: str, body: dict[str, Any] | None
) -> None:
    answer = await front.client.request(method, path, json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "model")
    assert "name" in answer.json()["error"]["message"]


@with_front()
async def test_it_is_explained_with_all_models_and_what_speaks_against_them(front: FakeFront) -> None:
    tag(front, "m", "work")
    found = (await front.client.get(EXPLAIN, params={"model": "auto:work"})).json()
    assert (found["model"], found["engine"]) == ("m", "llamacpp")
    assert (found["selection"]["selector"], found["selection"]["why"]) == (
        "auto:work",
        "tagged work: it is the only one",
    )
    first, second = found["selection"]["models"]
    assert first == {
        "model": "m",
        "why_not": None,
        "tags": ["work"],
        "num_parameters": 1_000_000,
        "sees": False,
        "has_tools": False,
        "is_loaded": False,
        "decode_tokens_per_s": None,
        "last_used_at": None,
    }
    assert (second["model"], second["why_not"]) == ("only-gguf", "not tagged work")
    assert (await front.client.get(EXPLAIN, params={"model": "m"})).json()["selection"] is None


@with_front()
async def test_tags_are_in_the_list_of_models(front: FakeFront) -> None:
    tag(front, "m", "code", "work")
    listed = (await front.client.get("/v1/models")).json()["data"]
    assert {each["id"]: each["tags"] for each in listed} == {"m": ["code", "work"], "only-gguf": []}
