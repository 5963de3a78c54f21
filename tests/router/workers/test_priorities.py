"""Interactive and background requests at the supervisor's gate, over real worker processes of the fake engine."""

import asyncio
import time

from backends.fake.engine import FakeOptions
from backends.wire.request import Priority
from registry.engines import EngineSetting
from router.errors import QueueFullError, UnavailableError
from router.models.model_request import ModelRequest
from router.workers.waiting import Lease
from tests.support.fake_fleet import FakeFleet, make_config, with_fleet

BACKGROUND, INTERACTIVE = Priority.BACKGROUND, Priority.INTERACTIVE


def asked(fleet: FakeFleet, priority: Priority, model: str = "m", num_sequences: int = 1) -> "asyncio.Task[Lease]":
    name, _, engine = model.partition("@")
    return asyncio.create_task(
        fleet.supervisor.lease(ModelRequest(name, EngineSetting(engine) if engine else None), num_sequences, priority)
    )


async def num_waiting(fleet: FakeFleet, number: int) -> None:
    await fleet.until(lambda: len(fleet.supervisor.waiting) == number, f"{number} wait")


@with_fleet(make_config(parallel=4))
async def test_an_interactive_request_is_served_while_background_work_fills_the_batch(fleet: FakeFleet) -> None:
    expected = await fleet.answer(max_tokens=120)
    fleet.hold("decode")
    ended: list[str] = []

    async def serve(name: str, num_tokens: int, priority: Priority) -> str:
        text = await fleet.answer(max_tokens=num_tokens, priority=priority)
        ended.append(name)
        return text

    jobs = [asyncio.create_task(serve("job", 120, BACKGROUND)) for _ in range(6)]
    await fleet.until(lambda: fleet.ready[0].use.num_background == 4, "the batch is full")
    chat = asyncio.create_task(serve("chat", 5, INTERACTIVE))
    await fleet.until(lambda: fleet.ready[0].use.num_interactive == 1, "it is let in")
    fleet.let_go("decode")
    assert len(await chat) == 5
    assert [await job for job in jobs] == [expected] * 6, "it took nothing from them"
    assert ended[0] == "chat", "it overtook all of them"


@with_fleet(make_config(parallel=1))
async def test_interactive_requests_overtake_background_ones_and_keep_their_order(fleet: FakeFleet) -> None:
    holder = await asked(fleet, INTERACTIVE)
    order: list[str] = []

    async def take_turn(name: str, priority: Priority) -> None:
        lease = await fleet.supervisor.lease(ModelRequest("m"), 1, priority)
        order.append(name)
        lease.release()

    turns = []
    for name, priority in (
        ("job 1", BACKGROUND),
        ("chat 1", INTERACTIVE),
        ("job 2", BACKGROUND),
        ("chat 2", INTERACTIVE),
    ):
        turns.append(asyncio.create_task(take_turn(name, priority)))
        await num_waiting(fleet, len(turns))
    holder.release()
    await asyncio.gather(*turns)
    assert order == ["chat 1", "chat 2", "job 1", "job 2"]


@with_fleet(make_config(parallel=2, background_max_wait_s=0.2))
async def test_background_work_that_has_aged_is_let_in_beside_a_full_batch(fleet: FakeFleet) -> None:
    chats = [await asked(fleet, INTERACTIVE) for _ in range(2)]
    started_at = time.monotonic()
    job = await asked(fleet, BACKGROUND)
    assert time.monotonic() - started_at >= 0.2
    assert (fleet.ready[0].use.num_interactive, fleet.ready[0].use.num_background) == (2, 1)
    for lease in [*chats, job]:
        lease.release()


@with_fleet(make_config(parallel=1, max_queue=2, max_queue_background=3))
async def test_each_class_has_a_queue_of_its_own(fleet: FakeFleet) -> None:
    holder = await asked(fleet, INTERACTIVE)
    jobs = [asked(fleet, BACKGROUND) for _ in range(5)]
    await num_waiting(fleet, 3)
    chats = [asked(fleet, INTERACTIVE) for _ in range(4)]
    await num_waiting(fleet, 5)
    for refused in [*jobs[3:], *chats[2:]]:
        error = (await asyncio.wait([refused]))[0].pop().exception()
        assert isinstance(error, QueueFullError)
        assert error.retry_after_s is not None
        assert 1 <= error.retry_after_s <= 60
    holder.release()
    for granted in [*chats[:2], *jobs[:3]]:
        (await granted).release()


@with_fleet(make_config(parallel=1, max_queue=1))
async def test_the_time_to_retry_follows_the_rate_that_was_measured(fleet: FakeFleet) -> None:
    durations_s = []
    for _ in range(40):
        started_at = time.monotonic()
        await fleet.answer(max_tokens=1)
        durations_s.append(time.monotonic() - started_at)
    holder, waiting = await asked(fleet, INTERACTIVE), asked(fleet, INTERACTIVE)
    await num_waiting(fleet, 1)
    _, error = await fleet.outcome()
    assert isinstance(error, QueueFullError)
    assert error.retry_after_s is not None
    assert 1.0 <= error.retry_after_s <= max(1.0, 2 * max(durations_s[1:])), "the first one waited for the load"
    holder.release()
    (await waiting).release()


@with_fleet(make_config(parallel=1, queue_timeout_s=3600, queue_timeout_background_s=0.2))
async def test_each_class_has_a_longest_wait_of_its_own(fleet: FakeFleet) -> None:
    holder = await asked(fleet, INTERACTIVE)
    chat, job = asked(fleet, INTERACTIVE), asked(fleet, BACKGROUND)
    await asyncio.wait([job])
    assert isinstance(job.exception(), UnavailableError)
    assert not chat.done()
    holder.release()
    (await chat).release()


@with_fleet(make_config(swap_max_wait_s=3600.0))
async def test_background_work_for_another_model_waits_until_the_conversation_pauses(fleet: FakeFleet) -> None:
    await fleet.answer()
    job = asyncio.create_task(fleet.answer("m@mlx", priority=BACKGROUND))
    await num_waiting(fleet, 1)
    for _ in range(20):
        await fleet.answer()
    assert fleet.num_launches["mlx"] == 0
    fleet.set_config(make_config(swap_max_wait_s=0.1))
    await job
    assert fleet.num_launches == {"llamacpp": 1, "mlx": 1}


@with_fleet(make_config(swap_max_wait_s=0.2, background_max_wait_s=0.5), llamacpp=FakeOptions(decode_s=0.001))
async def test_a_conversation_without_a_pause_yields_to_background_work_that_has_aged(fleet: FakeFleet) -> None:
    await fleet.answer()
    job = asyncio.create_task(fleet.answer("m@mlx", priority=BACKGROUND))
    while not job.done():
        await asyncio.gather(*(fleet.answer() for _ in range(3)))
    assert fleet.num_launches["mlx"] == 1


@with_fleet(make_config(parallel=1))
async def test_a_question_takes_no_place_and_waits_for_none(fleet: FakeFleet) -> None:
    holder, waiting = await asked(fleet, INTERACTIVE), asked(fleet, INTERACTIVE)
    (await asked(fleet, INTERACTIVE, num_sequences=0)).release()
    assert not waiting.done()
    holder.release()
    (await waiting).release()
