"""What every engine that sees promises of pictures, and that both see the same: equal rows, equal answers."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from backends.embedding import Floats
from backends.errors import LoadError
from backends.prompting.intake import PreparedPrompt
from backends.sequence import Sequence
from tests.backends.conftest import REAL_ENGINES
from tests.backends.contract.conftest import See, Seeing, picture
from tests.support.bare_engine import BareEngine, answer_of, load
from tests.support.image_prompts import user
from tests.support.tiny_vision import patchwork
from tests.support.tiny_vision.families import WIDTH

pytestmark = pytest.mark.slow

NUM_TOKENS = 16
TEXT = "The quick brown fox jumps over the lazy dog."


@pytest.fixture
def bare(seeing: Seeing) -> Iterator[BareEngine]:
    bare = BareEngine(seeing.engine)
    yield bare
    bare.close()


def asked(seeing: Seeing, seed: int = 1, question: str = "What is it?") -> PreparedPrompt:
    """Return a prompt of one picture, in one tile, and a question."""
    return seeing.prompts.chat(user("Look: ", picture(seeing.family, seed), question, max_side=64))


def insert(bare: BareEngine, prompt: PreparedPrompt) -> Sequence:
    return bare.insert(prompt.token_ids, spans=prompt.spans)


def fresh(bare: BareEngine, prompt: PreparedPrompt, num_tokens: int = NUM_TOKENS) -> list[int]:
    return bare.fresh_answer(prompt.token_ids, num_tokens, spans=prompt.spans)


def rows_of(seeing: Seeing, seed: int = 1) -> Floats:
    """Return the rows of a picture that nothing is known of."""
    tile = seeing.prompts.tile(picture(seeing.family, seed))
    assert seeing.engine.encode(tile, lambda: False)
    assert tile.rows is not None
    assert tile.rows.dtype == np.float32
    assert tile.rows.shape[0] == tile.size
    return tile.rows


def cosine(one: Floats, other: Floats) -> float:
    norms = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    return float(((one * other).sum(-1) / norms).min())


# ---- both engines ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
def test_both_engines_make_the_same_rows(family: str, seed: int, see: See) -> None:
    ours, theirs = (rows_of(see(name, family), seed) for name in REAL_ENGINES)
    scale = np.sqrt(WIDTH) if family == "gemma3" else 1.0  # which MLX multiplies all that is no token by as well
    assert cosine(ours, theirs) > 0.9999
    assert np.abs(ours - theirs * scale).max() < 0.01


def test_drafts_behind_a_picture_change_nothing(family: str, see: See) -> None:
    engine = see("llamacpp", family)
    bare = BareEngine(engine.engine)
    prompt = asked(engine)
    right = fresh(bare, prompt)
    for spoilt_every in (1, 3, 100):
        sequence = insert(bare, prompt)
        assert bare.run_drafted(sequence, right, spoilt_every=spoilt_every) == right
    bare.close()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_both_engines_give_the_same_answer(family: str, seed: int, see: See) -> None:
    answers = []
    for engine in (see(name, family) for name in REAL_ENGINES):
        bare = BareEngine(engine.engine)
        answers.append(fresh(bare, asked(engine, seed)))
        bare.close()
    assert answers[0] == answers[1]


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_both_engines_make_the_same_rows_of_larger_pictures(family: str, see: See) -> None:
    """Larger than one of the windows that Qwen2.5's tower has."""
    rows = []
    for engine in (see(name, family) for name in REAL_ENGINES):
        tile = engine.prompts.tile(patchwork(1, 224, 170))
        assert min(tile.grid) > 4
        assert engine.engine.encode(tile, lambda: False)
        assert tile.rows is not None
        rows.append(tile.rows)
    assert cosine(*rows) > 0.9999


def test_both_engines_give_the_same_answer_to_many_tiles(see: See) -> None:
    answers = []
    for engine in (see(name, "idefics3") for name in REAL_ENGINES):
        bare = BareEngine(engine.engine)
        prompt = engine.prompts.chat(user("Look: ", patchwork(1, 200, 120), "What is it?"))
        assert len(prompt.spans) > 2
        answers.append(fresh(bare, prompt))
        bare.close()
    assert answers[0] == answers[1]


# ---- each engine ----------------------------------------------------------------------------------------------------


