"""What upstreams do not do, several that share models, and how many requests and tokens they are given."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from registry.engines import EngineSetting
from router.config.upstreams import UpstreamConfig
from router.models.targets import EngineReason
from tests.support.fake_fleet import make_config
from tests.support.fake_openai import FakeFront, with_front
from tests.support.scripted_upstream import (
    END,
    HEAD,
    MODEL_ID,
    ScriptedUpstream,
    chunk,
    event,
    plain,
    sending,
    stalling,
)
from tests.support.using_upstreams import NAME, box, use
from tests.support.waiting import until

SAID = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("field", "value"), [("top_k", 5), ("grammar", 'root ::= "a"'), ("prompt_logprobs", 1), ("ignore_eos", True)]
)
@with_front()
async def test_a_field_that_is_not_honoured_is_refused_by_name(front: FakeFront, field: str, value: Any) -> None:
    async with ScriptedUpstream() as server:
        await use(front, box(server))
        answer = await front.chat(model=NAME, **{field: value})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (400, "unsupported_parameter", field)
        assert not server.asked


@pytest.mark.parametrize("stream", [False, True])
@with_front()
async def test_likelihoods_that_do_not_come_are_an_error_and_no_empty_list(front: FakeFront, *, stream: bool) -> None:
    async with ScriptedUpstream() as server:
        await use(front, box(server))
        answer = await front.chat(model=NAME, logprobs=True, top_logprobs=2, stream=stream)
        assert "logprobs: the upstream 'box' does not honour it; leave it out, or name a model that runs here" in (
            answer.text
        )
        if not stream:
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, "logprobs")
        assert server.asked[0].body["logprobs"] is True
        assert (await front.chat(model=NAME)).status_code == 200


@with_front()
async def test_an_upstream_without_its_key_says_so(front: FakeFront) -> None:
    async with ScriptedUpstream() as server:
        await use(front, box(server, api_key_env="NOT_SET", models=(MODEL_ID,)))
        answer = await front.chat(model=NAME)
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_key_refused")
        assert "api_key_env" in answer.text


@with_front(
    config=replace(make_config(), upstreams=(UpstreamConfig(name="gone", url="http://127.0.0.1:9", models=("m2",)),))
)
async def test_an_upstream_that_is_not_there_is_an_error_and_then_left_alone(front: FakeFront) -> None:
    for _ in range(3):
        answer = await front.chat(model="m2")
    assert answer.status_code in {502, 503}
    answer = await front.chat(model="m2")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
    assert int(answer.headers["retry-after"]) >= 1


@with_front()
async def test_several_upstreams_share_a_model_and_keep_their_conversations(front: FakeFront) -> None:
    async with ScriptedUpstream() as one, ScriptedUpstream() as two:
        await use(front, box(one, "one"), box(two, "two"))
        for _ in range(4):
            await front.chat(model=NAME)
        assert (len(one.asked), len(two.asked)) == (4, 0), "the same beginning goes to the same place"
        for number in range(4):
            await front.chat(model=NAME, messages=[{"role": "user", "content": f"{number} is another beginning"}])
        assert (len(one.asked), len(two.asked)) == (4, 4), "others go to the one that was given less"
        for number in range(3):
            said = [{"role": "user", "content": f"{number} of a session"}]
            answer = await front.chat(model=NAME, messages=said, prompt_cache_key="s")
        home = answer.json()["timings"]["engine"]
        assert len({one: len(one.asked), two: len(two.asked)}) == 2
        assert abs(len(one.asked) - len(two.asked)) == 3, f"all of the session went to {home}"


@with_front()
async def test_what_one_loses_before_the_first_token_another_one_answers(front: FakeFront) -> None:
    async with ScriptedUpstream() as one, ScriptedUpstream() as two:
        await use(front, box(one, "one"), box(two, "two"))
        one.scripts.append(sending(plain(503, {"error": "loading"})))
        timings = (await front.chat(model=NAME)).json()["timings"]
        assert (timings["engine"], len(one.asked), len(two.asked)) == ("upstream:two", 1, 1)
        two.scripts.append(sending(plain(429, {"error": "busy"}, retry_after="30")))
        timings = (await front.chat(model=NAME)).json()["timings"]
        assert (timings["engine"], len(one.asked), len(two.asked)) == ("upstream:one", 2, 2)


@with_front()
async def test_how_upstreams_stand_is_in_the_status_and_the_events(front: FakeFront) -> None:
    async with ScriptedUpstream(usual=sending(plain(500, {"error": "oops"}))) as server:
        await use(front, box(server))
        changes: list[str] = []
        front.services.upstreams.changed.add(lambda status: changes.append(status.state))
        (told,) = (await front.client.get("/v1/mlxr/status")).json()["upstreams"]
        assert (told["name"], told["state"], told["why"], told["models"][0]["name"]) == ("box", "closed", None, NAME)
        for _ in range(3):
            await front.chat(model=NAME)
        (told,) = (await front.client.get("/v1/mlxr/status")).json()["upstreams"]
        assert (told["state"], told["num_failed"], "oops" in told["why"]) == ("open", 3, True)
        assert 0 < told["wait_s"] <= 10
        assert changes == ["open"]
        made = front.services.upstreams.made
        assert made is not None
        made.look_now("box")
        await until(lambda: made.status()[0].state == "closed", "a look at its health closes the circuit")
        assert changes == ["open", "closed"]
        events = front.services.events.follow(f"{front.services.events.last_id.rpartition('-')[0]}-0")
        assert b'"upstream"' in await anext(events)


@with_front()
async def test_a_place_is_waited_for_and_no_longer_than_the_config_says(front: FakeFront) -> None:
    async with ScriptedUpstream() as server:
        limits = replace(front.fleet.current_config.config.limits, max_queue=1)
        await use(front, box(server, parallel=1), limits=limits)
        go_on = asyncio.Event()
        rest = event(chunk("stop")) + event(b"[DONE]") + END
        server.scripts.append(stalling(HEAD, event(chunk(content="first")), until=go_on, then=rest))
        first = asyncio.create_task(front.chat(model=NAME))
        await until(lambda: len(server.asked) == 1, "the first has the place")
        second = asyncio.create_task(front.chat(model=NAME))
        await until(lambda: len(front.supervisor.waiting) == 1, "the second waits")
        third = await front.chat(model=NAME)
        assert (third.status_code, third.json()["error"]["code"]) == (429, "queue_full")
        queue = (await front.client.get("/v1/mlxr/status")).json()["queue"]
        assert queue["by_target"] == [{"model": NAME, "engine": "upstream:box", "num_waiting": 1}]
        second.cancel()
        await until(lambda: not front.supervisor.waiting, "who goes gives the place in the queue back")
        go_on.set()
        assert (await first).status_code == 200


@with_front()
async def test_an_upstream_that_is_taken_out_of_the_config_is_gone_at_once(front: FakeFront) -> None:
    async with ScriptedUpstream() as server:
        await use(front, box(server))
        assert (await front.chat(model=NAME)).status_code == 200
        await use(front)
        gone = await front.chat(model=NAME)
        assert (gone.status_code, gone.json()["error"]["code"]) == (404, "model_not_found")


@with_front()
async def test_an_upstream_is_given_no_more_than_its_ceiling(front: FakeFront) -> None:
    async with ScriptedUpstream() as server:
        await use(front, box(server, max_tokens_per_day=300))
        for _ in range(2):
            assert (await front.chat(model=NAME)).status_code == 200
        (told,) = (await front.client.get("/v1/mlxr/status")).json()["upstreams"]
        assert (told["tokens_today"], told["max_tokens_per_day"]) == (20, 300), "as the upstream counts them"
        await use(front, box(server, max_tokens_per_day=20))
        refused = await front.chat(model=NAME)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "upstream_ceiling_reached")
        assert "max_tokens_per_day of the config is 20" in refused.text
        assert int(refused.headers["retry-after"]) >= 1
        assert len(server.asked) == 2
        await use(
            front, box(server, names={"m": MODEL_ID}, max_tokens_per_day=20), engine=EngineSetting("upstream:box")
        )
        timings = (await front.chat()).json()["timings"]
        assert (timings["engine"], timings["engine_reason"]) == ("llamacpp", EngineReason.FALLBACK_UPSTREAM.value)
