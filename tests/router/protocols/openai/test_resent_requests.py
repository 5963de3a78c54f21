"""A request whose client went away, and the same one sent again: it gets the first one's answer, from its start."""

import asyncio
from typing import Any

import httpx
import msgspec
import pytest

from backends.fake.engine import FakeOptions
from router.requests.register import RunningRequest
from tests.support.fake_fleet import make_config
from tests.support.fake_openai import FakeFront, sse_objects, with_front

CHAT = "/v1/chat/completions"
PATIENT = make_config(reattach_s=60)
"""A window that no slow machine can miss."""


def body_of(**fields: Any) -> bytes:
    plain = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 1, "max_tokens": 100}
    return msgspec.json.encode(plain | fields)


async def send(front: FakeFront, content: bytes, **headers: str) -> httpx.Response:
    return await front.client.post(CHAT, content=content, headers=headers)


async def abandon(front: FakeFront, content: bytes, *, is_running: bool = False, **headers: str) -> RunningRequest:
    """Send a request and go away without reading anything, once it runs; return it as it is left."""
    num_before = len(list(front.services.serving.requests))
    request = asyncio.create_task(send(front, content, **headers))
    await front.fleet.until(lambda: len(list(front.services.serving.requests)) > num_before, "it is registered")
    running = front.running[-1]
    await front.fleet.until(lambda: not is_running or bool(running.generation.progress), "it runs")
    request.cancel()
    await front.fleet.until(lambda: not running.has_reader, "its client is gone")
    return running


async def abandon_stream(front: FakeFront, content: bytes, num_chunks: int) -> tuple[str, list[str]]:
    """Read the beginning of a stream and go away; return the request's id and what came."""
    seen: list[str] = []
    async with front.client.stream("POST", CHAT, content=content) as response:
        async for line in response.aiter_lines():
            seen += [line] if line else []
            if len(seen) == num_chunks:
                break
    request_id = response.headers["x-request-id"]
    running = front.services.serving.requests.get(request_id)
    assert isinstance(running, RunningRequest)
    await front.fleet.until(lambda: not running.has_reader, "its client is gone")
    return request_id, seen


async def taken_over(front: FakeFront, running: RunningRequest, content: bytes, gate: str) -> httpx.Response:
    """Send it again, and let the worker go on when that has become its reader."""
    again = asyncio.create_task(send(front, content))
    await front.fleet.until(lambda: running.has_reader, "it is read again")
    front.fleet.let_go(gate)
    return await again


def num_sequences_seen(front: FakeFront) -> int:
    """Return how many sequences the worker was given so far."""
    assert front.fleet.holder is not None
    assert front.fleet.holder.client is not None
    return front.fleet.holder.client._next_id - 1


@with_front(config=PATIENT)
async def test_a_stream_sent_again_comes_from_its_start_and_is_generated_once(front: FakeFront) -> None:
    content = body_of(stream=True)
    front.fleet.hold("token-12")
    request_id, seen = await abandon_stream(front, content, 10)
    front.fleet.let_go("token-12")
    again = await send(front, content)
    assert again.headers["x-request-id"] == request_id
    assert [line for line in again.text.split("\n") if line][:10] == seen
    *chunks, done = sse_objects(again)
    assert done == "[DONE]"
    assert {chunk["id"] for chunk in chunks} == {request_id}
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert num_sequences_seen(front) == 1
    assert list(front.services.serving.requests) == []


@pytest.mark.parametrize("phase", ["queued", "loading", "running", "over"])
@with_front(config=make_config(reattach_s=60, parallel=1))
async def test_a_whole_answer_is_taken_over_in_every_phase(front: FakeFront, *, phase: str) -> None:
    content = body_of()
    if phase != "loading":
        await front.chat(max_tokens=1)
    gate = "load" if phase == "loading" else "decode"
    front.fleet.hold(gate)
    blocker = asyncio.create_task(front.chat(max_tokens=60)) if phase == "queued" else None
    if blocker is not None:
        await front.fleet.until(lambda: any(r.generation.has_output for r in front.running), "it runs")
    running = await abandon(front, content, is_running=phase in {"running", "over"})
    if phase == "over":
        holder = front.fleet.holder
        assert holder is not None
        assert holder.client is not None
        front.fleet.let_go(gate)
        await front.fleet.until(lambda: not holder.client.progress, "it is over")  # type: ignore[union-attr]
        again = await send(front, content)
    else:
        again = await taken_over(front, running, content, gate)
    assert again.status_code == 200
    assert again.json()["id"] == again.headers["x-request-id"] == running.facts.request_id
    assert again.json()["usage"]["completion_tokens"] == 100
    if blocker is not None:
        await blocker
    assert num_sequences_seen(front) == (1 if phase == "loading" else 3 if phase == "queued" else 2)


