import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.request import Priority
from registry.engines import Engine, EngineKind
from router.errors import ModelLoadFailedError, UnavailableError
from router.models.model_request import ModelRequest
from router.models.targets import Choice, EngineReason, LocalArtifact, Target
from router.status import WorkerRef
from router.workers.waiting import MAX_RETRY_AFTER_S, Lease, Ticket, WaitingQueue

MLX, GGUF = (
    Target("m", Engine(EngineKind.MLX), LocalArtifact(1, "/m")),
    Target("m", Engine(EngineKind.LLAMACPP), LocalArtifact(2, "/m.gguf")),
)


def ticket(ticket_id: int, target: Target = MLX, *, priority: Priority = Priority.INTERACTIVE) -> Ticket:
    lease: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
    return Ticket(
        ticket_id,
        ModelRequest("m"),
        Choice(target, EngineReason.REQUEST),
        1,
        priority,
        None,
        float(ticket_id),
        lease,
    )


async def test_tickets_stay_in_order_of_arrival() -> None:
    queue = WaitingQueue()
    for ticket_id in (1, 2, 3):
        queue.add(ticket(ticket_id))
    assert queue.take(2) is not None
    assert queue.take(2) is None
    assert [request.ticket_id for request in queue.requests] == [1, 3]


async def test_a_failure_reaches_everybody_who_waits_for_that_target_and_nobody_else() -> None:
    queue = WaitingQueue()
    first, other, second = ticket(1), ticket(2, GGUF), ticket(3)
    for each in (first, other, second):
        queue.add(each)
    queue.fail_target(MLX, ModelLoadFailedError("bad tensor"))
    for failed in (first, second):
        with pytest.raises(ModelLoadFailedError, match="bad tensor"):
            await failed.lease
    assert [left.ticket_id for left in queue] == [2]
    assert not other.lease.done()


async def test_failing_a_ticket_whose_client_has_gone_does_no_harm() -> None:
    queue = WaitingQueue()
    gone = ticket(1)
    queue.add(gone)
    gone.lease.cancel()
    queue.fail(gone, UnavailableError("late"))
    assert len(queue) == 0


def serve(queue: WaitingQueue, duration_s: float, priority: Priority = Priority.INTERACTIVE) -> None:
    for _ in range(32):
        queue.on_served(priority, duration_s)


async def test_the_time_to_retry_is_what_those_ahead_take_at_the_measured_rate() -> None:
    queue = WaitingQueue()
    serve(queue, 2.0)
    for ticket_id in range(9):
        queue.add(ticket(ticket_id))
    assert queue.retry_after_s(Priority.INTERACTIVE, 1) == pytest.approx(20.0)
    assert queue.retry_after_s(Priority.INTERACTIVE, 4) == pytest.approx(5.0)


@given(
    service_s=st.floats(0, 1e4),
    num_places=st.integers(1, 64),
    priorities=st.lists(st.sampled_from(Priority), max_size=99),
)
def test_the_time_to_retry_never_falls_with_a_longer_queue_and_keeps_its_bounds(
    service_s: float, num_places: int, priorities: list[Priority]
) -> None:
    async def main() -> None:
        queue = WaitingQueue()
        serve(queue, service_s)
        serve(queue, service_s / 2, Priority.BACKGROUND)
        before = dict.fromkeys(Priority, 1.0)
        for ticket_id, priority in enumerate(priorities):
            queue.add(ticket(ticket_id, priority=priority))
            for each in Priority:
                now_s = queue.retry_after_s(each, num_places)
                assert before[each] <= now_s <= MAX_RETRY_AFTER_S
                before[each] = now_s

    asyncio.run(main())


async def test_background_work_ahead_is_no_reason_for_an_interactive_client_to_stay_away() -> None:
    queue = WaitingQueue()
    serve(queue, 2.0)
    serve(queue, 10.0, Priority.BACKGROUND)
    for ticket_id in range(5):
        queue.add(ticket(ticket_id, priority=Priority.BACKGROUND))
    queue.add(ticket(6))
    assert queue.retry_after_s(Priority.INTERACTIVE, 1) == pytest.approx(4.0)
    assert queue.retry_after_s(Priority.BACKGROUND, 2) == pytest.approx((2 + 5 * 10 + 10) / 2)


async def test_each_class_is_counted() -> None:
    queue = WaitingQueue()
    queue.add(ticket(1))
    queue.add(second := ticket(2, priority=Priority.BACKGROUND))
    assert [queue.num_waiting(priority) for priority in Priority] == [1, 1]
    queue.fail(second, UnavailableError("late"))
    queue.fail(second, UnavailableError("later"))
    queue.take(1)
    assert [queue.num_waiting(priority) for priority in Priority] == [0, 0]
    with pytest.raises(UnavailableError, match="late"):
        await second.lease


def test_a_lease_is_given_back_once() -> None:
    released = []
    lease = Lease(
        None,  # type: ignore[arg-type]  # not looked at
        Choice(MLX, EngineReason.REQUEST),
        WorkerRef(1, 2),
        queue_ms=0,
        load_ms=0,
        release=lambda: released.append(1),
    )
    lease.release()
    lease.release()
    assert released == [1]
