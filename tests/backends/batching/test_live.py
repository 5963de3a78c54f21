"""The order of live sequences: what the batcher's own tests do not reach."""

from backends.batching.live import LiveSequences
from backends.wire.request import Priority
from tests.support.cell_engine import sequence_of


def test_a_slice_counts_although_others_wait_before_it() -> None:
    """Who goes on takes the old place in the queue, and may push one with a slice out of the places that are meant."""
    live = LiveSequences()
    first, second, third = (
        live.add(sequence_of(number, 4, 4, Priority.BACKGROUND), now)
        for number, now in ((1, 0.0), (2, 50.0), (3, 10.0))
    )
    live.add(sequence_of(4, 4, 4), 0.0)
    live.pause(1)
    live.grant_slices(70.0, 60.0, num_places=2)
    assert [member.is_urgent for member in (first, second, third)] == [False, False, True]
    live.resume(1, 5.0)
    live.grant_slices(70.0, 60.0, num_places=2)
    assert [member.is_urgent for member in (first, second, third)] == [False, False, True]
