"""Conversations over HTTP that outgrow their context, with the fake engine."""

import asyncio

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
    told,
    winding,
    winds,
    wound_of,
)

ENOUGH = 12
"""Turns that do not fit the context any more."""


@with_front(llamacpp=TELLING, config=winding())
async def test_a_talk_of_five_times_its_context_loses_nothing(front: FakeFront) -> None:
    talk = Talk(front)
    for number in range(60):
        await talk.say(told(number))
    assert talk.num_chars > 5 * LIMIT
    for number in range(0, 60, 10):
        assert await talk.say(asked(number)) == code(number)
    kept = await winds(front)
    assert len(kept) > 4
    assert not any(wind.is_left_out for wind in kept)
    assert [wind.earlier_id for wind in kept[1:]] == [wind.context_id for wind in kept[:-1]]
    assert all(usage["prompt_tokens"] + 200 <= LIMIT for usage in talk.usages)


@with_front(llamacpp=TELLING, config=winding(is_ahead=True))
async def test_a_talk_that_is_wound_ahead_loses_nothing_and_no_turn_waits(front: FakeFront) -> None:
    talk = Talk(front)
    for number in range(60):
        await talk.say(told(number))
        await idle(front)
    for number in range(0, 60, 10):
        assert await talk.say(asked(number)) == code(number)
    kept = await winds(front)
    assert len(kept) > 4
    assert max(usage["prompt_tokens"] for usage in talk.usages) < 0.85 * LIMIT
    after_a_wind = [usage for usage in talk.usages if usage["prompt_tokens"] < 0.5 * LIMIT][4:]
    assert all(usage["prompt_tokens_details"]["cached_tokens"] > 0.6 * usage["prompt_tokens"] for usage in after_a_wind)


@with_front(llamacpp=TELLING, config=winding(is_ahead=True))
async def test_who_wants_long_answers_is_wound_ahead_sooner(front: FakeFront) -> None:
    talk = Talk(front)
    talk.fill(5)
    question = [*talk.messages, {"role": "user", "content": "Go on."}]
    assert (await talk.send(question, max_tokens=200)).json()["usage"]["total_tokens"] < 0.7 * LIMIT
    await idle(front)
    assert not await winds(front)
    assert (await talk.send(question, max_tokens=3000)).status_code == 200
    await idle(front)
    assert len(await winds(front)) == 1


