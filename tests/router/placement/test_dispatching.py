import pytest

from backends.wire.request import Priority
from registry.engines import Engine, EngineKind
from router.models.targets import LocalArtifact, Target
from router.placement.dispatching import Dispatch, dispatches_for, has_free_place, serving_order
from router.placement.lifecycle import WorkerState
from router.placement.situation import PlacedWorker, PlacementLimits, WaitingRequest, WorkerUse

LIMITS = PlacementLimits(swap_max_wait_s=10.0, swap_drain_timeout_s=30.0, background_max_wait_s=60.0)
TARGET = Target("m", Engine(EngineKind.MLX), LocalArtifact(1, "/m"))
INTERACTIVE, BACKGROUND = Priority.INTERACTIVE, Priority.BACKGROUND


def request(
    ticket_id: int,
    priority: Priority = INTERACTIVE,
    *,
    num: int = 1,
    at: float = 0.0,
    session_id: str | None = None,
    named: int | None = None,
) -> WaitingRequest:
    return WaitingRequest(ticket_id, TARGET, num, at, priority, session_id, named)


def worker(worker_id: int = 1, num_interactive: int = 0, num_background: int = 0) -> PlacedWorker:
    return PlacedWorker(worker_id, TARGET, WorkerState.READY, 0.0, 4, WorkerUse(num_interactive, num_background))


def served(
    requests: list[WaitingRequest], *workers: PlacedWorker, now: float = 1.0, affinity: dict[str, int] | None = None
) -> list[tuple[int, int]]:
    dispatches = dispatches_for(serving_order(requests, LIMITS, now), workers, LIMITS, now, affinity or {})
    assert all(isinstance(dispatch, Dispatch) for dispatch in dispatches)
    return [(dispatch.ticket_id, dispatch.worker_id) for dispatch in dispatches]


def test_background_work_that_has_aged_is_older_than_younger_interactive_requests() -> None:
    queue = [request(1, BACKGROUND, at=0), request(2, at=30), request(3, BACKGROUND, at=20), request(4, at=61)]
    assert [each.ticket_id for each in serving_order(queue, LIMITS, 59.0)] == [2, 4, 1, 3]
    assert [each.ticket_id for each in serving_order(queue, LIMITS, 60.0)] == [1, 2, 4, 3]


@pytest.mark.parametrize(
    ("priority", "now", "num_interactive", "num_background", "num_served"),
    [
        (INTERACTIVE, 1.0, 0, 4, 4),
        (INTERACTIVE, 1.0, 3, 4, 1),
        (INTERACTIVE, 1.0, 4, 0, 0),
        (BACKGROUND, 1.0, 0, 0, 4),
        (BACKGROUND, 1.0, 1, 2, 1),
        (BACKGROUND, 1.0, 4, 0, 0),
        (BACKGROUND, 60.0, 4, 3, 1),
        (BACKGROUND, 60.0, 0, 4, 0),
    ],
)
def test_the_places_of_each_class(
    priority: Priority, now: float, num_interactive: int, num_background: int, num_served: int
) -> None:
    queue = [request(number, priority) for number in range(9)]
    assert len(served(queue, worker(1, num_interactive, num_background), now=now)) == num_served


def test_a_request_larger_than_the_batch_waits_until_none_of_its_class_runs_and_blocks_only_its_class() -> None:
    queue = [request(1, num=9), request(2), request(3, BACKGROUND)]
    assert served(queue, worker(1, num_interactive=1)) == [(3, 1)]
    assert served(queue, worker(1, num_background=3)) == [(1, 1)]


def test_a_request_without_places_is_never_blocked() -> None:
    queue = [request(1, num=9), request(2, num=0)]
    assert served(queue, worker(1, num_interactive=4)) == [(2, 1)]


def test_the_least_loaded_worker_is_taken_and_among_equals_the_first() -> None:
    queue = [request(number) for number in range(4)]
    assert served(queue, worker(5, 1), worker(6, 0, 1), worker(7)) == [(0, 7), (1, 5), (2, 6), (3, 7)]


def test_a_session_goes_home_if_there_is_room_and_else_to_the_least_loaded() -> None:
    queue = [request(1, session_id="a"), request(2, session_id="a")]
    assert served(queue, worker(5, 2), worker(6), affinity={"a": 5}) == [(1, 5), (2, 5)]
    assert served(queue, worker(5, 3), worker(6), affinity={"a": 5}) == [(1, 5), (2, 6)]
    assert served(queue, worker(5), worker(6), affinity={"a": 99}) == [(1, 5), (2, 5)], "a new home holds at once"


def test_a_request_that_names_its_worker_gets_that_one_whatever_its_session_and_the_others_load() -> None:
    queue = [request(1, named=5, session_id="a"), request(2, session_id="a")]
    assert served(queue, worker(5, 3), worker(6), affinity={"a": 6}) == [(1, 5), (2, 6)]


def test_a_request_whose_worker_is_full_keeps_only_that_one_from_its_class() -> None:
    queue = [request(1, named=5), request(2), request(3, named=5), request(4, BACKGROUND), request(5, num=0, named=5)]
    assert served(queue, worker(5, 4), worker(6)) == [(2, 6), (5, 5), (4, 6)]
    assert served([request(1, named=9), request(2)], worker(5)) == [(2, 5)], "one that is not ready yet"


def test_a_place_is_free_when_those_ahead_leave_one() -> None:
    workers = [worker(1, 3, 1), worker(2, 4, 4)]
    assert has_free_place(INTERACTIVE, 0, workers)
    assert not has_free_place(INTERACTIVE, 1, workers)
    assert not has_free_place(BACKGROUND, 0, workers)
    assert has_free_place(BACKGROUND, 1, [worker(1, 1, 1)])
