"""When a sequence decodes outside mlx-lm's generator, and which models have no drafts at all."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backends.mlx.loaded import LoadedMLX
from backends.mlx.single import STEPS_WITHOUT
from backends.sequence import Sequence
from backends.step import Chunk, StepPlan
from backends.wire.load import DraftSpec, LoadSpec
from tests.support import tiny_hybrid, tiny_windowed
from tests.support.bare_engine import BareEngine, answer_of, load, text_ids


def loaded(path: Path, **more: Any) -> LoadedMLX:
    spec = LoadSpec(model_path=str(path), context_length=128, max_sequences=2, **more)
    engine = load("mlx", spec)
    assert isinstance(engine, LoadedMLX)
    return engine


@pytest.fixture
def bare(tiny_mlx: Path) -> Iterator[BareEngine]:
    engine = loaded(tiny_mlx)
    yield BareEngine(engine)
    engine.close()


def is_in_generator(bare: BareEngine, sequence: Sequence) -> bool:
    assert isinstance(bare.engine, LoadedMLX)
    return bare.engine._live[sequence.sequence_id].uid is not None


def step_drafted(bare: BareEngine, sequence: Sequence, draft: tuple[int, ...]) -> None:
    result = bare.engine.step(StepPlan((Chunk(sequence, sequence.num_computed, 1, draft),)), lambda: False)
    sequence.num_computed = result.num_computed[sequence.sequence_id]
    sequence.token_ids += result.tokens[sequence.sequence_id]


def test_it_stays_outside_for_some_steps_without_a_draft_and_goes_back(bare: BareEngine) -> None:
    expected = bare.fresh_answer(text_ids(12), 40)
    sequence = bare.insert(text_ids(12))
    bare.run(sequence, num_tokens=3)
    assert is_in_generator(bare, sequence)
    step_drafted(bare, sequence, tuple(expected[3:6]))
    assert sequence.num_output_tokens == 3 + 4
    assert not is_in_generator(bare, sequence)
    for _ in range(STEPS_WITHOUT):
        bare.step(sequence)
        assert not is_in_generator(bare, sequence)
    bare.run(sequence, num_tokens=40)
    assert is_in_generator(bare, sequence)
    assert answer_of(sequence)[:40] == expected


def test_it_goes_back_at_once_when_another_comes(bare: BareEngine) -> None:
    expected = bare.fresh_answer(text_ids(12), 30)
    other_expected = bare.fresh_answer(text_ids(9, seed=1), 10)
    sequence = bare.insert(text_ids(12))
    bare.run(sequence, num_tokens=3)
    step_drafted(bare, sequence, (expected[3], expected[4] ^ 1, expected[5]))
    assert sequence.num_output_tokens == 3 + 2
    other = bare.insert(text_ids(9, seed=1))
    bare.step(sequence, other)
    assert is_in_generator(bare, sequence)
    bare.run(sequence, other, num_tokens=10)
    bare.run(sequence, num_tokens=30)
    assert answer_of(sequence)[:30] == expected
    assert answer_of(other)[:10] == other_expected


@pytest.mark.parametrize("write_mlx", [tiny_windowed.write_mlx, tiny_hybrid.write_mlx], ids=["window", "states"])
def test_a_model_whose_cache_cannot_be_cut_has_no_drafts_and_says_why(write_mlx: Any, tmp_path: Path) -> None:
    engine = loaded(write_mlx(tmp_path / "model"))
    assert engine.model.why_no_drafts == "this model's cache cannot be cut behind a draft that turned out wrong"
    engine.close()


def test_a_draft_model_is_not_loaded_here_and_that_is_said(tiny_mlx: Path) -> None:
    engine = loaded(tiny_mlx, draft=DraftSpec(name="small", model_path=str(tiny_mlx)))
    assert (engine.drafter, engine.model.draft) == (None, None)
    assert engine.model.why_no_draft_model == "a second model drafts on llamacpp only"
    assert engine.model.why_no_drafts is None
    engine.close()
