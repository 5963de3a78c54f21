"""Summarisers that fail, workers that die in the middle of a wind, and what a wind gives way to."""

import asyncio

import pytest
from msgspec.structs import replace

from backends.machine.base import ThermalState
from router.conditions import PressureLevel
from router.stores.contexts import Wind
from tests.support.fake_openai import FakeFront, with_front
from tests.support.winding_talk import (
    IN_SUMMARY,
    LIMIT,
    TELLING,
    Talk,
    answer_of,
    asked,
    code,
    idle,
    summarising,
    winding,
    winds,
    wound_of,
)

ENOUGH = 12
"""Turns that do not fit the context any more."""
MUTE = replace(TELLING, answers=(("Summarize", ""), *TELLING.answers[1:]))
DEADLY = replace(TELLING, crash_at_token=30)
ENDLESS = replace(TELLING, answers=(("Summarize", "Facts\n" + "- It was said again.\n" * 1000), *TELLING.answers[1:]))


@with_front(llamacpp=TELLING, config=winding())
async def test_a_summary_that_is_ended_by_its_id_leaves_messages_out(front: FakeFront) -> None:
    talk = Talk(front)
    talk.fill(ENOUGH)
    front.fleet.hold(IN_SUMMARY)
    sent = asyncio.create_task(talk.send())
    await front.fleet.until(lambda: summarising(front) != [], "it is told")
    listed = (await front.client.get("/v1/mlxr/requests")).json()["requests"]
    (context,) = [each for each in listed if each["protocol"] == "context"]
    await front.client.post(f"/v1/mlxr/requests/{context['id']}/cancel")
    front.fleet.let_go(IN_SUMMARY)
    assert wound_of(await sent)["left_out"]


@with_front(llamacpp=TELLING, config=winding(timeout_s=0.05))
async def test_a_summariser_that_is_slow_leaves_messages_out_and_they_are_told_after_all(front: FakeFront) -> None:
    talk = Talk(front)
    talk.fill(ENOUGH)
    front.fleet.hold(IN_SUMMARY)
    answer = await talk.send()
    assert answer_of(answer) == "I do not know."
    wound = wound_of(answer)
    assert (wound["left_out"], wound["by"], wound["narrative_tokens"]) == (True, None, 0)
    front.fleet.let_go(IN_SUMMARY)
    await idle(front)
    again = await talk.send()
    assert answer_of(again) == code(0)
    assert not wound_of(again)["left_out"]


@with_front(llamacpp=MUTE, config=winding())
async def test_a_summariser_that_says_nothing_leaves_messages_out(front: FakeFront) -> None:
    talk = Talk(front)
    talk.fill(ENOUGH)
    answer = await talk.send()
    assert wound_of(answer)["left_out"]
    assert answer_of(answer) == "I do not know."
    await idle(front)
    assert wound_of(await talk.send())["left_out"], "it is left alone for a while"


@with_front(llamacpp=ENDLESS, config=winding())
async def test_a_summariser_that_says_ten_times_too_much_is_cut_at_a_line(front: FakeFront) -> None:
    talk = Talk(front)
    talk.fill(ENOUGH)
    assert not wound_of(await talk.send())["left_out"]
    (wind,) = await winds(front)
    assert wind.narrative is not None
    assert wind.narrative.endswith("- It was said again.")
    assert wind.narrative_tokens == len(wind.narrative) < LIMIT / 5


@with_front(llamacpp=[MUTE, TELLING], config=winding())
async def test_what_was_left_out_is_told_with_the_next_wind(front: FakeFront) -> None:
    talk = Talk(front)
    talk.fill(ENOUGH)
    assert wound_of(await talk.send())["left_out"]
    await idle(front)
    front.fleet.kill()
    talk.fill(ENOUGH)
    answer = await talk.send()
    assert answer_of(answer) == code(0)
    assert not wound_of(answer)["left_out"]
    last = (await winds(front))[-1]
    assert (last.earlier_id, last.is_stored) == (None, True)


# ---- workers that die ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gate", ["prefill", IN_SUMMARY])
@with_front(llamacpp=TELLING, config=winding())
async def test_a_worker_that_dies_in_a_summary_costs_nothing_but_time(front: FakeFront, gate: str) -> None:
    talk = Talk(front)
    talk.fill(ENOUGH)
    await front.chat()
    front.fleet.hold(gate)
    sent = asyncio.create_task(talk.send())
    await front.fleet.until(lambda: summarising(front) != [], "it is told")
    front.fleet.kill()
    front.fleet.let_go(gate)
    answer = await sent
    assert answer_of(answer) == code(0)
    assert not wound_of(answer)["left_out"]
    assert len(await winds(front)) == 1


