import itertools

import pytest

from router.placement.lifecycle import TRANSITIONS, WorkerState, check_transition

LISTED = {
    ("starting", "standby"),
    ("standby", "loading"),
    ("loading", "ready"),
    ("ready", "draining"),
    ("draining", "ready"),
    *((state, "stopping") for state in ("starting", "standby", "loading", "ready", "draining")),
    *((state, "gone") for state in ("starting", "standby", "loading", "ready", "draining", "stopping")),
}


@pytest.mark.parametrize(("old", "new"), list(itertools.product(WorkerState, WorkerState)))
def test_exactly_the_listed_steps_are_allowed(old: WorkerState, new: WorkerState) -> None:
    if (old.value, new.value) in LISTED:
        assert check_transition(old, new) is new
    else:
        with pytest.raises(AssertionError, match=f"from {old} to {new}"):
            check_transition(old, new)


def test_every_state_has_a_row_and_can_end() -> None:
    assert set(TRANSITIONS) == set(WorkerState)
    for state in set(WorkerState) - {WorkerState.GONE}:
        assert WorkerState.GONE in TRANSITIONS[state]
