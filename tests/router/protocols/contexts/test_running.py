"""What is told of requests that run while their conversations are wound, and after it."""

import asyncio
from typing import Any

import msgspec

from backends.fake.engine import FakeOptions
from router.config import ContextConfig
from tests.support.fake_fleet import make_config
from tests.support.fake_openai import FakeFront, with_front

LIMIT = 4000
TELLING = FakeOptions(context_length=LIMIT, answers=(("Summarize", "They spoke of walruses."), ("", "I see.")))
WINDING = msgspec.structs.replace(make_config(context_length=LIMIT), context=ContextConfig(mode="wind", wind_at=1.0))
TALK = [
    {"role": role, "content": f"Chapter {number}. " + "It was long. " * 20}
    for number in range(10)
    for role in ("user", "assistant")
]


async def ask(front: FakeFront, num: int) -> dict[str, Any]:
    """Send the beginning of the talk and a question; return what is told of the context."""
    answer = await front.chat(messages=[*TALK[:num], {"role": "user", "content": "And then?"}], max_tokens=40)
    assert answer.status_code == 200, answer.text
    context: dict[str, Any] = answer.json()["timings"]["context"]
    return context


async def listed(front: FakeFront, state: str, protocol: str = "openai") -> dict[str, Any]:
    """Wait until a request is in that state; return it."""
    while True:
        for each in (await front.client.get("/v1/mlxr/requests")).json()["requests"]:
            if (each["state"], each["protocol"]) == (state, protocol):
                found: dict[str, Any] = each
                return found


@with_front(llamacpp=TELLING, config=WINDING)
async def test_a_request_whose_conversation_is_wound_says_so_and_who_tells_is_listed(front: FakeFront) -> None:
    await ask(front, 2)
    front.fleet.hold("decode")
    waiting = asyncio.create_task(ask(front, 20))
    teller = await listed(front, "decode", "context")
    assert (await listed(front, "winding"))["context"] is None
    assert teller["id"].startswith("context-")
    front.fleet.let_go("decode")
    assert (await waiting)["wound"]["turns"] > 0


@with_front(llamacpp=TELLING, config=WINDING)
async def test_a_running_request_tells_how_full_its_context_is_and_what_was_told(front: FakeFront) -> None:
    told = await ask(front, 20)
    front.fleet.hold("decode")
    for num in (2, 20):
        waiting = asyncio.create_task(ask(front, num))
        running = await listed(front, "decode")
        fill, wound = running["context"], num == 20
        assert (fill["limit"], 0 < fill["used"] < LIMIT, fill["left_out"]) == (LIMIT, True, False)
        assert fill["id"] == (told["id"] if wound else None)
        assert fill["turns"] == (told["wound"]["turns"] if wound else None)
        (shown,) = (await front.client.get("/v1/mlxr/status")).json()["contexts"]
        assert shown == fill | {"request": running["id"], "model": "m"}
        front.fleet.let_go("decode")
        await waiting
        front.fleet.hold("decode")
    assert (await front.client.get("/v1/mlxr/status")).json()["contexts"] == []
    front.fleet.let_go("decode")


@with_front(llamacpp=TELLING, config=make_config(context_length=LIMIT))
async def test_a_request_whose_conversation_is_not_wound_has_nothing_to_tell(front: FakeFront) -> None:
    await front.chat()
    front.fleet.hold("decode")
    waiting = asyncio.create_task(front.chat())
    assert (await listed(front, "decode"))["context"] is None
    assert (await front.client.get("/v1/mlxr/status")).json()["contexts"] == []
    front.fleet.let_go("decode")
    await waiting
