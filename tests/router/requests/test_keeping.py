"""A generation and who keeps its conversation within the context: a fake keeper, which shortens texts."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest

from backends.fake.engine import FakeOptions
from backends.wire.prompts import TextPrompt
from router.config import LimitsConfig
from router.errors import (
    ContextLengthExceededError,
    DeadlineExceededError,
    EngineCrashedError,
    RequestCancelledError,
)
from router.models.targets import Choice
from router.requests.collected import CollectedOutput, WholeAnswer
from router.requests.context import ContextEvent, ContextFacts, answer_room
from router.requests.generation import Generation, GenerationEvent, OutputEvent
from router.requests.keeping import KeptRequest
from router.requests.leased import RequestFacts
from router.requests.register import RequestRegister, RunningRequest, whole_answer
from router.requests.request import GenerationRequest
from router.status.contexts import WoundFacts
from tests.support.fake_fleet import FakeFleet, make_config, with_fleet

CONTEXT_LENGTH = 64
SMALL = FakeOptions(context_length=CONTEXT_LENGTH, answer_tokens=4)
LONG = "x" * 100
SHORT = "told again"
WOUND = WoundFacts(turns=3, tokens_before=100, tokens_after=10, narrative_tokens=5, by="m", ms=7.0, left_out=False)


class ShorteningKeeper:
    """Puts a short text in a long one's place.

    Args:
        shorter: What to try instead of what is too long; None = nothing.

    Attributes:
        is_open: What it does waits for this.
    """

    def __init__(
        self, shorter: Callable[[KeptRequest], KeptRequest | None], *, known: KeptRequest | None = None
    ) -> None:
        self._shorter = shorter
        self._known = known
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.calls: list[str] = []
        self.was_cancelled = False
        self.ends: list[ContextFacts] = []

    def has_calls(self, number: int) -> bool:
        return len(self.calls) == number

    async def before(self, request: GenerationRequest) -> KeptRequest:
        await self._work("before")
        return self._known or KeptRequest(request=request)

    async def too_long(
        self, kept: KeptRequest, error: ContextLengthExceededError, choice: Choice
    ) -> KeptRequest | None:
        assert choice.target.model == "m"
        await self._work(f"too_long {error.num_prompt_tokens} of {error.context_length}")
        return self._shorter(kept)

    def on_end(self, kept: KeptRequest, facts: ContextFacts, choice: Choice) -> None:
        assert choice.target.model == "m"
        assert kept.wound == facts.wound
        self.ends.append(facts)

    async def _work(self, what: str) -> None:
        self.calls.append(what)
        try:
            await self.is_open.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise


def shortened(kept: KeptRequest) -> KeptRequest:
    request = msgspec.structs.replace(kept.request, prompts=(TextPrompt(SHORT),))
    return KeptRequest(request=request, context_id="ctx_1", wound=WOUND)


def closed_keeper() -> ShorteningKeeper:
    keeper = ShorteningKeeper(shortened)
    keeper.is_open.clear()
    return keeper


async def collected(generation: Generation) -> list[GenerationEvent]:
    return [event async for events in generation.events() for event in events]


def text_of(events: list[GenerationEvent]) -> str:
    return "".join(event.output.text for event in events if isinstance(event, OutputEvent))


@with_fleet(llamacpp=SMALL)
async def test_what_is_too_long_is_tried_again_shorter_and_the_reader_is_told_first(fleet: FakeFleet) -> None:
    keeper = ShorteningKeeper(shortened)
    generation = fleet.generation(prompts=[LONG], keeper=keeper)
    events = await collected(generation)
    assert keeper.calls == ["before", "too_long 100 of 64"]
    first, *others = events
    assert isinstance(first, ContextEvent)
    assert (first.facts.wound, first.facts.context_id, first.facts.limit) == (WOUND, "ctx_1", CONTEXT_LENGTH)
    assert not any(isinstance(event, ContextEvent) for event in others)
    assert text_of(events) == await fleet.answer(prompts=[SHORT])
    assert generation.request.prompts == (TextPrompt(LONG),), "the request stays what was sent"
    assert generation.context is not None
    assert generation.context.used == len(SHORT) + 5, "with the end token"
    assert keeper.ends == [generation.context]


@with_fleet(llamacpp=SMALL)
async def test_what_was_told_again_before_is_shown_at_once(fleet: FakeFleet) -> None:
    plain = fleet.generation().request
    known = shortened(KeptRequest(request=plain))
    keeper = ShorteningKeeper(shortened, known=known)
    events = await collected(fleet.generation(prompts=[LONG], keeper=keeper))
    assert keeper.calls == ["before"]
    assert isinstance(events[0], ContextEvent)


@with_fleet(llamacpp=SMALL)
async def test_a_conversation_that_fits_is_told_of_by_nobody(fleet: FakeFleet) -> None:
    keeper = ShorteningKeeper(shortened)
    generation = fleet.generation(prompts=["fits"], keeper=keeper)
    events = await collected(generation)
    assert all(isinstance(event, OutputEvent) for event in events)
    assert generation.context == keeper.ends[0]
    assert generation.context.wound is None


@with_fleet(llamacpp=SMALL)
async def test_where_nothing_can_go_the_error_has_the_numbers(fleet: FakeFleet) -> None:
    keeper = ShorteningKeeper(lambda _: None)
    with pytest.raises(ContextLengthExceededError, match="16 of which are the answer's") as caught:
        await collected(fleet.generation(prompts=["y" * 49], max_tokens=16, keeper=keeper))
    assert (caught.value.num_prompt_tokens, caught.value.context_length) == (49, CONTEXT_LENGTH)
    assert keeper.ends == []
    assert await fleet.answer(prompts=["y" * 49], max_tokens=16), "who keeps no room is answered"


@with_fleet(llamacpp=SMALL)
async def test_an_answer_may_have_less_room_where_its_keeper_says_so(fleet: FakeFleet) -> None:
    keeper = ShorteningKeeper(lambda kept: msgspec.structs.replace(kept, keeps_room=False))
    events = await collected(fleet.generation(prompts=["y" * 60], max_tokens=None, keeper=keeper))
    assert text_of(events)
    assert keeper.calls == ["before", "too_long 60 of 64"]


@with_fleet(llamacpp=SMALL)
async def test_all_choices_of_a_prompt_are_shown_the_same(fleet: FakeFleet) -> None:
    keeper = ShorteningKeeper(shortened)
    events = await collected(fleet.generation(prompts=[LONG], num_choices=3, keeper=keeper))
    assert [type(event) for event in events].count(ContextEvent) == 1
    ends = [event for event in events if isinstance(event, OutputEvent) and event.end is not None]
    assert sorted(event.index for event in ends) == [0, 1, 2]
    assert len(keeper.ends) == 1


# ---- readers that come and go, ends ----------------------------------------------------------------------------------


@with_fleet(llamacpp=SMALL)
async def test_a_reader_that_is_cancelled_finds_the_work_where_it_was(fleet: FakeFleet) -> None:
    keeper = closed_keeper()
    generation = fleet.generation(prompts=[LONG], keeper=keeper)
    for num_calls in (1, 1, 2, 2):
        if num_calls == 2:  # what it does first is done; what it does next stands still again
            keeper.is_open.set()
            keeper.is_open.clear()
        reader = asyncio.create_task(generation.next())
        await fleet.until(partial(keeper.has_calls, num_calls), "the keeper works")
        assert generation.is_winding
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        assert not keeper.was_cancelled
    keeper.is_open.set()
    events = await collected(generation)
    assert text_of(events)
    assert not generation.is_winding
    assert keeper.calls == ["before", "too_long 100 of 64"]


@pytest.mark.parametrize("end", ["failed", "closed"])
@with_fleet(make_config(parallel=1), llamacpp=SMALL)
async def test_a_request_that_ends_ends_what_its_keeper_does(fleet: FakeFleet, end: str) -> None:
    keeper = closed_keeper()
    generation = fleet.generation(prompts=[LONG], keeper=keeper)
    reader = asyncio.create_task(generation.next())
    await fleet.until(lambda: bool(keeper.calls), "the keeper works")
    if end == "failed":
        generation.fail(RequestCancelledError())
        with pytest.raises(RequestCancelledError):
            await reader
    else:
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        generation.close()
        assert await generation.next() is None
    await fleet.until(lambda: keeper.was_cancelled, "the keeper is told")


@with_fleet(make_config(parallel=1), llamacpp=SMALL)
async def test_others_are_served_while_a_conversation_is_wound(fleet: FakeFleet) -> None:
    keeper = closed_keeper()
    reader = asyncio.create_task(collected(fleet.generation(prompts=[LONG], keeper=keeper)))
    await fleet.until(lambda: bool(keeper.calls), "the keeper works")
    keeper.is_open.set()
    await fleet.until(lambda: len(keeper.calls) == 2, "it winds")
    keeper.is_open.clear()
    assert await fleet.answer(max_tokens=2)
    keeper.is_open.set()
    assert text_of(await reader)


# ---- workers that die ------------------------------------------------------------------------------------------------


@with_fleet(llamacpp=[msgspec.structs.replace(SMALL, crash_at_token=0), SMALL])
async def test_after_a_crash_nothing_is_wound_again_and_the_reader_is_told_once(fleet: FakeFleet) -> None:
    keeper = ShorteningKeeper(shortened)
    generation = fleet.generation(prompts=[LONG], keeper=keeper)
    events = await collected(generation)
    assert generation.has_begun_again
    assert keeper.calls == ["before", "too_long 100 of 64"]
    assert [type(event) for event in events].count(ContextEvent) == 1
    assert isinstance(events[0], ContextEvent)
    assert len(keeper.ends) == 1


@with_fleet(llamacpp=[msgspec.structs.replace(SMALL, crash_at_token=2), SMALL])
async def test_a_whole_answer_that_begins_again_is_told_again(fleet: FakeFleet) -> None:
    keeper = ShorteningKeeper(shortened)
    generation = fleet.generation(prompts=[LONG], keeper=keeper)
    before: list[GenerationEvent] = []
    with pytest.raises(EngineCrashedError):  # noqa: PT012 - after what came before it
        while True:
            before += await generation.next() or []
    assert isinstance(before[0], ContextEvent)
    assert generation.begin_again()
    events = await collected(generation)
    assert isinstance(events[0], ContextEvent)
    assert keeper.calls == ["before", "too_long 100 of 64"]
    assert len(keeper.ends) == 1


# ---- deadlines -------------------------------------------------------------------------------------------------------


class Texts(msgspec.Struct):
    text: str


def texts(outputs: list[CollectedOutput]) -> Texts:
    return Texts(outputs[0].text)


class MovedClock:
    """The time of one request, which stands still until it is moved; then it is looked whether something is due."""

    def __init__(self, running: RunningRequest, keeping: Any) -> None:
        self._running = running
        self._now = running._clock()
        running._clock = running.generation._clock = keeping._clock = lambda: self._now

    def move(self, seconds: float) -> None:
        self._now += seconds
        self._running._on_timer()


def running_with(fleet: FakeFleet, keeper: ShorteningKeeper, **limits: Any) -> tuple[RunningRequest, MovedClock]:
    generation = fleet.generation(prompts=[LONG], keeper=keeper)
    facts = RequestFacts(request_id="id-1", protocol="test", client="here")
    running = RequestRegister().start(facts, generation, WholeAnswer(1, texts), LimitsConfig(**limits))
    return running, MovedClock(running, generation._keeping)


@with_fleet(llamacpp=SMALL)
async def test_the_time_of_a_wind_is_no_stall(fleet: FakeFleet) -> None:
    keeper = closed_keeper()
    running, clock = running_with(fleet, keeper, first_token_timeout_s=3600, inter_token_timeout_s=3600)
    answer = asyncio.create_task(whole_answer(running.follow()))
    await fleet.until(lambda: bool(keeper.calls), "the keeper works")
    clock.move(10_000)
    assert running.ended_at is None
    assert running.generation.winding_s == pytest.approx(10_000)  # a difference of two readings of the clock
    keeper.is_open.set()
    assert msgspec.json.decode(await answer, type=Texts).text


@with_fleet(llamacpp=SMALL)
async def test_the_limit_of_a_whole_request_holds_in_a_wind(fleet: FakeFleet) -> None:
    keeper = closed_keeper()
    running, clock = running_with(fleet, keeper, request_timeout_s=3600)
    answer = asyncio.create_task(whole_answer(running.follow()))
    await fleet.until(lambda: bool(keeper.calls), "the keeper works")
    clock.move(3601)
    with pytest.raises(DeadlineExceededError, match="longer than 3600 s"):
        await answer
    await fleet.until(lambda: keeper.was_cancelled, "the keeper is told")


def test_an_answer_has_what_it_asks_for_up_to_half_of_the_context_or_else_a_quarter() -> None:
    assert [answer_room(wanted, 1000) for wanted in (None, 0, 1, 300, 900)] == [250, 1, 1, 300, 500]
    assert answer_room(None, 3) == 1
