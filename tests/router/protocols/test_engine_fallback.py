"""What serves where the engine that is set cannot load a model, with real workers of the fake engine."""

import asyncio

import msgspec
import pytest

from backends.fake.engine import FakeOptions
from registry.engines import EngineSetting
from router.models.targets import EngineReason
from tests.support.fake_fleet import make_config
from tests.support.fake_openai import FakeFront, with_front

SAID = [{"role": "user", "content": "hi"}]
BROKEN = FakeOptions(load_error="tensor 'blk.0.attn_q' has the wrong shape")
REFUSING = msgspec.structs.replace(make_config(), engine_fallback="refuse")
OTHER = msgspec.structs.replace(make_config(), engine_fallback="other")


@with_front(llamacpp=BROKEN)
async def test_a_load_that_fails_sends_all_that_wait_for_it_to_the_other_engine(
    front: FakeFront, caplog: pytest.LogCaptureFixture
) -> None:
    answers = await asyncio.gather(*(front.chat() for _ in range(3)))
    for answer in answers:
        timings = answer.json()["timings"]
        assert (timings["engine"], timings["engine_reason"]) == ("mlx", EngineReason.FALLBACK_LOAD_FAILED.value)
    assert "mlx serves 'm'; fallback: the other engine failed to load the model" in caplog.messages
    assert (await front.chat()).json()["timings"]["engine"] == "mlx"
    assert front.fleet.num_launches == {"llamacpp": 1, "mlx": 1}, "it is not tried by every request"
    states = {each["engine"]: each for each in (await front.client.get("/v1/mlxr/status")).json()["models"]}
    assert states["llamacpp"]["state"] == "error"
    assert "engine_fallback" in states["llamacpp"]["way_out"]
    explained = (await front.client.get("/v1/mlxr/engine/explain?model=m")).json()
    assert (explained["engine"], explained["why"]) == ("mlx", "mlx serves in its place (engine_fallback of the config)")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages", {"messages": SAID, "max_tokens": 3}),
        ("/api/chat", {"messages": SAID, "stream": False, "options": {"num_predict": 3}}),
    ],
)
@with_front(llamacpp=BROKEN)
async def test_answers_without_timings_say_it_too(front: FakeFront, path: str, body: dict[str, object]) -> None:
    told = (await front.client.post(path, json={"model": "m"} | body)).json()["mlxr"]
    assert (told["engine"], told["engine_reason"]) == ("mlx", EngineReason.FALLBACK_LOAD_FAILED.value)


@with_front(llamacpp=BROKEN)
async def test_a_request_that_names_the_engine_gets_its_error(front: FakeFront) -> None:
    assert (await front.chat(model="m@mlx")).status_code == 200
    answer = await front.chat(model="m@llamacpp")
    assert (answer.status_code, "wrong shape" in answer.text) == (500, True)
    assert (await front.chat(model="only-gguf@mlx")).json()["error"]["code"] == "engine_not_available"


@with_front(config=OTHER, llamacpp=BROKEN)
async def test_the_config_may_let_the_other_engine_serve_whoever_asks(front: FakeFront) -> None:
    timings = (await front.chat(model="m@llamacpp")).json()["timings"]
    assert timings["engine_reason"] == EngineReason.FALLBACK_LOAD_FAILED.value
    timings = (await front.chat(model="m@llamacpp")).json()["timings"]
    assert timings["engine"] == "mlx"


@with_front(config=REFUSING, llamacpp=BROKEN)
async def test_the_config_may_refuse_whoever_asks(front: FakeFront) -> None:
    answer = await front.chat()
    assert (answer.status_code, "wrong shape" in answer.text) == (500, True)
    assert front.fleet.num_launches["mlx"] == 0


@with_front()
async def test_nobody_goes_elsewhere_while_a_load_that_was_killed_is_tried_again(front: FakeFront) -> None:
    fleet = front.fleet
    fleet.hold("load")
    first = asyncio.create_task(front.chat())
    await fleet.until(lambda: fleet.state == "loading", "it loads")
    killed = fleet.pid
    fleet.kill(killed)
    await fleet.until(lambda: fleet.state == "loading" and fleet.pid != killed, "it loads again")
    fleet.supervisor.refresh()  # all that wait are looked at anew
    second = asyncio.create_task(front.chat())
    await fleet.until(lambda: len(fleet.supervisor.waiting) == 2, "both wait")
    fleet.let_go("load")
    assert {(await each).json()["timings"]["engine"] for each in (first, second)} == {"llamacpp"}
    assert fleet.num_launches == {"llamacpp": 2, "mlx": 0}


@with_front(llamacpp=BROKEN, mlx=FakeOptions(load_error="no such layer"))
async def test_where_both_fail_each_request_gets_an_error_and_nothing_goes_round_in_circles(front: FakeFront) -> None:
    answers = await asyncio.gather(*(front.chat() for _ in range(3)))
    assert {answer.status_code for answer in answers} == {500}
    assert front.fleet.num_launches == {"llamacpp": 1, "mlx": 1}


@with_front()
async def test_an_engine_without_files_of_the_model_is_said_to_have_none(front: FakeFront) -> None:
    front.fleet.set_engine(EngineSetting.MLX)
    timings = (await front.chat(model="only-gguf")).json()["timings"]
    assert (timings["engine"], timings["engine_reason"]) == (
        "llamacpp",
        EngineReason.FALLBACK_NO_ARTIFACT.value,
    )
