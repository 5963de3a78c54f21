"""Ranks that have done the same have the same digest, and others have not."""

from backends.mlx.ranks.ledger import Ledger
from backends.mlx.ranks.versions import version_clash
from backends.step import StepResult


def ledger_of(*outcomes: object) -> int:
    ledger = Ledger()
    for outcome in outcomes:
        ledger.note(outcome)
    return ledger.value


def test_the_same_outcomes_in_the_same_order_agree() -> None:
    assert ledger_of(True, 7) == ledger_of(True, 7) != 0


def test_another_outcome_or_order_does_not() -> None:
    assert len({ledger_of(True, 7), ledger_of(False, 7), ledger_of(7, True), ledger_of(True)}) == 4


def test_a_step_agrees_by_how_far_it_came_whatever_rank_0_alone_knows() -> None:
    one, other, further = Ledger(), Ledger(), Ledger()
    one.note_step(StepResult(num_computed={1: 5, 2: 6}, tokens={1: [9]}))
    other.note_step(StepResult(num_computed={2: 6, 1: 5}))
    further.note_step(StepResult(num_computed={1: 5, 2: 7}))
    assert one.value == other.value != further.value


def test_versions_that_differ_are_named() -> None:
    ours = {"mlxr": "1", "mlx": "0.32.4"}
    assert version_clash(ours, dict(ours)) is None
    assert version_clash(ours, {"mlxr": "1", "mlx": "0.31.0"}) == "mlx 0.31.0 (here 0.32.4)"
    assert version_clash(ours, {"mlxr": "1"}) == "mlx ? (here 0.32.4)"