@with_front(llamacpp=TELLING, config=winding())
async def test_a_history_that_is_sent_again_is_not_told_again_and_its_cache_is_found(front: FakeFront) -> None:
    talk = Talk(front)
    for number in range(ENOUGH):
        await talk.say(told(number))
    (wind,) = await winds(front)
    for _ in range(3):
        answer = await talk.send()
        assert answer_of(answer) == code(0)
        assert answer.json()["timings"]["context"]["id"] == wind.context_id
        assert wound_of(answer)["ms"] == 0
    usage = answer.json()["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == usage["prompt_tokens"] - 1
    assert [each.context_id for each in await winds(front)] == [wind.context_id]


@with_front(llamacpp=TELLING, config=winding())
async def test_an_edit_in_a_told_turn_is_another_conversation(front: FakeFront) -> None:
    talk = Talk(front)
    talk.fill(ENOUGH)
    assert answer_of(await talk.send()) == code(0)
    (first,) = await winds(front)
    edited = [*talk.messages, {"role": "user", "content": asked(0)}]
    edited[1] = {"role": "user", "content": edited[1]["content"].replace(code(0), "4242")}
    answer = await talk.send(edited)
    assert answer_of(answer) == "4242"
    second = next(wind for wind in await winds(front) if wind.context_id != first.context_id)
    assert second.earlier_id is None
    assert answer.json()["timings"]["context"]["id"] == second.context_id
    assert answer_of(await talk.send()) == code(0)


@with_front(llamacpp=TELLING, config=winding(parallel=1))
async def test_a_history_that_comes_at_five_times_the_context_is_told_in_pieces(front: FakeFront) -> None:
    talk = Talk(front)
    talk.fill(60)
    answer = await talk.send()
    assert answer_of(answer) == code(0)
    assert not wound_of(answer)["left_out"]
    assert len(await winds(front)) == 1
    assert await talk.say(asked(40)) == code(40)


@with_front(llamacpp=TELLING, config=winding())
async def test_a_last_message_that_leaves_little_room_is_answered_and_one_that_leaves_none_is_refused(
    front: FakeFront,
) -> None:
    talk = Talk(front)
    talk.fill(8)
    large = {"role": "user", "content": "y" * 4500 + asked(0)}
    answer = await talk.send([*talk.messages, large], max_tokens=3000)
    assert answer_of(answer) == code(0)
    alone = await talk.send([large], max_tokens=3000)
    assert alone.status_code == 200, "nothing can go; the answer has less room"
    refused = await talk.send([*talk.messages, {"role": "user", "content": "y" * 2 * LIMIT}])
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "context_length_exceeded"


# ---- who shares a wind, and who leaves -------------------------------------------------------------------------------


@with_front(llamacpp=TELLING, config=winding())
async def test_turns_at_the_same_time_share_a_wind(front: FakeFront) -> None:
    talk = Talk(front)
    talk.fill(ENOUGH)
    front.fleet.hold(IN_SUMMARY)
    sent = [asyncio.create_task(talk.send(seed=number)) for number in range(3)]
    await front.fleet.until(lambda: len(front.running) == 4, "three wait for one summary")
    assert summarising(front) == ["interactive"]
    front.fleet.let_go(IN_SUMMARY)
    answers = [await each for each in sent]
    assert {answer_of(answer) for answer in answers} == {code(0)}
    (wind,) = await winds(front)
    assert {answer.json()["timings"]["context"]["id"] for answer in answers} == {wind.context_id}


async def two_workers(front: FakeFront) -> None:
    """Have a second worker, which takes requests while the first one stands still in a summary."""
    await front.chat()
    await front.fleet.until(lambda: len(front.fleet.ready) == 2, "both are there")


@with_front(llamacpp=TELLING, config=winding(workers=2))
async def test_a_wind_that_all_have_left_goes_on_in_the_background_and_is_found(front: FakeFront) -> None:
    await two_workers(front)
    talk = Talk(front)
    talk.fill(ENOUGH)
    front.fleet.hold(IN_SUMMARY)
    sent = asyncio.create_task(talk.send())
    await front.fleet.until(lambda: summarising(front) == ["interactive"], "it is told")
    sent.cancel()
    for running in front.running:
        if running.facts.protocol == "openai":
            running.cancel()
    await front.fleet.until(lambda: summarising(front) == ["background"], "nobody waits for it")
    again = asyncio.create_task(talk.send())
    await front.fleet.until(lambda: summarising(front) == ["interactive"], "somebody waits for it again")
    front.fleet.let_go(IN_SUMMARY)
    assert answer_of(await again) == code(0)
    assert len(await winds(front)) == 1


@with_front(llamacpp=TELLING, config=winding(is_ahead=True, workers=2))
async def test_a_turn_that_comes_while_it_is_wound_ahead_waits_for_that_and_hurries_it(front: FakeFront) -> None:
    await two_workers(front)
    talk = Talk(front)
    talk.fill(8)
    front.fleet.hold(IN_SUMMARY)
    await talk.say("Go on.")
    await front.fleet.until(lambda: summarising(front) == ["background"], "it is told ahead")
    talk.fill(4)
    sent = asyncio.create_task(talk.send())
    await front.fleet.until(lambda: summarising(front) == ["interactive"], "somebody waits for it")
    front.fleet.let_go(IN_SUMMARY)
    assert answer_of(await sent) == code(0)
