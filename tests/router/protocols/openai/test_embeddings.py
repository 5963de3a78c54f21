import asyncio
import base64
import struct
from typing import Any

import httpx
import msgspec
import pytest

from backends.fake.engine import VECTOR_WIDTH
from registry.facts import ModelKind
from router.protocols.openai.embeddings import MAX_INPUTS
from tests.registry.catalogue_builder import make_draft, make_facts
from tests.support.fake_openai import FakeFront, with_front

REFUSED: list[tuple[Any, str, str]] = [
    ({"input": ""}, "input", "invalid_request"),
    ({"input": []}, "input", "invalid_request"),
    ({"input": ["a", ""]}, "input[1]", "invalid_request"),
    ({"input": [[]]}, "input[0]", "invalid_request"),
    ({"input": None}, "input", "invalid_request"),
    ({"input": 5}, "input", "invalid_request"),
    ({"input": {"text": "a"}}, "input", "invalid_request"),
    ({"input": ["a", 5]}, "input", "invalid_request"),
    ({"input": [5, [6]]}, "input", "invalid_request"),
    ({"input": [True]}, "input[0]", "invalid_request"),
    ({"input": [-1]}, "input[0]", "invalid_request"),
    ({"input": [1.5]}, "input[0]", "invalid_request"),
    ({"input": [[2**31]]}, "input[0][0]", "invalid_request"),
    ({"input": [10**8]}, "input", "invalid_request"),
    ({"input": [[1], [258]]}, "input[1]", "invalid_request"),
    ({"input": ["a"] * (MAX_INPUTS + 1)}, "input", "invalid_request"),
    ({"input": "a" * 9000}, "input", "context_length_exceeded"),
    ({"input": ["a", "a" * 4_000_000]}, "input[1]", "context_length_exceeded"),
    ({"input": [1] * 9000}, "input", "context_length_exceeded"),
    ({"dimensions": 4}, "dimensions", "unsupported_parameter"),
    ({"dimensions": 0}, "dimensions", "invalid_request"),
    ({"encoding_format": "int8"}, "encoding_format", "invalid_request"),
    ({"pooling": "max"}, "pooling", "invalid_request"),
    ({"model": ""}, "model", "invalid_request"),
]


async def embed(front: FakeFront, **body: Any) -> httpx.Response:
    return await front.client.post("/v1/embeddings", json={"model": "m", "input": "hello"} | body)


async def vectors(front: FakeFront, **body: Any) -> list[list[float]]:
    response = await embed(front, **body)
    assert response.status_code == 200, response.text
    return [item["embedding"] for item in response.json()["data"]]


@with_front()
async def test_the_answer_has_openais_shape(front: FakeFront) -> None:
    body = (await embed(front, model="m@llamacpp", input=["ab", "cde"], user="u", encoding_format="float")).json()
    assert {name: body[name] for name in ("object", "model", "usage", "pooling")} == {
        "object": "list",
        "model": "m@llamacpp",
        "usage": {"prompt_tokens": 5, "total_tokens": 5},
        "pooling": "mean",
    }
    assert [(item["object"], item["index"], len(item["embedding"])) for item in body["data"]] == [
        ("embedding", 0, VECTOR_WIDTH),
        ("embedding", 1, VECTOR_WIDTH),
    ]
    for item in body["data"]:
        assert sum(number**2 for number in item["embedding"]) == pytest.approx(1, abs=1e-6)


@with_front()
async def test_all_forms_of_input_give_the_same_vectors(front: FakeFront) -> None:
    (one,) = await vectors(front, input="ab")
    assert await vectors(front, input=["ab"]) == [one]
    assert await vectors(front, input=[97, 98]) == [one]
    assert await vectors(front, input=[[97, 98], [97, 98]]) == [one, one]
    assert await vectors(front, input="ba") != [one]
    assert await vectors(front, input="ab", pooling="last") != [one]


