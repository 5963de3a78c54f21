"""Reranking by a chat model over the fake engine: order, shapes, refusals. Rerankers: e2e, test_embeddings."""

import asyncio
from typing import Any

import httpx
import pytest

from backends.fake.engine import FakeOptions
from router.protocols.decisions.questions import MAX_QUESTIONS
from router.protocols.rerank.schemas import MAX_DOCUMENTS
from tests.support.fake_openai import FakeFront, with_front
from tests.support.waiting import until

DOCUMENTS: list[Any] = ["one", {"text": "two"}, "three", "four"]


async def rank(front: FakeFront, path: str = "/v1/rerank", **body: Any) -> httpx.Response:
    return await front.client.post(path, json={"model": "m", "query": "which?", "documents": DOCUMENTS, **body})


@with_front()
async def test_documents_come_in_the_order_of_their_scores(front: FakeFront) -> None:
    body = (await rank(front)).json()
    found = [(each["relevance_score"], each["index"]) for each in body["results"]]
    assert found == sorted(found, key=lambda each: (-each[0], each[1]))
    assert sorted(index for _, index in found) == [0, 1, 2, 3]
    assert all(0 <= score <= 1 for score, _ in found)
    assert all("document" not in each for each in body["results"])
    assert (body["object"], body["model"], body["mlxr"]["method"]) == ("list", "m", "decision")
    assert body["mlxr"]["calibrated"] is False
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + len(DOCUMENTS)
    for path in ("/rerank", "/v2/rerank"):
        again = (await rank(front, path, top_n=2, return_documents=True)).json()["results"]
        assert [each["index"] for each in again] == [index for _, index in found[:2]]
        assert [each["document"]["text"] for each in again] == [
            ("one", "two", "three", "four")[index] for _, index in found[:2]
        ]
    assert len((await rank(front, top_n=9)).json()["results"]) == len(DOCUMENTS)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"query": ""}, "query"),
        ({"documents": []}, "documents"),
        ({"documents": [3]}, "documents[0]"),
        ({"documents": [{"title": "x"}]}, "documents[0].text"),
        ({"documents": ["x"] * (MAX_QUESTIONS + 1)}, "documents"),
        ({"documents": ["x"] * (MAX_DOCUMENTS + 1)}, "documents"),
        ({"documents": ["x" * 9000]}, "documents"),
        ({"top_n": 0}, "top_n"),
        ({"rank_fields": ["title"]}, "rank_fields"),
        ({"max_tokens_per_doc": 5}, "max_tokens_per_doc"),
        ({"max_chunks_per_doc": 5}, "max_chunks_per_doc"),
        ({"model": "auto:small"}, "model"),
    ],
)
@with_front()
async def test_what_cannot_be_done_is_refused_by_its_name(front: FakeFront, body: dict[str, Any], param: str) -> None:
    refused = await rank(front, **body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, param), refused.text


@with_front(llamacpp=FakeOptions(prefill_s_per_token=0.05))
async def test_a_client_that_leaves_takes_its_documents_along(front: FakeFront) -> None:
    asking = asyncio.create_task(rank(front))
    await until(lambda: bool(front.running), "the request runs")
    asking.cancel()
    await until(lambda: not front.running, "the request was given up")
