"""Kept caches of a model that has a state instead of a cache: it cannot be cut, only begun with as a whole."""

from collections.abc import Iterator
from pathlib import Path

import llama_cpp
import pytest

from backends.llamacpp.loaded import LoadedLlamaCpp
from backends.wire.load import LoadSpec
from tests.support import tiny_recurrent
from tests.support.bare_engine import BareEngine, load, text_ids

PROMPT = text_ids(100)
OTHER = text_ids(30, seed=1)
NUM = 12


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[BareEngine]:
    path = tiny_recurrent.write_gguf(tmp_path / "recurrent.gguf")
    spec = LoadSpec(
        model_path=str(path), context_length=256, max_sequences=4, kv_cells=512, step_tokens=64, num_threads=1
    )
    engine = load("llamacpp", spec)
    yield BareEngine(engine)
    engine.close()


def test_the_library_says_what_it_is(bare: BareEngine) -> None:
    assert isinstance(bare.engine, LoadedLlamaCpp)
    assert llama_cpp.llama_model_is_recurrent(bare.engine._model)
    assert not bare.engine.limits.can_cut_cache
    assert bare.engine.model.why_no_drafts == "this model's cache cannot be cut behind a draft that turned out wrong"
    assert bare.engine.limits.num_live == 4, "each costs memory"
    assert bare.engine.limits.num_slots == 4 + 24, "what is retired is beside the memory"


@pytest.mark.parametrize("is_retired", [True, False])
def test_a_whole_state_begins_another_sequence(bare: BareEngine, *, is_retired: bool) -> None:
    source = bare.insert(PROMPT)
    bare.run(source, num_tokens=NUM)
    num_tokens = bare.retire(source) if is_retired else source.num_computed
    assert num_tokens == len(source.token_ids) - 1
    text = source.token_ids + OTHER
    expected = bare.fresh_answer(text, NUM)
    for _ in range(2):
        assert bare.forked_answer(source, num_tokens, text, NUM) == expected


def test_a_source_that_goes_on_does_not_change_its_fork(bare: BareEngine) -> None:
    expected = bare.fresh_answer(PROMPT, 30)
    text = PROMPT + OTHER
    fork_expected = bare.fresh_answer(text, NUM)
    source = bare.insert(PROMPT)
    bare.step(source)
    bare.step(source)
    assert source.num_computed == len(PROMPT)
    fork = bare.fork(source, len(PROMPT), text)
    assert fork is not None
    for num in range(2, NUM):
        bare.run(source, num_tokens=num + 5)
        bare.run(fork, num_tokens=num)
    assert bare.run(source, num_tokens=30) == [expected]
    assert bare.run(fork, num_tokens=NUM) == [fork_expected]


@pytest.mark.parametrize("is_retired", [True, False])
@pytest.mark.parametrize("surplus", [-50, -1, 1])
def test_anything_but_the_whole_is_refused_and_leaves_all_sound(
    bare: BareEngine, surplus: int, *, is_retired: bool
) -> None:
    source = bare.insert(PROMPT)
    bare.run(source, num_tokens=NUM)
    num_tokens = bare.retire(source) if is_retired else source.num_computed
    text = source.token_ids + OTHER
    assert bare.fork(source, num_tokens + surplus, text) is None
    assert bare.forked_answer(source, num_tokens, text, NUM) == bare.fresh_answer(text, NUM)


def test_held_sequences_go_on_where_they_were(bare: BareEngine) -> None:
    expected = [bare.fresh_answer(ids, 20) for ids in (PROMPT, OTHER)]
    first, second = bare.insert(PROMPT), bare.insert(OTHER)
    bare.step(first)
    for num in range(1, 20, 3):
        bare.run(second, num_tokens=num)
        bare.run(first, num_tokens=num)
    assert bare.run(first, second, num_tokens=20) == expected


def test_a_saved_state_is_the_beginning_of_the_same_text(bare: BareEngine, tmp_path: Path) -> None:
    source = bare.insert(PROMPT)
    bare.run(source, num_tokens=NUM)
    num_tokens = bare.retire(source)
    assert bare.engine.save_cache(source.sequence_id, tmp_path / "state")
    bare.remove(source)
    text = source.token_ids + OTHER
    loaded_id = bare.new_id()
    assert bare.engine.load_cache(tmp_path / "state", loaded_id, text) == num_tokens
    assert bare.forked_answer(loaded_id, num_tokens, text, NUM) == bare.fresh_answer(text, NUM)


def test_more_are_kept_than_there_are_slots_for_states(bare: BareEngine) -> None:
    """What is retired is beside the memory."""
    expected = bare.fresh_answer(OTHER, NUM)
    for seed in range(10):
        sequence = bare.insert(text_ids(20, seed))
        bare.run(sequence, num_tokens=1)
        assert bare.retire(sequence) == 20
    running = [bare.insert(OTHER) for _ in range(4)]
    assert bare.run(*running, num_tokens=NUM) == [expected] * 4


def test_the_model_listens_to_its_prompt(bare: BareEngine) -> None:
    """Otherwise all of the above would say nothing."""
    answers = {tuple(bare.fresh_answer(text_ids(60, seed) + OTHER, NUM)) for seed in range(4)}
    assert len(answers) == 4
