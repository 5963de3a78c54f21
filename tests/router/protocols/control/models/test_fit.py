"""Which models there is memory for, over HTTP."""

import pytest

from tests.support.fake_openai import FakeFront, with_front

FIT = "/v1/mlxr/models/fit"


@with_front()
async def test_all_models_are_told_apart_by_engine(front: FakeFront) -> None:
    found = (await front.client.get(FIT)).json()
    engines = {each["model"]: [engine["engine"] for engine in each["engines"]] for each in found["models"]}
    assert engines == {"m": ["llamacpp", "mlx"], "only-gguf": ["llamacpp"]}
    assert 0 < found["available_bytes"] <= found["total_bytes"] + found["reclaimable_bytes"]
    for model in found["models"]:
        for engine in model["engines"]:
            assert engine["fits"] is (engine["required_bytes"] <= engine["available_bytes"])


@with_front()
async def test_what_is_wished_for_counts(front: FakeFront) -> None:
    async def needs(**query: str) -> dict[str, int]:
        (model,) = (await front.client.get(FIT, params={"model": "m@llamacpp"} | query)).json()["models"]
        (engine,) = model["engines"]
        return {"context": engine["context_length"], "parallel": engine["parallel"], "kv": engine["kv_bytes"]}

    usual = await needs(context_length="64")
    assert usual["context"] == 64
    assert (await needs(context_length="64", parallel="3"))["parallel"] == 3
    misspelt = await front.client.get(FIT, params={"context": "64"})
    assert misspelt.headers["x-mlxr-ignored"] == "?context"


@pytest.mark.parametrize(
    ("query", "param"),
    [({"context_length": "x"}, "context_length"), ({"parallel": "0"}, "parallel"), ({"kv_type": "q9"}, "kv_type")],
)
@with_front()
async def test_nonsense_is_refused_by_its_name(front: FakeFront, query: dict[str, str], param: str) -> None:
    refused = await front.client.get(FIT, params=query)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)
    assert (await front.client.get(FIT, params={"model": "absent"})).status_code == 404
