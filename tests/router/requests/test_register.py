"""The register over a real fleet: readers that come, go and do not read; answers too long to be given again."""

import asyncio
import itertools
import random
from typing import Any

import msgspec
import pytest

from backends.fake.engine import FakeOptions
from router.config import LimitsConfig
from router.errors import DeadlineExceededError, EngineCrashedError, RequestCancelledError
from router.http.streaming import SSE
from router.requests.collected import WholeAnswer
from router.requests.generation import Generation, GenerationEvent
from router.requests.leased import RequestFacts
from router.requests.register import AnswerEncoder, RequestRegister, RunningRequest, whole_answer
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
        return self._start(self._fleet.generation(max_tokens=max_tokens), Lengths(chunk_bytes))

    def start_whole(self, **request: Any) -> RunningRequest:
        """Start one whose answer is one body: its texts."""
        generation = self._fleet.generation(**request)
        return self._start(
            generation,
            WholeAnswer(generation.request.num_sequences, lambda outputs: Texts([output.text for output in outputs])),
        )

    def _start(self, generation: Generation, encoder: AnswerEncoder) -> RunningRequest:
        facts = RequestFacts(request_id=next(self._ids), protocol="test", client="here", fingerprint=FINGERPRINT)
        return self.register.start(facts, generation, encoder, self._limits)


class Texts(msgspec.Struct):
    texts: list[str]


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


@with_fleet()
async def test_a_client_that_is_going_when_it_asks_again_is_waited_for_and_one_that_stays_is_not(
    fleet: FakeFleet,
) -> None:
    front = Front(fleet)
    fleet.hold("decode")
    running = front.start()
    reader = asyncio.create_task(whole_answer(running.follow()))
    await front.register.let_leave(FINGERPRINT)
    assert front.register.attachable(FINGERPRINT) is None
    asyncio.get_running_loop().call_soon(reader.cancel)
    await front.register.let_leave(FINGERPRINT)
    assert front.register.attachable(FINGERPRINT) is running
    running.cancel()


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
    num_pieces = 0
    async for _ in running.follow():
        clock.move(3000)
        num_pieces += 1
    assert num_pieces >= 2, "in all it took longer than the limit"


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


# ---- workers that die ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_choices", [1, 3])
@pytest.mark.parametrize("token", [0, 1, 7])
@with_fleet()
async def test_a_whole_answer_begins_again_on_the_next_worker(fleet: FakeFleet, token: int, num_choices: int) -> None:
    front = Front(fleet)
    expected = await whole_answer(front.start_whole(num_choices=num_choices).follow())
    await stopped(fleet)
    fleet.scripts["llamacpp"] = [FakeOptions(crash_at_token=token), FakeOptions()]
    running = front.start_whole(num_choices=num_choices)
    assert await whole_answer(running.follow()) == expected
    assert running.generation.has_begun_again
    assert fleet.num_launches["llamacpp"] == 3
    assert list(front.register) == []


@pytest.mark.parametrize("tokens", [(3, 5), (0, 5), (5, 0)])
@with_fleet()
async def test_a_whole_answer_whose_second_worker_dies_too_is_an_error(
    fleet: FakeFleet, tokens: tuple[int, int]
) -> None:
    front = Front(fleet)
    fleet.scripts["llamacpp"] = [*(FakeOptions(crash_at_token=token) for token in tokens), FakeOptions()]
    with pytest.raises(EngineCrashedError):
        await whole_answer(front.start_whole().follow())
    assert fleet.num_launches["llamacpp"] == 2
    assert list(front.register) == []


@with_fleet(llamacpp=FakeOptions(crash_at_token=3))
async def test_a_whole_answer_that_is_cancelled_does_not_begin_again(fleet: FakeFleet) -> None:
    front = Front(fleet)
    fleet.hold("token-2")
    running = front.start_whole()
    reading = asyncio.create_task(whole_answer(running.follow()))
    await fleet.until(lambda: running.generation.has_output, "it has begun")
    running.cancel()
    fleet.let_go("token-2")
    with pytest.raises(RequestCancelledError):
        await reading
    assert fleet.num_launches["llamacpp"] == 1


@pytest.mark.parametrize("seed", [1, 2])
@with_fleet(make_config(parallel=8))
async def test_kills_among_mixed_work_cost_no_whole_answer(fleet: FakeFleet, seed: int) -> None:
    """The worker is killed at named steps; each request meets one death at most."""
    front = Front(fleet, reattach_s=0)
    rng = random.Random(seed)
    expected = await whole_answer(front.start_whole(max_tokens=12).follow())
    for _ in range(4):
        step = rng.choice([0, 1, 4, 9])
        gate = f"token-{step}" if step else "prefill"
        fleet.hold(gate)
        work = [front.start_whole(max_tokens=12) if rng.random() < 0.7 else front.start() for _ in range(6)]
        answers = [asyncio.create_task(whole_answer(running.follow())) for running in work]
        await fleet.until(lambda: is_at(work, step), f"a sequence is at token {step}")  # noqa: B023 - awaited at once
        fleet.kill()
        fleet.let_go(gate)
        for running, answer in zip(work, await asyncio.gather(*answers, return_exceptions=True), strict=True):
            if running.encoder.media_type is None:
                assert answer == expected
            else:
                assert isinstance(answer, bytes | EngineCrashedError)


@with_fleet()
async def test_a_load_that_is_killed_is_tried_once_more(fleet: FakeFleet) -> None:
    front = Front(fleet)
    for _ in range(2):
        fleet.hold("load")
        answer = asyncio.create_task(whole_answer(front.start_whole().follow()))
        await fleet.until(lambda: fleet.state == "loading", "it loads")
        fleet.kill()
        await fleet.until(lambda: fleet.num_launches["llamacpp"] % 2 == 0, "another worker is started")
        fleet.let_go("load")
        assert b"texts" in await answer
        await stopped(fleet)


def is_at(work: list[RunningRequest], step: int) -> bool:
    seen = [progress for running in work for progress in running.generation.progress]
    return bool(seen) and max(progress.num_output_tokens for progress in seen) >= step


async def stopped(fleet: FakeFleet) -> None:
    await fleet.supervisor.stop_model("m")
    assert fleet.holder is None
