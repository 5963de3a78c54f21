"""The ring of events, and those who follow it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from router.events.kinds import PressureChanged, Snapshot
from router.events.log import MAX_BATCH, Audience, EventLog
from router.http.caller import OWNER, Caller, Scope


def event(number: int) -> PressureChanged:
    return PressureChanged(at=0.0, level="normal", reason=str(number))


def make_log(max_kept: int = 10) -> EventLog:
    return EventLog(
        lambda _: Snapshot(at=0.0, models=[], pressure="normal", heat="nominal", jobs=[]), max_kept=max_kept, run="run"
    )


def fields_of(data: bytes) -> list[tuple[str | None, dict[str, Any]]]:
    """Return ids and objects of some events, and hold that each is named by its type."""
    found = []
    for block in data.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        body = msgspec.json.decode(fields["data"])
        assert body["type"] == fields["event"]
        found.append((fields.get("id"), body))
    return found


async def all_of(following: AsyncIterator[bytes]) -> list[tuple[str | None, dict[str, Any]]]:
    return [each async for chunk in following for each in fields_of(chunk)]


def short(found: list[tuple[str | None, dict[str, Any]]]) -> list[tuple[str | None, str]]:
    return [(event_id, body.get("reason", body["type"])) for event_id, body in found]


async def caught_up(log: EventLog, last_id: str | None) -> list[tuple[str | None, dict[str, Any]]]:
    """Return what a follower is told before anything new happens."""
    log._is_closed = False
    following = asyncio.ensure_future(all_of(log.follow(last_id)))
    await asyncio.sleep(0)
    log.close()
    return await following


async def test_one_who_has_seen_nothing_hears_how_everything_stands_and_then_all_that_comes() -> None:
    log = make_log()
    log.tell(event(1))
    following = log.follow()
    assert short(fields_of(await anext(following))) == [("run-1", "snapshot")]
    log.tell(event(2))
    log.tell(event(3))
    assert short(fields_of(await anext(following))) == [("run-2", "2"), ("run-3", "3")]
    log.close()
    assert await all_of(following) == []


async def test_one_who_comes_back_hears_what_it_has_missed() -> None:
    log = make_log()
    for number in range(1, 6):
        log.tell(event(number))
    assert short(await caught_up(log, "run-3")) == [("run-4", "4"), ("run-5", "5")]
    assert await caught_up(log, "run-5") == []


async def test_what_is_gone_is_told_as_lost_then_what_is_kept_then_how_everything_stands() -> None:
    log = make_log(max_kept=2)
    for number in range(1, 6):
        log.tell(event(number))
    found = await caught_up(log, "run-1")
    assert found[0] == (None, {"type": "lost", "after": "run-1", "num_events": 2})
    assert short(found[1:]) == [("run-4", "4"), ("run-5", "5"), ("run-5", "snapshot")]


async def test_an_id_of_another_run_or_of_nobody_has_lost_an_unknown_number() -> None:
    log = make_log()
    log.tell(event(1))
    for strange in ("other-1", "run-2", "run-", "run-x", "", "run-²", "run-99999999999999999999", "x" * 1000):
        found = await caught_up(log, strange)
        assert found[0][1] == {"type": "lost", "after": strange[:80], "num_events": None}
        assert short(found[1:]) == [("run-1", "1"), ("run-1", "snapshot")]


async def test_one_who_does_not_read_costs_the_others_nothing_and_is_cut() -> None:
    log = make_log(max_kept=5)
    slow, quick = log.follow(), log.follow()
    await anext(slow)
    await anext(quick)
    for number in range(1, 21):
        log.tell(event(number))
        assert short(fields_of(await anext(quick))) == [(f"run-{number}", str(number))]
    assert await all_of(slow) == [], "it is cut, and told what is lost when it comes again"
    assert (await caught_up(log, "run-0"))[0][1]["num_events"] == 15


async def test_one_who_falls_behind_while_it_catches_up_is_cut() -> None:
    log = make_log(max_kept=2 * MAX_BATCH)
    for number in range(3 * MAX_BATCH):
        log.tell(event(number))
    following = log.follow("run-0")
    assert fields_of(await anext(following))[0][1]["type"] == "lost"
    assert len(fields_of(await anext(following))) == MAX_BATCH
    for number in range(3 * MAX_BATCH):
        log.tell(event(number))
    assert await all_of(following) == []


async def test_hundreds_follow() -> None:
    log = make_log(max_kept=100)
    followers = [asyncio.ensure_future(all_of(log.follow())) for _ in range(300)]
    await asyncio.sleep(0)
    for number in range(50):
        log.tell(event(number))
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    log.close()
    for found in await asyncio.gather(*followers):
        assert len(found) == 51


async def test_a_closed_log_is_followed_to_its_end_at_once() -> None:
    log = make_log()
    log.close()
    assert short(await all_of(log.follow())) == [("run-0", "snapshot")]


KEY = Caller(key_id="key_1", name="one", scope=Scope.MODELS, models=("tin*",))


@pytest.mark.parametrize(
    ("audience", "is_told"),
    [
        (Audience(), True),
        (Audience(owners=frozenset({"key_1", "key_2"})), True),
        (Audience(owners=frozenset({"key_2", None})), False),
        (Audience(model="tiny+lora"), True),
        (Audience(model="other"), False),
    ],
)
async def test_an_event_is_told_to_those_alone_whom_it_is_for(audience: Audience, *, is_told: bool) -> None:
    log = make_log()
    live, owner = log.follow(None, KEY), log.follow(None, OWNER)
    await anext(live), await anext(owner)
    log.tell(event(1), audience)
    log.tell(event(2))
    everything = [("run-1", "1"), ("run-2", "2")]
    expected = everything if is_told else everything[1:]
    assert short(fields_of(await anext(owner))) == everything
    for following in (live, log.follow("run-0", KEY)):
        assert short(fields_of(await anext(following))) == expected
    log = make_log(max_kept=2)
    for number in range(1, 4):
        log.tell(event(number), audience)
    lost = log.follow("run-0", KEY)
    assert fields_of(await anext(lost))[0][1]["num_events"] == 1
    found = short(fields_of(await anext(lost)))
    assert found == ([("run-2", "2"), ("run-3", "3")] if is_told else [("run-3", "snapshot")])


async def test_one_whose_key_has_gone_is_told_nothing_more() -> None:
    log, good = make_log(), [True]
    following = log.follow(None, KEY, lambda: bool(good))
    await anext(following)
    log.tell(event(1))
    assert short(fields_of(await anext(following))) == [("run-1", "1")]
    good.clear()
    log.tell(event(2))
    assert await all_of(following) == []