@with_front(llamacpp=TELLING, config=winding(is_ahead=True, workers=2))
async def test_a_worker_that_a_request_names_is_for_that_request_alone(front: FakeFront) -> None:
    await front.chat()
    await front.fleet.until(lambda: len(front.fleet.ready) == 2, "both workers are there")
    talk = Talk(front)
    talk.fill(8)
    front.fleet.hold(IN_SUMMARY)
    named = {"X-Mlxr-Worker": str(front.fleet.ready[0].worker_id)}
    said = {"model": "m", "messages": [*talk.messages, {"role": "user", "content": "Go on."}]}
    assert (await front.client.post("/v1/chat/completions", json=said, headers=named)).status_code == 200
    await front.fleet.until(lambda: front.supervisor.is_answering, "it is told ahead")
    (telling,) = [worker for worker in front.fleet.ready if worker.use.num_running]
    front.fleet.kill(telling.pid)
    front.fleet.let_go(IN_SUMMARY)
    await idle(front)
    assert len(await winds(front)) == 1, "the other worker tells it"


@with_front(llamacpp=[DEADLY, DEADLY, TELLING], config=winding())
async def test_a_summary_that_kills_its_worker_twice_is_told_later(front: FakeFront) -> None:
    talk = Talk(front)
    talk.fill(ENOUGH)
    assert wound_of(await talk.send())["left_out"]
    await idle(front)
    assert answer_of(await talk.send()) == code(0)


@with_front(llamacpp=[replace(TELLING, prefill_s_per_token=1e-6), TELLING], config=winding())
async def test_a_worker_that_dies_with_the_wound_prompt_is_replaced_and_nothing_is_told_twice(front: FakeFront) -> None:
    talk = Talk(front)
    talk.fill(ENOUGH)

    def on_wound(_wind: Wind) -> None:
        front.fleet.hold("prefill")
        front.fleet.kill()

    front.services.contexts.wound.add(on_wound)
    sent = asyncio.create_task(talk.send())
    await front.fleet.until(lambda: front.fleet.num_launches["llamacpp"] == 2, "another one is started")
    front.fleet.let_go("prefill")
    assert answer_of(await sent) == code(0)
    assert len(await winds(front)) == 1


# ---- what a wind gives way to ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("strain", ["memory", "heat"])
@with_front(llamacpp=TELLING, config=winding(is_ahead=True))
async def test_a_wind_ahead_stands_still_while_the_machine_is_strained(front: FakeFront, strain: str) -> None:
    talk = Talk(front)
    talk.fill(8)
    conditions = front.fleet.conditions
    front.fleet.hold(IN_SUMMARY)
    await talk.say("Go on.")
    await front.fleet.until(lambda: summarising(front) == ["background"], "it is told ahead")
    if strain == "memory":
        conditions.set_pressure(PressureLevel.CRITICAL, "test")
    else:
        conditions.set_heat(ThermalState.SERIOUS, "test")
    await front.fleet.until(lambda: not summarising(front), "it is given up")
    front.fleet.let_go(IN_SUMMARY)
    assert answer_of(await talk.send()) == code(0), "others are served"
    assert front.services.winder.is_busy
    assert not await winds(front)
    conditions.set_pressure(PressureLevel.NORMAL, "test")
    conditions.set_heat(ThermalState.NOMINAL, "test")
    await idle(front)
    assert len(await winds(front)) == 1


@with_front(llamacpp=TELLING, config=winding(is_ahead=True, workers=2))
async def test_requests_of_others_are_answered_while_a_wind_ahead_stands_still(front: FakeFront) -> None:
    await front.chat()
    await front.fleet.until(lambda: len(front.fleet.ready) == 2, "both workers are there")
    talk = Talk(front)
    talk.fill(8)
    front.fleet.hold(IN_SUMMARY)
    await talk.say("Go on.")
    await front.fleet.until(lambda: summarising(front) == ["background"], "it is told ahead")
    for _ in range(3):
        assert (await front.chat()).status_code == 200
    front.fleet.let_go(IN_SUMMARY)
    await idle(front)
    assert len(await winds(front)) == 1


# ---- a summariser of its own name ------------------------------------------------------------------------------------

OTHER = "only-gguf"


@with_front(llamacpp=TELLING, config=winding(is_ahead=True, summarizer=OTHER))
async def test_another_model_tells_when_nobody_wants_anything_and_the_first_comes_back(front: FakeFront) -> None:
    talk = Talk(front)
    talk.fill(8)
    await talk.say("Go on.")
    await idle(front)
    (wind,) = await winds(front)
    assert wind.told_by == OTHER
    assert front.supervisor.resident_of("m").engine is not None
    answer = await talk.send()
    assert answer_of(answer) == code(0)
    assert wound_of(answer)["by"] == OTHER


