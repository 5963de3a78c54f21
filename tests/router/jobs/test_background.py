"""Responses without a client, over HTTP on the fake engine."""

import asyncio
from typing import Any

import msgspec
import pytest

from backends.fake.engine import FakeOptions
from backends.wire.request import Priority
from router.jobs import background
from tests.support.fake_openai import FakeFront, with_front

PATH = "/v1/responses"
POLL_S = 0.02
"""Between two looks, as clients poll."""
SHORT = FakeOptions(answer_tokens=40)
ENDLESS = FakeOptions(decode_s=0.01)


def body_of(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "input": "hi", "temperature": 0, "background": True} | fields


async def begun(front: FakeFront, **fields: Any) -> Any:
    response = await front.client.post(PATH, json=body_of(**fields))
    assert response.status_code == 200, response.text
    return response.json()


async def polled(front: FakeFront, response_id: str) -> Any:
    """Poll until the response has its last state, as a client does."""
    while True:
        body = (await front.client.get(f"{PATH}/{response_id}")).json()
        if body["status"] not in {"queued", "in_progress"}:
            return body
        await asyncio.sleep(POLL_S)


def events_of(text: str) -> list[Any]:
    return [msgspec.json.decode(block.partition("data: ")[2]) for block in text.strip().split("\n\n")]


@with_front(llamacpp=SHORT)
async def test_it_runs_without_its_client_and_is_polled(front: FakeFront) -> None:
    front.fleet.hold("decode")
    body = await begun(front)
    assert (body["status"], body["background"], body["output"]) == ("queued", True, [])
    await front.fleet.until(lambda: bool(front.running), "it is among the running requests")
    assert front.running[0].facts.request_id == body["id"]
    assert front.running[0].generation.request.spec.priority is Priority.BACKGROUND
    front.fleet.let_go("decode")
    done = await polled(front, body["id"])
    assert done["status"] == "completed"
    assert len(done["output"][0]["content"][0]["text"]) == 40


@with_front()
async def test_a_tier_makes_it_interactive(front: FakeFront) -> None:
    front.fleet.hold("decode")
    await begun(front, service_tier="priority")
    assert front.running[0].generation.request.spec.priority is Priority.INTERACTIVE


@with_front()
async def test_what_is_written_so_far_can_be_seen(front: FakeFront) -> None:
    front.fleet.hold("token-5")
    body = await begun(front)
    while True:
        seen = (await front.client.get(f"{PATH}/{body['id']}")).json()
        if seen["output"]:
            break
    assert seen["status"] == "in_progress"
    assert seen["output"][0]["status"] == "incomplete"


@with_front(llamacpp=ENDLESS)
async def test_it_is_cancelled_once_and_stays_so(front: FakeFront) -> None:
    body = await begun(front, max_output_tokens=4000)
    await front.fleet.until(lambda: bool(front.running[0].generation.has_output), "it writes")
    cancelled = (await front.client.post(f"{PATH}/{body['id']}/cancel")).json()
    assert (cancelled["status"], cancelled["error"]) == ("cancelled", None)
    assert cancelled["output"][0]["content"][0]["text"]
    assert front.running == []
    assert (await front.client.post(f"{PATH}/{body['id']}/cancel")).json() == cancelled
    assert (await front.client.get(f"{PATH}/{body['id']}")).json() == cancelled


@with_front(llamacpp=SHORT)
async def test_only_a_background_response_can_be_cancelled(front: FakeFront) -> None:
    body = await begun(front, background=False)
    refused = await front.client.post(f"{PATH}/{body['id']}/cancel")
    assert refused.status_code == 400
    assert "Cannot cancel a synchronous response" in refused.json()["error"]["message"]


@with_front(llamacpp=SHORT)
async def test_its_stream_can_be_left_and_taken_up_behind_any_event(front: FakeFront) -> None:
    seen: list[str] = []
    async with front.client.stream("POST", PATH, json=body_of(stream=True)) as response:
        async for line in response.aiter_lines():
            seen += [line.partition("data: ")[2]] if line.startswith("data: ") else []
            if len(seen) == 8:
                break
    first = [msgspec.json.decode(each) for each in seen]
    assert [event["type"] for event in first[:3]] == ["response.created", "response.queued", "response.in_progress"]
    response_id = first[0]["response"]["id"]
    path = f"{PATH}/{response_id}?stream=true"
    rest = events_of((await front.client.get(f"{path}&starting_after=7")).text)
    everything = events_of((await front.client.get(path)).text)
    assert [event["sequence_number"] for event in everything] == list(range(len(everything)))
    assert [*first, *rest] == everything
    assert everything[-1]["type"] == "response.completed"
    assert (await front.client.get(f"{PATH}/{response_id}")).json() == everything[-1]["response"]
    assert (await front.client.get(f"{path}&starting_after=9999")).text == ""


@with_front(llamacpp=ENDLESS)
async def test_deleting_one_that_runs_ends_it(front: FakeFront) -> None:
    body = await begun(front, max_output_tokens=4000)
    assert (await front.client.delete(f"{PATH}/{body['id']}")).status_code == 200
    assert front.running == []
    assert (await front.client.get(f"{PATH}/{body['id']}")).status_code == 404


@with_front(llamacpp=ENDLESS)
async def test_nothing_goes_on_from_one_that_runs(front: FakeFront) -> None:
    body = await begun(front, max_output_tokens=4000)
    refused = await front.client.post(PATH, json=body_of(previous_response_id=body["id"]))
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "previous_response_id")


@with_front(llamacpp=FakeOptions(load_error="no such luck"))
async def test_one_that_cannot_be_served_has_failed(front: FakeFront) -> None:
    failed = await polled(front, (await begun(front, model="m@llamacpp"))["id"])
    assert failed["status"] == "failed"
    assert "no such luck" in failed["error"]["message"]


@with_front(llamacpp=ENDLESS)
async def test_the_end_of_the_gateway_is_the_end_of_those_that_run(front: FakeFront) -> None:
    body = await begun(front, max_output_tokens=4000)
    await front.fleet.until(lambda: bool(front.running[0].generation.has_output), "it writes")
    await front.end_jobs()
    assert front.running == []
    kept = msgspec.json.decode((await front.services.conversations.get(body["id"])).body)
    assert kept["status"] == "failed"
    assert kept["output"][0]["content"][0]["text"]


@with_front(llamacpp=ENDLESS)
async def test_one_that_is_too_long_is_followed_no_more_and_goes_on(
    front: FakeFront, *, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "MAX_EVENT_BYTES", 20_000)
    response = await front.client.post(PATH, json=body_of(stream=True, max_output_tokens=200))
    events = events_of(response.text)
    assert "too long to be followed" in events[-1]["error"]["message"]
    response_id = events[0]["response"]["id"]
    late = await front.client.get(f"{PATH}/{response_id}?stream=true&starting_after=100000")
    assert (late.status_code, late.json()["error"]["param"]) == (400, "stream")
    assert (await polled(front, response_id))["status"] == "incomplete"
