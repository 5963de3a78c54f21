"""What a batcher counts is what it did."""

import dataclasses

from msgspec.structs import replace

from backends.batch_limits import BatchLimits
from backends.batching.counts import BatchCounts
from backends.wire.request import Priority
from tests.support.cell_engine import Driven, sequence_of

LIMITS = BatchLimits(max_sequences=2, num_slots=8, num_cells=1000, step_tokens=50, background_max_wait_s=60)
PROMPT = [5] * 30


def driven_of(**changed: float) -> Driven:
    return Driven(dataclasses.replace(LIMITS, **changed))  # type: ignore[arg-type]


def beside_steps(driven: Driven) -> BatchCounts:
    return replace(driven.batcher.counts, num_steps=0, num_step_sequences=0)


def test_steps_and_who_took_part() -> None:
    driven = driven_of()
    driven.add(sequence_of(1, 10, 3))
    driven.add(sequence_of(2, 10, 1))
    driven.run()
    assert driven.batcher.counts == BatchCounts(num_steps=3, num_step_sequences=4)


def test_who_loses_cells_to_the_growth_of_others_is_evicted() -> None:
    driven = driven_of(num_cells=60)
    driven.add(sequence_of(1, 20, 30))
    driven.add(sequence_of(2, 20, 20))
    driven.run()
    assert driven.evicted == [2]
    assert beside_steps(driven) == BatchCounts(num_evictions=1)


def test_who_loses_cells_to_one_that_goes_before_is_preempted() -> None:
    driven = driven_of(num_cells=100)
    for i in (1, 2):
        driven.add(sequence_of(i, 30, 9, Priority.BACKGROUND))
    driven.step()
    driven.add(sequence_of(3, 80, 9))
    driven.run()
    assert sorted(driven.evicted) == [1, 2]
    assert beside_steps(driven) == BatchCounts(num_preemptions=2)


def test_kept_caches_that_make_room_are_dropped() -> None:
    driven = driven_of(num_retired_tokens=50)
    for i in (1, 2, 3):
        driven.add(sequence_of(i, 30, 1))
        driven.run()
    assert driven.dropped == [1, 2]
    assert beside_steps(driven) == BatchCounts(num_dropped=2)


def test_kept_caches_that_are_given_back_are_dropped() -> None:
    driven = driven_of(num_retired_tokens=1000)
    for i in (1, 2, 3):
        driven.add(sequence_of(i, 30, 1))
        driven.run()
    assert len(driven.batcher.drop_retired(0.5, driven.now)) == 2
    assert beside_steps(driven) == BatchCounts(num_dropped=2)


def test_forks_that_an_engine_could_do_count_and_refused_ones_do_not() -> None:
    driven = driven_of(num_retired_tokens=1000)
    driven.add(sequence_of(1, [*PROMPT, 1], 1))
    driven.run()
    driven.add(sequence_of(2, [*PROMPT, 2], 1))
    driven.step(can_fork=lambda: False)
    assert beside_steps(driven) == BatchCounts()
    driven.add(sequence_of(3, [*PROMPT, 3], 1))
    driven.run()
    assert [fork.target_id for fork in driven.forked] == [3]
    assert beside_steps(driven) == BatchCounts(num_forks=1)
