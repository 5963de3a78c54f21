"""Suspending and resuming, over real workers of the fake engine."""

import asyncio

from tests.support.fake_openai import FakeFront, with_front

LOADED = [{"model": "m", "engine": "llamacpp"}]


async def post(front: FakeFront, what: str) -> dict[str, object]:
    response = await front.client.post(f"/v1/mlxr/{what}")
    assert response.status_code == 200
    body: dict[str, object] = response.json()
    return body


async def until_one_runs(front: FakeFront) -> None:
    await front.fleet.until(
        lambda: front.fleet.holder is not None and front.fleet.holder.use.num_running == 1, "an answer runs"
    )


@with_front()
async def test_what_is_loaded_goes_without_an_error_and_comes_back(front: FakeFront) -> None:
    await front.chat()
    suspended = await post(front, "suspend")
    assert (suspended["suspended"], suspended["unloaded"]) == (True, LOADED)
    assert suspended["freed_bytes"]
    status = (await front.client.get("/v1/mlxr/status")).json()
    assert (status["suspended"], status["workers"]) == ("suspended by command", [])
    (model,) = front.supervisor.models.known
    assert (model.state, model.reason) == ("idle", "suspended by command")
    assert model.way_out
    assert await post(front, "suspend") == {"suspended": True, "unloaded": [], "freed_bytes": None}
    assert front.fleet.conditions.is_background_paused
    assert await post(front, "resume") == {"resumed": True, "loading": LOADED}
    await front.fleet.until(lambda: front.fleet.state == "ready", "it is loaded again")
    assert await post(front, "resume") == {"resumed": False, "loading": []}
    assert not front.fleet.conditions.is_background_paused


@with_front()
async def test_a_request_wakes_the_server(front: FakeFront) -> None:
    await front.chat()
    await post(front, "suspend")
    assert (await front.chat()).status_code == 200
    assert front.fleet.conditions.suspended is None
    assert await post(front, "resume") == {"resumed": False, "loading": []}


@with_front()
async def test_running_answers_get_their_time(front: FakeFront) -> None:
    await front.chat()
    front.fleet.hold("decode")
    running = asyncio.create_task(front.chat(max_tokens=50))
    await until_one_runs(front)
    suspending = asyncio.create_task(front.services.suspension.suspend("for a test", 60.0))
    await front.fleet.until(lambda: front.fleet.state == "draining", "it drains")
    front.fleet.let_go("decode")
    assert (await running).status_code == 200
    assert (await suspending).suspended


@with_front()
async def test_answers_that_take_longer_are_cut_with_the_reason(front: FakeFront) -> None:
    await front.chat()
    front.fleet.hold("decode")
    running = asyncio.create_task(front.chat(max_tokens=50))
    await until_one_runs(front)
    assert (await front.services.suspension.suspend("for a test", 0.01)).suspended
    answer = await running
    assert answer.status_code == 503
    assert "for a test" in answer.text
    front.fleet.let_go("decode")


@with_front()
async def test_nothing_loaded_is_nothing_to_do(front: FakeFront) -> None:
    assert await post(front, "resume") == {"resumed": False, "loading": []}
    assert await post(front, "suspend") == {"suspended": True, "unloaded": [], "freed_bytes": None}
    assert await post(front, "resume") == {"resumed": True, "loading": []}
