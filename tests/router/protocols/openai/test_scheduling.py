"""Priority, conversation and time limit of a request, by field and by header, over HTTP."""

import asyncio
from typing import Any

import pytest

from backends.fake.engine import FakeOptions
from tests.support.fake_fleet import make_config
from tests.support.fake_openai import FakeFront, sse_objects, with_front

CHAT = "/v1/chat/completions"
BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 0, "max_tokens": 4}


async def post(front: FakeFront, headers: dict[str, str], path: str = CHAT, **body: Any) -> Any:
    return await front.client.post(path, json=BODY | body, headers=headers)


async def scheduling_of(front: FakeFront, headers: dict[str, str], **body: Any) -> tuple[str, str | None]:
    """Return priority and session of a running request."""
    request = asyncio.create_task(post(front, headers, max_tokens=None, **body))
    await front.fleet.until(lambda: bool(list(front.services.serving.requests)), "it is registered")
    [running] = front.running
    wanted = running.generation.request
    running.cancel()
    await request
    return wanted.spec.priority.value, wanted.spec.session_id


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ({}, {}, ("interactive", None)),
        ({}, {"service_tier": "flex"}, ("background", None)),
        ({}, {"service_tier": "priority", "prompt_cache_key": ""}, ("interactive", None)),
        ({"X-Mlxr-Priority": "background"}, {"service_tier": "priority"}, ("background", None)),
        ({"X-Mlxr-Priority": "interactive"}, {"service_tier": "flex"}, ("interactive", None)),
        ({}, {"prompt_cache_key": "k"}, ("interactive", "k")),
        ({"X-Session-Id": "s"}, {"prompt_cache_key": "k"}, ("interactive", "s")),
    ],
)
@with_front(llamacpp=FakeOptions(decode_s=0.005))
async def test_headers_come_before_the_body(
    front: FakeFront, *, headers: dict[str, str], body: dict[str, Any], expected: tuple[str, str | None]
) -> None:
    assert await scheduling_of(front, headers, **body) == expected


@with_front()
async def test_the_tier_that_was_used_is_told_to_those_who_asked(front: FakeFront) -> None:
    tiers = {"auto": "default", "default": "default", "priority": "priority", "flex": "flex"}
    for asked, used in tiers.items():
        assert (await post(front, {}, service_tier=asked)).json()["service_tier"] == used
        *chunks, _ = sse_objects(await post(front, {}, service_tier=asked, stream=True))
        assert {chunk["service_tier"] for chunk in chunks} == {used}
    assert "service_tier" not in (await post(front, {})).json()
    text = await front.complete(service_tier="flex")
    assert text.json()["service_tier"] == "flex"
    moved = await post(front, {"X-Mlxr-Priority": "background"}, service_tier="auto")
    assert moved.json()["service_tier"] == "flex"
    moved = await post(front, {"X-Mlxr-Priority": "interactive"}, service_tier="flex")
    assert moved.json()["service_tier"] == "default"


@with_front()
async def test_a_bad_header_is_a_400_that_names_it(front: FakeFront) -> None:
    for name, value in (("X-Mlxr-Priority", "high"), ("X-Session-Id", "s" * 513), ("X-Mlxr-Timeout", "0")):
        response = await post(front, {name: value})
        assert response.status_code == 400
        assert response.json()["error"]["param"] == name
    assert front.fleet.num_launches == {"mlx": 0, "llamacpp": 0}
    assert list(front.services.serving.requests) == []


@pytest.mark.parametrize("stream", [False, True])
@with_front(llamacpp=FakeOptions(hang_at_token=0))
async def test_a_request_that_asks_for_an_answer_in_time_gets_a_504(front: FakeFront, *, stream: bool) -> None:
    response = await post(front, {"X-Mlxr-Timeout": "0.3"}, stream=stream)
    assert response.status_code == 504
    assert response.json()["error"]["code"] == "deadline_exceeded"
    assert "0.3 s" in response.json()["error"]["message"]
    assert list(front.services.serving.requests) == []


@with_front(config=make_config(parallel=1, first_token_timeout_s=0.1))
async def test_the_limit_of_the_first_token_holds_while_the_model_loads(front: FakeFront) -> None:
    front.fleet.hold("load")
    response = await front.chat()
    assert response.status_code == 504
    assert response.json()["error"]["code"] == "deadline_exceeded"
    assert front.supervisor.waiting == ()


@with_front(config=make_config(parallel=1, inter_token_timeout_s=0.3), llamacpp=FakeOptions(hang_at_token=3))
async def test_a_stall_in_mid_stream_ends_it_with_an_error_and_frees_its_place(front: FakeFront) -> None:
    response = await front.chat(stream=True, max_tokens=None)
    assert response.status_code == 200
    *chunks, last = sse_objects(response)
    assert chunks
    assert last["error"]["code"] == "deadline_exceeded"
    assert "[DONE]" not in response.text
    holder = front.fleet.holder
    assert holder is not None
    await front.fleet.until(lambda: holder.use.num_running == 0, "its place is free")