@with_front(config=PATIENT)
async def test_another_body_key_or_header_never_gets_it(front: FakeFront) -> None:
    front.fleet.hold("decode")
    running = await abandon(front, body_of(), Authorization="Bearer a")
    front.fleet.let_go("decode")
    for content, headers in (
        (body_of(), {}),
        (body_of(), {"Authorization": "Bearer b"}),
        (body_of(), {"Authorization": "Bearer a", "X-Session-Id": "s"}),
        (body_of(seed=1), {"Authorization": "Bearer a"}),
    ):
        other = await send(front, content, **headers)
        assert other.json()["id"] != running.facts.request_id
    assert (await send(front, body_of(), Authorization="Bearer a")).json()["id"] == running.facts.request_id


@with_front(config=PATIENT)
async def test_two_clients_that_are_both_there_get_an_answer_each(front: FakeFront) -> None:
    front.fleet.hold("decode")
    both = [asyncio.create_task(send(front, body_of())) for _ in range(2)]
    await front.fleet.until(lambda: len(front.running) == 2, "both are there")
    front.fleet.let_go("decode")
    first, second = await asyncio.gather(*both)
    assert first.json()["id"] != second.json()["id"]


@with_front(config=PATIENT)
async def test_an_answer_can_be_taken_over_more_than_once(front: FakeFront) -> None:
    content = body_of(stream=True)
    front.fleet.hold("token-12")
    first_id, seen = await abandon_stream(front, content, 5)
    second_id, more = await abandon_stream(front, content, 10)
    front.fleet.let_go("token-12")
    assert first_id == second_id
    assert more[:5] == seen
    assert (await send(front, content)).headers["x-request-id"] == first_id
    assert num_sequences_seen(front) == 1


@pytest.mark.parametrize("stream", [False, True])
@with_front(config=make_config(reattach_s=0.1, parallel=1))
async def test_after_the_window_it_is_cancelled_and_the_same_request_starts_anew(
    front: FakeFront, *, stream: bool
) -> None:
    content = body_of(stream=stream, max_tokens=None)
    front.fleet.hold("decode")
    running = await abandon(front, content)
    await front.fleet.until(lambda: not list(front.services.serving.requests), "it has ended")
    holder = front.fleet.holder
    assert holder is not None
    await front.fleet.until(lambda: holder.use.num_running == 0, "its place is free")
    assert holder.client is None or not holder.client.progress
    front.fleet.let_go("decode")
    again = await send(front, body_of(stream=stream, max_tokens=3))
    assert again.headers["x-request-id"] != running.facts.request_id


@with_front(config=make_config(reattach_s=0))
async def test_without_a_window_it_is_cancelled_at_once(front: FakeFront) -> None:
    front.fleet.hold("decode")
    await abandon(front, body_of())
    assert list(front.services.serving.requests) == []


@with_front(config=PATIENT, llamacpp=FakeOptions(answer_tokens=2))
async def test_an_answer_that_was_read_to_its_end_is_not_given_again(front: FakeFront) -> None:
    first, second = await send(front, body_of()), await send(front, body_of())
    assert first.json()["id"] != second.json()["id"]


@with_front(config=PATIENT)
async def test_a_stream_with_named_events_is_taken_over_with_them(front: FakeFront) -> None:
    content = body_of(stream=True, messages=[{"role": "user", "content": "x" * 2000}], max_tokens=3)
    asked: Any = {"X-Mlxr-Prefill-Progress": "true"}
    front.fleet.hold("prefill")
    running = await abandon(front, content, **asked)
    front.fleet.let_go("prefill")
    again = await send(front, content, **asked)
    assert again.headers["x-request-id"] == running.facts.request_id
    assert again.text.count('"status":"done"') == 1
    assert again.text.endswith("data: [DONE]\n\n")
