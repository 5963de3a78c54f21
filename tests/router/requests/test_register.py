"""The register over a real fleet: readers that come, go and do not read; answers too long to be given again."""

import itertools
from typing import Any

import pytest

from backends.fake.engine import FakeOptions
from router.config import LimitsConfig
from router.errors import DeadlineExceededError, RequestCancelledError
from router.http.streaming import SSE
from router.requests.generation import GenerationEvent
from router.requests.leased import RequestFacts
from router.requests.register import RequestRegister, RunningRequest, whole_answer
from tests.support.fake_fleet import FakeFleet, make_config, with_fleet

FINGERPRINT = b"same"


class Lengths:
    """An encoder that says per batch how many events it had, in chunks of a settable size."""

    media_type = SSE
    keep_alive = None

    def __init__(self, size: int = 1) -> None:
        self._size = size

    def encode(self, events: list[GenerationEvent]) -> bytes:
        return str(len(events) % 10).encode() * self._size

    def tail(self) -> bytes:
        return b"."


class Front:
    """A register, and what it is given."""

    def __init__(self, fleet: FakeFleet, **limits: Any) -> None:
        self.register = RequestRegister()
        self._fleet = fleet
        self._limits = LimitsConfig(**({"reattach_s": 30} | limits))
        self._ids = (f"id-{number}" for number in itertools.count(1))

    def start(self, *, chunk_bytes: int = 1, max_tokens: int | None = 8) -> RunningRequest:
        facts = RequestFacts(request_id=next(self._ids), protocol="test", client="here", fingerprint=FINGERPRINT)
        generation = self._fleet.generation(max_tokens=max_tokens)
        return self.register.start(facts, generation, Lengths(chunk_bytes), self._limits)


@with_fleet(llamacpp=FakeOptions(decode_s=0.005))
async def test_a_request_is_found_again_only_while_nobody_reads_it(fleet: FakeFleet) -> None:
    front = Front(fleet)
    running = front.start()
    reading = running.follow()
    first = await anext(reading)
    assert front.register.attachable(FINGERPRINT) is None
    await reading.aclose()
    await reading.aclose()
    assert front.register.attachable(b"other") is None
    assert front.register.attachable(FINGERPRINT) is running
    answer = await whole_answer(running.follow())
    assert answer.startswith(first)
    assert answer.endswith(b".")
    assert front.register.attachable(FINGERPRINT) is None
    assert list(front.register) == []


@with_fleet(llamacpp=FakeOptions(decode_s=0.001))
async def test_an_answer_that_has_become_too_long_is_not_found_again(fleet: FakeFleet) -> None:
    front = Front(fleet)
    running = front.start(chunk_bytes=1 << 19, max_tokens=None)
    reading = running.follow()
    for _ in range(3):
        await anext(reading)
    await reading.aclose()
    assert front.register.attachable(FINGERPRINT) is None
    assert list(front.register) == []
    holder = fleet.holder
    assert holder is not None
    await fleet.until(lambda: holder.use.num_running == 0, "its place is free")


@with_fleet(make_config(parallel=1))
async def test_cancelling_frees_the_place_while_the_client_does_not_read(fleet: FakeFleet) -> None:
    front = Front(fleet)
    fleet.hold("decode")
    running = front.start(max_tokens=None)
    reading = running.follow()
    await anext(reading)
    running.cancel()
    assert list(front.register) == []
    await fleet.answer(max_tokens=1)
    with pytest.raises(RequestCancelledError):
        await whole_answer(reading)


class Clock:
    """The time of one request, which stands still until it is moved; then it is looked whether something is due."""

    def __init__(self, running: RunningRequest) -> None:
        self._running = running
        self._now = running._clock()
        running._clock = running.generation._clock = lambda: self._now

    def move(self, seconds: float) -> None:
        self._now += seconds
        self._running._on_timer()


@with_fleet(llamacpp=FakeOptions(decode_s=0.005))
async def test_silence_does_not_count_while_something_waits_for_a_client_that_does_not_read(fleet: FakeFleet) -> None:
    front = Front(fleet, inter_token_timeout_s=3600)
    running = front.start(max_tokens=None)
    clock = Clock(running)
    reading = running.follow()
    await anext(reading)
    await fleet.until(lambda: running.generation.has_unread, "something waits for it")
    clock.move(7200)
    assert list(front.register) == [running]
    for _ in range(20):
        await anext(reading)
    await reading.aclose()
    running.cancel()


@with_fleet(llamacpp=FakeOptions(decode_s=0.005))
async def test_an_answer_that_goes_on_is_not_stalled_however_long_it_takes(fleet: FakeFleet) -> None:
    running = Front(fleet, inter_token_timeout_s=3600).start()
    clock = Clock(running)
    async for _ in running.follow():
        clock.move(3000)


@with_fleet()
async def test_an_answer_that_stands_still_is_stalled(fleet: FakeFleet) -> None:
    fleet.hold("decode")
    running = Front(fleet, inter_token_timeout_s=3600).start()
    clock = Clock(running)
    reading = running.follow()
    await anext(reading)
    clock.move(3000)
    clock.move(600)
    with pytest.raises(DeadlineExceededError, match="no token came for 3600 s"):
        await anext(reading)


@with_fleet(llamacpp=FakeOptions(decode_s=0.005))
async def test_the_whole_request_has_its_limit_also_for_a_client_that_does_not_read(fleet: FakeFleet) -> None:
    await whole_answer(Front(fleet).start().follow())  # the load has no part in the time
    front = Front(fleet, request_timeout_s=0.5)
    reading = front.start(max_tokens=None).follow()
    with pytest.raises(DeadlineExceededError, match=r"0\.5 s"):  # noqa: PT012 - on a busy machine the first one
        await anext(reading)
        await fleet.until(lambda: list(front.register) == [], "it is over")
        await whole_answer(reading)