def test_pictures_change_the_answer(seeing: Seeing, bare: BareEngine) -> None:
    one, other = fresh(bare, asked(seeing, 1)), fresh(bare, asked(seeing, 2))
    assert one != other
    assert fresh(bare, asked(seeing, 1)) == one


def test_many_at_once_give_what_each_gives_alone(seeing: Seeing, bare: BareEngine) -> None:
    """Two pictures, the first one again behind a longer text, and a text, in small steps."""
    longer = seeing.prompts.chat(user(TEXT, picture(seeing.family, 1), "And this?", max_side=64))
    text = seeing.prompts.chat({"role": "user", "content": TEXT})
    prompts = [asked(seeing, 1), asked(seeing, 2), longer, text]
    expected = [fresh(bare, prompt) for prompt in prompts]
    for max_tokens in (64, 33):
        sequences = [insert(bare, prompt) for prompt in prompts]
        assert bare.run(*sequences, num_tokens=NUM_TOKENS, max_tokens=max_tokens) == expected
        for sequence in sequences:
            bare.remove(sequence)


def test_small_chunks_give_what_large_ones_give(seeing: Seeing, bare: BareEngine) -> None:
    prompt = asked(seeing)
    expected = fresh(bare, prompt)
    sequence = insert(bare, prompt)
    max_tokens = max(span.tile.size for span in prompt.spans) if prompt.spans[0].is_whole else 5
    assert bare.run(sequence, num_tokens=NUM_TOKENS, max_tokens=max_tokens) == [expected]


def test_two_pictures_in_one_prompt_and_one_in_the_next_turn(seeing: Seeing, bare: BareEngine) -> None:
    first = user(picture(seeing.family, 1), picture(seeing.family, 2), "Which one?", max_side=64)
    second = user("And this: ", picture(seeing.family, 3), max_side=64)
    whole = seeing.prompts.chat(first, {"role": "assistant", "content": "That."}, second)
    assert len(whole.spans) == 3
    expected = fresh(bare, whole)
    beginning = seeing.prompts.chat(first)
    source = insert(bare, beginning)
    bare.run(source, num_tokens=2)
    num_alike = len(beginning.token_ids)
    assert whole.token_ids[:num_alike] == beginning.token_ids
    target = bare.fork(source, num_alike, whole.token_ids, spans=whole.spans)
    assert target is not None
    assert bare.run(target, num_tokens=NUM_TOKENS) == [expected]


@pytest.mark.parametrize("is_retired", [False, True], ids=["held", "retired"])
def test_a_fork_behind_the_picture_is_as_if_fresh(seeing: Seeing, bare: BareEngine, *, is_retired: bool) -> None:
    """Another question on the same picture goes on right behind it."""
    first, other = asked(seeing, question="What is it?"), asked(seeing, question="Which colours are in it?")
    expected = fresh(bare, other)
    source = insert(bare, first)
    bare.run(source, num_tokens=4)
    if is_retired:
        assert bare.retire(source) >= source.num_computed
    end = other.spans[-1].end
    target = bare.fork(source.sequence_id, end, other.token_ids, spans=other.spans)
    assert target is not None
    assert bare.run(target, num_tokens=NUM_TOKENS) == [expected]


def test_a_fork_before_the_picture_is_as_if_fresh(seeing: Seeing, bare: BareEngine) -> None:
    """Another picture shares only the text before it."""
    first, other = asked(seeing, 1), asked(seeing, 2)
    start = other.spans[0].start
    assert first.token_ids[:start] == other.token_ids[:start]
    assert first.token_ids[start] != other.token_ids[start]
    expected = fresh(bare, other)
    source = insert(bare, first)
    bare.run(source, num_tokens=4)
    target = bare.fork(source, start, other.token_ids, spans=other.spans)
    assert target is not None
    assert bare.run(target, num_tokens=NUM_TOKENS) == [expected]


def test_retired_sequences_go_on_where_they_were(seeing: Seeing, bare: BareEngine) -> None:
    prompt = asked(seeing)
    expected = fresh(bare, prompt)
    source = insert(bare, prompt)
    bare.run(source, num_tokens=4)
    token_ids = list(source.token_ids)
    assert bare.retire(source) >= source.num_computed
    target = bare.fork(source.sequence_id, len(token_ids) - 1, token_ids, spans=prompt.spans)
    assert target is not None
    (rest,) = bare.run(target, num_tokens=NUM_TOKENS - 4)
    assert [*token_ids[-4:], *rest] == expected