@with_front(llamacpp=TELLING, config=winding(summarizer=OTHER))
async def test_who_waits_is_told_by_the_models_own(front: FakeFront) -> None:
    talk = Talk(front)
    talk.fill(ENOUGH)
    assert wound_of(await talk.send())["by"] == "m"


@with_front(llamacpp=TELLING, config=winding(is_ahead=True, summarizer=OTHER))
async def test_another_model_gives_way_to_whoever_comes(front: FakeFront) -> None:
    talk = Talk(front)
    talk.fill(8)
    front.fleet.hold(IN_SUMMARY)
    await talk.say("Go on.")
    await front.fleet.until(lambda: summarising(front) == ["background"], "it is told ahead")
    answer = asyncio.create_task(talk.send())
    await front.fleet.until(lambda: front.supervisor.resident_of("m").engine is not None, "the first comes back")
    assert answer_of(await answer) == code(0)
    front.fleet.let_go(IN_SUMMARY)
    await idle(front)
    assert [wind.told_by for wind in await winds(front)] == [OTHER]


@with_front(llamacpp=TELLING, config=winding(is_ahead=True, summarizer=OTHER))
async def test_another_model_that_gave_way_is_not_asked_again_before_nobody_wants_anything(front: FakeFront) -> None:
    talk = Talk(front)
    talk.fill(8)
    front.fleet.hold(IN_SUMMARY)
    await talk.say("Go on.")
    await front.fleet.until(lambda: summarising(front) == ["background"], "it is told ahead")
    front.fleet.hold("decode", "mlx")
    answer = asyncio.create_task(front.chat(model="m@mlx"))
    await front.fleet.until(lambda: front.supervisor.is_answering and not summarising(front), "it has given way")
    front.fleet.let_go(IN_SUMMARY)
    assert front.supervisor.waiting == (), "nobody asks for the summariser"
    assert front.services.winder.is_busy
    front.fleet.let_go("decode", "mlx")
    assert (await answer).status_code == 200
    await idle(front)
    assert [wind.told_by for wind in await winds(front)] == [OTHER]


@with_front(llamacpp=TELLING, config=winding(is_ahead=True, summarizer="nobody"))
async def test_a_summariser_that_there_is_not_is_not_waited_for(front: FakeFront) -> None:
    talk = Talk(front)
    talk.fill(8)
    await talk.say("Go on.")
    await idle(front)
    assert [wind.told_by for wind in await winds(front)] == ["m"]
    assert await talk.say(asked(0)) == code(0)


@with_front(llamacpp=TELLING, config=winding(is_ahead=True, summarizer=OTHER))
async def test_another_model_that_is_killed_tells_all_the_same(front: FakeFront) -> None:
    talk = Talk(front)
    talk.fill(8)
    front.fleet.hold(IN_SUMMARY)
    await talk.say("Go on.")
    await front.fleet.until(lambda: summarising(front) == ["background"], "it is told ahead")
    front.fleet.kill()
    front.fleet.let_go(IN_SUMMARY)
    await idle(front)
    assert [wind.told_by for wind in await winds(front)] == [OTHER]
    assert await talk.say(asked(0)) == code(0)


@with_front(llamacpp=TELLING, config=winding(is_ahead=True))
async def test_a_model_that_others_have_taken_the_place_of_is_not_loaded_to_wind_ahead(front: FakeFront) -> None:
    talk = Talk(front)
    talk.fill(8)
    conditions = front.fleet.conditions
    conditions.set_pressure(PressureLevel.CRITICAL, "test")
    await talk.say("Go on.")
    await front.fleet.until(lambda: front.services.winder.is_busy, "it is to be told ahead")
    assert (await front.chat(model=OTHER)).status_code == 200
    conditions.set_pressure(PressureLevel.NORMAL, "test")
    await idle(front)
    assert not await winds(front)
    assert front.supervisor.resident_of("m").engine is None


# ---- clients that wait -----------------------------------------------------------------------------------------------


@with_front(llamacpp=TELLING, config=winding(), keepalive_s=0.05)
async def test_a_stream_is_kept_alive_while_it_waits_and_told_before_its_answer(front: FakeFront) -> None:
    talk = Talk(front)
    talk.fill(ENOUGH)
    front.fleet.hold(IN_SUMMARY)
    body = {"model": "m", "messages": [*talk.messages, {"role": "user", "content": asked(0)}], "stream": True}
    is_held, text = True, ""
    async with front.client.stream("POST", "/v1/chat/completions", json=body) as response:
        async for part in response.aiter_text():
            text += part
            if is_held and text.count(": keep-alive") > 2:
                assert "data:" not in text
                front.fleet.let_go(IN_SUMMARY)
                is_held = False
    assert text.index("context_wound") < text.index(code(0)[:1] + '"')
    assert text.rstrip().endswith("data: [DONE]")
