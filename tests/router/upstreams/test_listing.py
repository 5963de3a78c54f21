"""Which models an upstream is taken to have, what they are called here, and what it is taken to honour."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.names import check_new_name
from router.config.upstreams import UpstreamConfig, UpstreamField
from router.upstreams.listing import listed, name_of


def config(**keys: Any) -> UpstreamConfig:
    return UpstreamConfig(name="box", url="http://h", **keys)


def ids(*model_ids: str) -> dict[str, Any]:
    return {"object": "list", "data": [{"id": model_id} for model_id in model_ids]}


def names(body: Any, **keys: Any) -> dict[str, str]:
    return {each.name: each.model_id for each in listed(body, config(**keys))}


@pytest.mark.parametrize(
    ("model_id", "name"),
    [
        ("gpt-4o", "gpt-4o"),
        ("Qwen/Qwen3-8B", "qwen/qwen3-8b"),
        ("qwen2.5:7b", "qwen2.5:7b"),
        ("accounts/fire/models/llama-v3", "models/llama-v3"),
        ("@cf/meta/Llama 3.gguf", "meta/llama-3.gguf"),
        ("/data/models/Tiny..Model/", "tiny.model"),
        ("auto", None),
        ("..", None),
    ],
)
def test_ids_become_names(model_id: str, name: str | None) -> None:
    assert name_of(model_id) == name


@given(st.text(max_size=200))
def test_whatever_an_id_is_its_name_is_valid_or_none(model_id: str) -> None:
    name = name_of(model_id)
    assert name is None or check_new_name(name) == name


def test_all_that_is_listed_is_served_or_what_the_patterns_say() -> None:
    body = ids("Large-1", "large-2", "small")
    assert names(body) == {"large-1": "Large-1", "large-2": "large-2", "small": "small"}
    assert names(body, models=("large-*", "*-1", "unlisted", "un*")) == {
        "large-1": "Large-1",
        "large-2": "large-2",
        "unlisted": "unlisted",
    }
    assert names(body, models=("small",), names={"mine": "small", "other": "Large-1"}) == {
        "mine": "small",
        "other": "Large-1",
    }
    assert names(None, models=("a", "b-*")) == {"a": "a"}


@pytest.mark.parametrize(
    "body", [None, {}, [], "x", {"data": None}, {"data": ["x", {"id": 3}, {}]}, {"data": {"a": 1}}]
)
def test_a_list_that_is_none_names_no_model(body: Any) -> None:
    assert names(body) == {}


@pytest.mark.parametrize(
    ("entry", "length"),
    [
        ({"max_model_len": 4096}, 4096),
        ({"context_length": 8192}, 8192),
        ({"meta": {"n_ctx_train": 2048}}, 2048),
        ({"max_model_len": "many"}, 77),
        ({}, 77),
    ],
)
def test_the_context_is_what_it_tells_or_else_what_the_config_says(entry: dict[str, Any], length: int) -> None:
    (found,) = listed({"data": [{"id": "m", **entry}]}, config(context_length=77))
    assert found.context_length == length


def test_who_a_server_says_it_is_tells_what_it_honours() -> None:
    def honoured(owner: str, **keys: Any) -> frozenset[UpstreamField]:
        return listed({"data": [{"id": "m", "owned_by": owner}]}, config(**keys))[0].honours

    assert UpstreamField.TOP_K not in honoured("somebody")
    assert UpstreamField.TOP_K in honoured("vllm") & honoured("llamacpp")
    assert UpstreamField.GRAMMAR in honoured("llamacpp") - honoured("vllm")
    assert UpstreamField.TOP_K in honoured("somebody", honours=(UpstreamField.TOP_K,))
    assert UpstreamField.SEED not in honoured("vllm", lacks=(UpstreamField.SEED,))
    assert honoured("x", protocol="mlxr") == frozenset(UpstreamField)
