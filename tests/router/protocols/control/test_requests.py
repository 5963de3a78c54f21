"""Listing and cancelling requests over HTTP, in every phase, with real worker processes of the fake engine behind."""

import asyncio
from typing import Any

import pytest

from tests.support.fake_fleet import make_config
from tests.support.fake_openai import FakeFront, sse_objects, with_front

LIST = "/v1/mlxr/requests"
KEYS = {
    *("id", "protocol", "model", "engine", "state", "priority", "session", "client", "is_client_gone"),
    *("started_at", "age_s", "prompt_tokens", "prompt_tokens_done", "prompt_tokens_cached", "output_tokens", "context"),
    "worker",
}


async def listed(front: FakeFront) -> list[dict[str, Any]]:
    response = await front.client.get(LIST)
    assert response.status_code == 200
    requests: list[dict[str, Any]] = response.json()["requests"]
    return requests


async def one_in(front: FakeFront, state: str) -> dict[str, Any]:
    """Wait until a request is in that state; return it."""
    found: list[dict[str, Any]] = []
    while not found:
        found = [request for request in await listed(front) if request["state"] == state]
    return found[0]


async def cancel(front: FakeFront, request_id: str) -> dict[str, Any]:
    response = await front.client.post(f"{LIST}/{request_id}/cancel")
    assert response.status_code == 200
    cancelled: dict[str, Any] = response.json()["cancelled"]
    return cancelled


GATES: list[str] = ["load", "prefill", "decode"]


@with_front()
async def test_a_request_is_followed_from_the_load_to_its_end(front: FakeFront) -> None:
    assert await listed(front) == []
    for gate in GATES:
        front.fleet.hold(gate)
    body = {"messages": [{"role": "user", "content": "x" * 800}], "n": 2, "max_tokens": 40}
    request = asyncio.create_task(front.chat(**body, prompt_cache_key="talk", service_tier="flex"))
    loading = await one_in(front, "loading")
    assert set(loading) == KEYS
    assert (loading["engine"], loading["prompt_tokens"], loading["output_tokens"]) == (None, None, [])
    assert loading["worker"] is None
    assert (loading["priority"], loading["session"], loading["protocol"]) == ("background", "talk", "openai")
    assert loading["client"].startswith("127.0.0.1:")
    assert not loading["is_client_gone"]
    front.fleet.let_go("load")
    prefill = await one_in(front, "prefill")
    assert (prefill["engine"], prefill["output_tokens"]) == ("llamacpp", [0, 0])
    front.fleet.let_go("prefill")
    decode = await one_in(front, "decode")
    assert decode["prompt_tokens"] == decode["prompt_tokens_done"] > 800
    assert decode["prompt_tokens_cached"] == 0
    assert len(decode["output_tokens"]) == 2
    assert decode["worker"]["pid"] == front.fleet.pid
    assert decode["age_s"] > loading["age_s"]
    front.fleet.let_go("decode")
    assert decode["id"] == loading["id"] == (await request).json()["id"]
    assert await listed(front) == []


GATE_OF = {"queued": "decode", "loading": "load", "prefill": "prefill", "decode": "decode"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("phase", GATE_OF)
@with_front(config=make_config(parallel=1, reattach_s=60))
async def test_cancelling_ends_a_request_in_every_phase_and_tells_its_client(
    front: FakeFront, *, phase: str, stream: bool
) -> None:
    front.fleet.hold(GATE_OF[phase])
    blocker = asyncio.create_task(front.chat(max_tokens=None)) if phase == "queued" else None
    if blocker is not None:
        running = await one_in(front, "decode")
    doomed = asyncio.create_task(front.chat(max_tokens=None, stream=stream))
    found = await one_in(front, phase)
    assert (await cancel(front, found["id"]))["state"] == phase
    response = await doomed
    assert found["id"] not in {request["id"] for request in await listed(front)}
    if blocker is not None:
        await cancel(front, running["id"])
        assert (await blocker).status_code == 499
    assert_told(response, is_in_stream=stream and phase == "decode")
    gone = await front.client.post(f"{LIST}/{found['id']}/cancel")
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "request_not_found")
    holder = front.fleet.holder
    assert holder is not None
    await front.fleet.until(lambda: holder.use.num_running == 0, "its place is free")


def assert_told(response: Any, *, is_in_stream: bool) -> None:
    if is_in_stream:
        *chunks, last = sse_objects(response)
        assert response.status_code == 200
        assert chunks
        assert last["error"]["code"] == "request_cancelled"
        assert "[DONE]" not in response.text
    else:
        assert response.status_code == 499
        assert response.json()["error"]["code"] == "request_cancelled"


@with_front(config=make_config(reattach_s=60))
async def test_a_request_without_a_client_is_listed_as_such_and_can_be_cancelled(front: FakeFront) -> None:
    front.fleet.hold("decode")
    request = asyncio.create_task(front.chat(max_tokens=None))
    found = await one_in(front, "decode")
    request.cancel()
    await front.fleet.until(lambda: not any(each.has_reader for each in front.running), "it is gone")
    assert [each["is_client_gone"] for each in await listed(front)] == [True]
    await cancel(front, found["id"])
    assert await listed(front) == []
    front.fleet.let_go("decode")
    again = await front.chat(max_tokens=2)
    assert again.json()["id"] != found["id"]


@pytest.mark.parametrize("request_id", ["nobody", "a%20b", "x" * 300])
@with_front()
async def test_cancelling_what_there_is_not_is_a_404(front: FakeFront, *, request_id: str) -> None:
    response = await front.client.post(f"{LIST}/{request_id}/cancel")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "request_not_found"


@with_front()
async def test_embeddings_are_listed_and_cancelled_like_any_other(front: FakeFront) -> None:
    front.fleet.hold("load")
    front.fleet.hold("embed")
    body = {"model": "m", "input": ["x" * 200 for _ in range(50)]}
    request = asyncio.create_task(
        front.client.post("/v1/embeddings", json=body, headers={"X-Mlxr-Priority": "background"})
    )
    loading = await one_in(front, "loading")
    assert set(loading) == KEYS
    assert (loading["protocol"], loading["priority"], loading["engine"]) == ("openai", "background", None)
    front.fleet.let_go("load")
    embedding = await one_in(front, "prefill")
    assert (embedding["id"], embedding["engine"]) == (loading["id"], "llamacpp")
    await cancel(front, embedding["id"])
    answer = await request
    assert (answer.status_code, answer.json()["error"]["code"]) == (499, "request_cancelled")
    assert await listed(front) == []
    front.fleet.let_go("embed")
    again = await front.client.post("/v1/embeddings", json={"model": "m", "input": "x"})
    assert again.status_code == 200
    assert again.headers["x-request-id"].startswith("embd-")


@with_front()
async def test_embeddings_that_wait_for_a_load_are_cancelled_at_once(front: FakeFront) -> None:
    front.fleet.hold("load")
    request = asyncio.create_task(front.client.post("/v1/embeddings", json={"model": "m", "input": "x"}))
    await cancel(front, (await one_in(front, "loading"))["id"])
    assert (await request).json()["error"]["code"] == "request_cancelled"
    assert await listed(front) == []


@with_front()
async def test_embeddings_end_at_their_own_time_limit(front: FakeFront) -> None:
    front.fleet.hold("embed")
    body = {"model": "m", "input": ["x" * 200 for _ in range(50)]}
    answer = await front.client.post("/v1/embeddings", json=body, headers={"X-Mlxr-Timeout": "0.1"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert await listed(front) == []