@with_front()
async def test_base64_carries_the_same_floats(front: FakeFront) -> None:
    (floats,) = await vectors(front)
    (text,) = await vectors(front, encoding_format="base64")
    assert list(struct.unpack(f"<{VECTOR_WIDTH}f", base64.b64decode(text))) == floats  # type: ignore[arg-type]


@with_front()
async def test_control_tokens_in_a_text_are_text(front: FakeFront) -> None:
    assert (await embed(front, input="<|im_end|>")).json()["usage"]["prompt_tokens"] == len("<|im_end|>")


@with_front()
async def test_as_many_inputs_as_openai_takes(front: FakeFront) -> None:
    found = await vectors(front, input=["a", "b"] * (MAX_INPUTS // 2))
    assert len(found) == MAX_INPUTS
    assert found[0] == found[2] != found[1] == found[-1]


@with_front()
async def test_what_is_wrong_is_refused_by_name(front: FakeFront) -> None:
    await embed(front)
    for body, param, code in REFUSED:
        response = await embed(front, **body)
        error = response.json()["error"]
        assert (response.status_code, error["param"], error["code"]) == (400, param, code), error
        assert param.partition("[")[0] in error["message"]
    assert front.fleet.num_launches["llamacpp"] == 1


@with_front()
async def test_lone_surrogates_are_refused_and_nul_is_text(front: FakeFront) -> None:
    bad = await front.client.post("/v1/embeddings", content=b'{"model": "m", "input": "\\udc00"}')
    assert (bad.status_code, bad.json()["error"]["code"]) == (400, "invalid_json")
    assert (await embed(front, input="a\0b")).json()["usage"]["prompt_tokens"] == 3


@with_front()
async def test_an_embedding_model_embeds_and_does_not_chat(front: FakeFront) -> None:
    registry = front.models._registry
    facts = msgspec.structs.replace(make_facts(parameter_count=9), kind=ModelKind.EMBEDDING)
    registry.artifacts.add(make_draft("/bert.gguf", name="bert", facts=facts))
    assert len(await vectors(front, model="bert")) == 1
    for response in (await front.chat(model="bert"), await front.complete(model="bert")):
        error = response.json()["error"]
        assert (response.status_code, error["param"]) == (400, "model")
        assert "POST /v1/embeddings" in error["message"]
    tokens = await front.client.post("/tokenize", json={"model": "bert", "content": "a"})
    assert tokens.json() == {"tokens": [97]}


@with_front()
async def test_a_client_that_leaves_frees_the_worker(front: FakeFront) -> None:
    front.fleet.hold("embed")
    leaver = asyncio.create_task(embed(front, input="a" * 4000))
    await is_running(front)
    leaver.cancel()
    holder = front.fleet.holder
    assert holder is not None
    await front.fleet.until(lambda: holder.use.num_running == 0, "its place is free")
    front.fleet.let_go("embed")
    assert len(await vectors(front, input="abc")) == 1


@with_front()
async def test_streams_go_on_beside_a_long_request(front: FakeFront) -> None:
    front.fleet.hold("embed")
    long = asyncio.create_task(embed(front, input=["a" * 1000] * 3))
    await is_running(front)
    answer = await front.complete(max_tokens=20)
    assert answer.json()["usage"]["completion_tokens"] == 20
    assert not long.done()
    front.fleet.let_go("embed")
    assert (await long).json()["usage"]["prompt_tokens"] == 3000


@with_front()
async def test_a_request_survives_the_death_of_its_worker_once(front: FakeFront) -> None:
    front.fleet.hold("embed")
    request = asyncio.create_task(embed(front, input="a" * 2000))
    await is_running(front)
    front.fleet.holder.client.kill()  # type: ignore[union-attr]
    front.fleet.let_go("embed")
    assert (await request).status_code == 200


async def is_running(front: FakeFront) -> None:
    fleet = front.fleet
    await fleet.until(lambda: fleet.holder is not None and fleet.holder.use.num_running == 1, "it runs")
