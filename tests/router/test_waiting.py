import asyncio

import pytest

from backends.sequence import Priority
from router.errors import ModelLoadFailedError, UnavailableError
from router.targets import Choice, EngineReason, Target
from router.waiting import MAX_RETRY_AFTER_S, Lease, Ticket, WaitingQueue, Wish

MLX, GGUF = Target("m", "mlx", 1, "/m"), Target("m", "llamacpp", 2, "/m.gguf")


def ticket(ticket_id: int, target: Target = MLX) -> Ticket:
    lease: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
    return Ticket(
        ticket_id, Wish("m"), Choice(target, EngineReason.REQUEST), 1, Priority.INTERACTIVE, float(ticket_id), lease
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


def test_the_time_to_retry_follows_the_service_times_within_its_bounds() -> None:
    queue = WaitingQueue()
    assert 1 <= queue.expected_wait_s <= MAX_RETRY_AFTER_S
    for duration_s, expected_s in ((0.001, 1.0), (12.0, 12.0), (1e4, MAX_RETRY_AFTER_S)):
        for _ in range(32):
            queue.on_served(duration_s)
        assert queue.expected_wait_s == pytest.approx(expected_s)


def test_a_lease_is_given_back_once() -> None:
    released = []
    lease = Lease(
        None,  # type: ignore[arg-type]  # not looked at
        Choice(MLX, EngineReason.REQUEST),
        queue_ms=0,
        load_ms=0,
        release=lambda: released.append(1),
    )
    lease.release()
    lease.release()
    assert released == [1]