def test_a_sequence_that_ends_within_a_picture_keeps_what_is_before_it(seeing: Seeing, bare: BareEngine) -> None:
    prompt = asked(seeing)
    (span,) = prompt.spans
    if span.is_whole:
        pytest.skip("nothing ends within this family's pictures")
    expected = fresh(bare, prompt)
    source = insert(bare, prompt)
    while source.num_computed <= span.start:
        bare.step(source, max_tokens=5)
    assert span.start < source.num_computed < span.end
    num_held = min(bare.retire(source), span.start)
    target = bare.fork(source.sequence_id, num_held, prompt.token_ids, spans=prompt.spans)
    assert target is not None
    assert bare.run(target, num_tokens=NUM_TOKENS) == [expected]


def test_a_saved_cache_goes_on(seeing: Seeing, bare: BareEngine, tmp_path: Path) -> None:
    prompt, path = asked(seeing), tmp_path / "saved"
    expected = fresh(bare, prompt)
    source = insert(bare, prompt)
    bare.run(source, num_tokens=4)
    token_ids = list(source.token_ids)
    assert bare.retire(source)
    assert seeing.engine.save_cache(source.sequence_id, path)
    bare.remove(source)
    read_id = bare.new_id()
    assert seeing.engine.load_cache(path, read_id, token_ids) >= len(token_ids) - 1
    other = asked(seeing, question="Which colours?")
    others_expected = fresh(bare, other)
    again = bare.fork(read_id, len(token_ids) - 1, token_ids, spans=prompt.spans)
    behind = bare.fork(read_id, prompt.spans[-1].end, other.token_ids, spans=other.spans)
    assert again is not None
    assert behind is not None
    (rest,) = bare.run(again, num_tokens=NUM_TOKENS - 4)
    assert [*token_ids[-4:], *rest] == expected
    assert bare.run(behind, num_tokens=NUM_TOKENS) == [others_expected]
    changed = asked(seeing, 2)
    assert seeing.engine.load_cache(path, bare.new_id(), changed.token_ids) <= changed.spans[0].start


@pytest.mark.parametrize("num_steps", range(1, 6))
def test_an_eviction_in_a_pictures_prompt_changes_nothing(seeing: Seeing, bare: BareEngine, num_steps: int) -> None:
    prompt = asked(seeing)
    expected = fresh(bare, prompt)
    sequence, other = insert(bare, prompt), bare.insert(list(TEXT.encode()))
    for _ in range(num_steps):
        bare.step(sequence, max_tokens=16 if prompt.spans[0].is_whole else 7)
    bare.step(other, evicted=[sequence.sequence_id])
    sequence.num_computed = 0
    assert bare.run(sequence, other, num_tokens=NUM_TOKENS)[0] == expected


def test_an_encoding_that_is_given_up_leaves_no_rows_and_the_next_one_is_right(seeing: Seeing) -> None:
    expected = rows_of(seeing)
    given_up = seeing.prompts.tile(picture(seeing.family))
    assert not seeing.engine.encode(given_up, lambda: True)
    assert given_up.rows is None
    assert np.array_equal(rows_of(seeing), expected)


def test_texts_are_answered_as_by_a_model_that_sees_nothing(seeing: Seeing, bare: BareEngine) -> None:
    try:
        blind = load(seeing.name, seeing.model.load_spec(seeing.name, vision=None))
    except LoadError:
        pytest.skip("mlx-lm alone has no such family")
    try:
        assert not blind.evaluates_rows
        one = BareEngine(blind).fresh_answer(list(TEXT.encode()), NUM_TOKENS)
    finally:
        blind.close()
    assert bare.fresh_answer(list(TEXT.encode()), NUM_TOKENS) == one


def test_answers_of_a_sequence_are_its_own(seeing: Seeing, bare: BareEngine) -> None:
    """What goes on beside an encoding's picture: a text keeps its answer while pictures come and go."""
    expected = bare.fresh_answer(list(TEXT.encode()), 40)
    text = bare.insert(list(TEXT.encode()))
    for seed in (1, 2, 3):
        bare.step(text)
        one = insert(bare, asked(seeing, seed))
        bare.run(text, one, num_tokens=10 * seed)
        bare.remove(one)
    bare.run(text, num_tokens=40)
    assert answer_of(text)[:40] == expected
