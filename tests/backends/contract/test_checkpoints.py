"""What engines promise of checkpoints, on models whose caches cannot be cut: they have windows, or states."""

import copy
import dataclasses
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from backends.base import LoadedEngine
from backends.batching.checkpoints.places import GAP_TOKENS
from backends.batching.saving import Saving
from backends.cache_files import write_cache
from backends.saved_caches.caches import SavedCaches
from backends.sequence import Sequence
from backends.step import Chunk, StepPlan
from backends.wire.load import LoadSpec
from backends.wire.prompts import ChatPrompt, PromptMessage
from backends.wire.request import SamplingParams
from tests.support import tiny_hybrid, tiny_recurrent, tiny_windowed
from tests.support.bare_engine import GREEDY, BareEngine, load, text_ids
from tests.support.engine_driver import EngineDriver

pytestmark = pytest.mark.slow

CONTEXT_LENGTH = 1024
PROMPT = text_ids(200)
PLACES = (40, 120, 190)
OTHER = text_ids(40, seed=1)
SEEDED = SamplingParams(temperature=0.9, seed=5)
NUM = 12
WRITERS: dict[tuple[str, str], Callable[..., Path]] = {
    ("llamacpp", "windowed"): tiny_windowed.write_gguf,
    ("llamacpp", "hybrid"): tiny_hybrid.write_gguf,
    ("llamacpp", "recurrent"): tiny_recurrent.write_gguf,
    ("mlx", "windowed"): tiny_windowed.write_mlx,
    ("mlx", "hybrid"): tiny_hybrid.write_mlx,
}


class Kind(NamedTuple):
    """A kind of cache on an engine."""

    name: str
    cache: str
    engine: LoadedEngine


@pytest.fixture(scope="module", params=WRITERS, ids="-".join)
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kind]:
    name, cache = request.param
    path = WRITERS[request.param](tmp_path_factory.mktemp(cache) / "model.gguf")
    engine = load(name, spec_of(path))
    yield Kind(name, cache, engine)
    engine.close()


def spec_of(path: Path) -> LoadSpec:
    return LoadSpec(
        model_path=str(path),
        context_length=CONTEXT_LENGTH,
        max_sequences=4,
        kv_cells=4 * CONTEXT_LENGTH,
        step_tokens=64,
        num_threads=1,
    )


@pytest.fixture
def bare(kind: Kind) -> Iterator[BareEngine]:
    bare = BareEngine(kind.engine)
    yield bare
    bare.close()


@pytest.fixture
def driver(kind: Kind) -> Iterator[EngineDriver]:
    driver = EngineDriver(kind.engine, keeps_ended=True)
    yield driver
    driver.close()


def with_checkpoints(bare: BareEngine, token_ids: list[int], places: tuple[int, ...] = PLACES) -> Sequence:
    """Return a sequence that has drawn a few tokens, with its checkpoints."""
    sequence = bare.insert(token_ids)
    sequence.checkpoint_places = places
    for place in places:
        go_to(bare, sequence, place)
        assert bare.engine.add_checkpoint(sequence.sequence_id) > 0
    bare.run(sequence, num_tokens=NUM)
    return sequence


def go_to(bare: BareEngine, sequence: Sequence, place: int) -> None:
    while sequence.num_computed < place:
        bare.step(sequence)
    assert sequence.num_computed == place, "no chunk goes over a place"


def test_they_are_of_use(kind: Kind) -> None:
    limits = kind.engine.limits
    assert limits.keeps_checkpoints
    assert not limits.can_cut(CONTEXT_LENGTH)
    assert limits.can_cut(8) == (kind.cache == "windowed")
    assert limits.num_slots == 4 + 24
    assert limits.border_ids


@pytest.mark.parametrize("is_retired", [True, False])
@pytest.mark.parametrize("place", PLACES)
def test_a_fork_at_one_answers_as_if_it_had_computed_everything(
    bare: BareEngine, place: int, *, is_retired: bool
) -> None:
    source = with_checkpoints(bare, PROMPT)
    if is_retired:
        assert bare.retire(source) >= len(PROMPT)
    text = PROMPT[:place] + OTHER
    expected = bare.fresh_answer(text, NUM)
    for _ in range(2):
        fork = bare.fork(source, place, text)
        assert fork is not None
        assert bare.run(fork, num_tokens=NUM) == [expected]
        bare.remove(fork)


def test_a_source_that_goes_on_is_not_disturbed(bare: BareEngine) -> None:
    expected = bare.fresh_answer(PROMPT, 30)
    source = with_checkpoints(bare, PROMPT)
    forks = [bare.fork(source, place, PROMPT[:place] + OTHER) for place in PLACES]
    for number in range(NUM, 30, 4):
        bare.run(source, num_tokens=number)
        for fork in forks:
            assert fork is not None
            bare.run(fork, num_tokens=number - 8)
    assert bare.run(source, num_tokens=30) == [expected]


def test_forks_hold_what_they_begin_with(bare: BareEngine) -> None:
    source = with_checkpoints(bare, PROMPT)
    bare.retire(source)
    text = PROMPT[:120] + OTHER
    fork = bare.fork(source, 120, text)
    assert fork is not None
    bare.remove(source)
    bare.run(fork, num_tokens=3)
    bare.retire(fork)
    third = bare.fork(fork, 40, PROMPT[:40] + OTHER)
    assert third is not None
    assert bare.run(third, num_tokens=NUM) == [bare.fresh_answer(PROMPT[:40] + OTHER, NUM)]
    assert bare.fork(fork, 150, text) is None, "that was the source's"


def test_a_whole_cache_that_was_begun_with_becomes_one(bare: BareEngine) -> None:
    source = with_checkpoints(bare, PROMPT)
    num_tokens = bare.retire(source)
    text = source.token_ids[:num_tokens] + OTHER
    fork = bare.fork(source, num_tokens, text)
    assert fork is not None
    assert bare.engine.add_checkpoint(fork.sequence_id) > 0
    bare.remove(source)
    bare.run(fork, num_tokens=3)
    bare.retire(fork)
    again = bare.fork(fork, num_tokens, text)
    assert again is not None
    assert bare.run(again, num_tokens=NUM) == [bare.fresh_answer(text, NUM)]


def test_what_was_dropped_is_no_beginning(bare: BareEngine, kind: Kind) -> None:
    source = with_checkpoints(bare, PROMPT)
    bare.retire(source)
    bare.engine.drop_checkpoint(source.sequence_id, 120)
    bare.engine.drop_checkpoint(source.sequence_id, 121)
    bare.engine.drop_checkpoint(987_654, 120)
    assert bare.fork(source, 120, PROMPT[:120] + OTHER) is None
    assert bare.fork(source, 121, PROMPT[:121] + OTHER) is None
    assert bare.fork(source, 40, PROMPT[:40] + OTHER) is not None
    assert kind.engine.add_checkpoint(987_654) == 0


def test_a_prefill_that_was_given_up_begins_again_at_one(bare: BareEngine) -> None:
    source = bare.insert(PROMPT)
    source.checkpoint_places = PLACES
    go_to(bare, source, 120)
    bare.engine.add_checkpoint(source.sequence_id)
    bare.step(source, max_tokens=32)
    num_kept = bare.retire(source)
    assert num_kept > 120
    text = PROMPT[:130] + OTHER
    fork = bare.fork(source, 120, text)
    assert fork is not None
    assert bare.run(fork, num_tokens=NUM) == [bare.fresh_answer(text, NUM)]


def test_a_step_that_was_given_up_goes_back_to_the_last_one(bare: BareEngine, kind: Kind) -> None:
    if kind.name == "mlx":
        pytest.skip("its steps are not given up")
    expected = bare.fresh_answer(PROMPT, NUM)
    sequence = bare.insert(PROMPT)
    sequence.checkpoint_places = PLACES
    go_to(bare, sequence, 40)
    bare.engine.add_checkpoint(sequence.sequence_id)
    bare.step(sequence, max_tokens=10)
    result = bare.engine.step(StepPlan((Chunk(sequence, 50, 60),)), lambda: True)
    assert result.was_aborted
    assert result.num_computed == {sequence.sequence_id: 50 if kind.cache == "windowed" else 40}
    sequence.num_computed = result.num_computed[sequence.sequence_id]
    assert bare.run(sequence, num_tokens=NUM) == [expected]


@pytest.mark.parametrize("sampling", [GREEDY, SEEDED], ids=["greedy", "seeded"])
def test_held_sequences_go_on_as_if_undisturbed(bare: BareEngine, sampling: SamplingParams) -> None:
    """Where the token that was drawn ahead cannot be taken back, from the last checkpoint on."""
    sequence = bare.insert(PROMPT, sampling)
    (expected,) = bare.run(sequence, num_tokens=24)
    bare.remove(sequence)
    held = bare.insert(PROMPT, sampling)
    held.checkpoint_places = PLACES
    for place in PLACES:
        go_to(bare, held, place)
        bare.engine.add_checkpoint(held.sequence_id)
    other = bare.insert(OTHER)
    for number in (1, 5, 12):
        bare.run(held, num_tokens=number)
        bare.run(other, num_tokens=number)
        assert held.num_computed >= PLACES[-1], "nothing before it is computed again"
    assert bare.run(held, num_tokens=24) == [expected]


def test_logits_are_the_same_within_rounding(driver: EngineDriver) -> None:
    """With float32 weights and caches; a neighbour in the batch changes them as much."""
    sampling = SamplingParams(temperature=0, num_logprobs=5)
    first = text_ids(400)
    driver.answer(first, max_tokens=20, ignore_eos=True)
    text = first + OTHER
    continued = driver.answer(text, sampling, max_tokens=NUM, ignore_eos=True)
    assert continued.end.usage.num_cached_tokens == 399
    driver.close()
    fresh = EngineDriver(driver.engine).answer(text, sampling, max_tokens=NUM, ignore_eos=True)
    assert continued.token_ids == fresh.token_ids
    for ours, theirs in zip(continued.likelihoods, fresh.likelihoods, strict=True):
        for one, other in zip(ours.top, theirs.top, strict=True):
            assert one.token_id == other.token_id
            assert one.logprob == pytest.approx(other.logprob, abs=1e-3)


def test_a_file_has_them_too(bare: BareEngine, tmp_path: Path) -> None:
    path = tmp_path / "cache"
    source = with_checkpoints(bare, PROMPT)
    held = bare.engine.checkpoints_of(source.sequence_id)
    assert tuple(held) == PLACES
    num_tokens = bare.retire(source)
    assert bare.engine.save_cache(source.sequence_id, path) > sum(held.values())
    bare.remove(source)
    loaded_id = bare.new_id()
    assert bare.engine.load_cache(path, loaded_id, source.token_ids) == num_tokens
    assert bare.engine.checkpoints_of(loaded_id) == held
    for place in PLACES:
        text = PROMPT[:place] + OTHER
        fork = bare.fork(loaded_id, place, text)
        assert fork is not None
        assert bare.run(fork, num_tokens=NUM) == [bare.fresh_answer(text, NUM)]


def test_a_file_has_those_that_are_wanted(bare: BareEngine, tmp_path: Path) -> None:
    source = with_checkpoints(bare, PROMPT)
    bare.retire(source)
    cache = bare.engine.export_cache(source.sequence_id, [40, 41, 190])
    assert cache is not None
    bare.engine.drop_checkpoint(source.sequence_id, 40)
    assert cache.places == (40, 190)
    write_cache(tmp_path / "cache", bare.engine.cache_fingerprint, cache)
    loaded_id = bare.new_id()
    assert bare.engine.load_cache(tmp_path / "cache", loaded_id, source.token_ids)
    assert tuple(bare.engine.checkpoints_of(loaded_id)) == (40, 190)


@pytest.mark.parametrize("places", [(0,), (40, 40), (120, 40), (500,), tuple(range(1, 100))])
def test_a_file_with_wrong_places_is_not_read(bare: BareEngine, tmp_path: Path, places: tuple[int, ...]) -> None:
    source = with_checkpoints(bare, PROMPT)
    bare.retire(source)
    cache = bare.engine.export_cache(source.sequence_id, [])
    assert cache is not None
    write_cache(tmp_path / "cache", bare.engine.cache_fingerprint, cache._replace(places=places))
    assert bare.engine.load_cache(tmp_path / "cache", bare.new_id(), source.token_ids) == 0


@pytest.mark.parametrize("num_kept", [3, 1000])
def test_many_at_once_answer_as_if_each_were_alone(kind: Kind, num_kept: int) -> None:
    """Prompts that part anywhere, some cancelled, with room for a few checkpoints or for all."""
    rng = random.Random(num_kept)
    texts = [text_ids(320, seed) for seed in range(3)]
    for _ in range(12):
        like = rng.choice(texts)
        texts.append(
            [*like[: rng.randrange(200, len(like))], *text_ids(rng.randrange(20, 60), rng.randrange(99))][:440]
        )
    alone = EngineDriver(kind.engine)
    expected = [alone.answer(text, max_tokens=NUM, ignore_eos=True).token_ids for text in texts]
    driver = EngineDriver(kind.engine, keeps_ended=True)
    checkpoints = driver.batcher.checkpoints
    sequence_ids = [driver.submit(text, max_tokens=NUM, ignore_eos=True) for text in texts[:5]]
    cancelled = []
    for text in texts[5:]:
        for _ in range(rng.randrange(12)):
            driver.step()
        sequence_ids.append(driver.submit(text, max_tokens=NUM, ignore_eos=True))
        if rng.random() < 0.3:
            cancelled.append(driver.submit(text, max_tokens=NUM, ignore_eos=True))
            driver.step()
            driver.cancel(cancelled[-1])
        mean_bytes = checkpoints.book.mean_bytes
        if mean_bytes is not None:
            checkpoints._limits = dataclasses.replace(checkpoints._limits, checkpoint_bytes=num_kept * mean_bytes)
    driver.run()
    assert [driver.answers[i].token_ids for i in sequence_ids] == expected
    assert driver.batcher.counts.num_checkpoint_forks > 0
    assert (driver.batcher.counts.num_checkpoints_dropped > 0) == (num_kept == 3)
    held = {i: sorted(kind.engine.checkpoints_of(i)) for i in driver.batcher.retired_ids}
    assert held == {i: checkpoints.book.places(i) for i in driver.batcher.retired_ids}
    driver.close()


class Chat:
    """A conversation whose messages have nothing in common."""

    def __init__(self, num_turns: int) -> None:
        self.messages: list[PromptMessage] = [{"role": "system", "content": words(600, 0)}]
        for turn in range(1, num_turns + 1):
            self.messages += [{"role": "user", "content": words(300, turn)}]
            self.messages += [{"role": "assistant", "content": words(200, -turn)}]

    def prompt(self, num_messages: int, **edited: str) -> ChatPrompt:
        """Return the first messages, some of them, by index, with another text."""
        messages = copy.deepcopy(self.messages[:num_messages])
        for index, text in edited.items():
            messages[int(index.removeprefix("m"))]["content"] = text
        return ChatPrompt(messages)


def words(num: int, seed: int) -> str:
    return bytes(text_ids(num, seed)).decode()


@pytest.fixture
def wide_driver(kind: Kind, tmp_path: Path) -> Iterator[EngineDriver]:
    path = WRITERS[kind.name, kind.cache](tmp_path / "model.gguf", context_length=4096)
    engine = load(kind.name, msgspec.structs.replace(spec_of(path), context_length=4096, kv_cells=16_384))
    yield EngineDriver(engine, keeps_ended=True)
    engine.close()


def test_an_edited_conversation_begins_near_the_edit(wide_driver: EngineDriver) -> None:
    """The message that was edited and what comes after it are computed again, and no more than a gap besides."""
    driver, chat = wide_driver, Chat(4)

    def num_computed(prompt: ChatPrompt) -> int:
        answer = driver.answer(prompt, max_tokens=8, ignore_eos=True)
        usage = answer.end.usage
        return usage.num_prompt_tokens - usage.num_cached_tokens

    def num_of(*parts: int) -> int:
        return sum(parts) + 40  # what the template writes

    first = num_computed(chat.prompt(2))
    assert first > 900
    for num_turns in (2, 3, 4):
        assert num_computed(chat.prompt(2 * num_turns)) <= num_of(200, 300)
    last = {"m6": words(200, 77)}
    assert num_computed(chat.prompt(8, **last)) <= num_of(200, 300), "the last answer was edited"
    middle = {"m3": words(300, 78)}
    assert num_computed(chat.prompt(8, **middle)) <= num_of(300, 200, 300, 200, 300, GAP_TOKENS), (
        "a message of the middle"
    )
    assert num_computed(chat.prompt(4, m3=words(100, 79))) <= num_of(100, GAP_TOKENS), "cut, and another question"
    assert num_computed(chat.prompt(8)) <= 16, "the same again"
    assert num_computed(chat.prompt(2, m1=words(300, 80))) <= num_of(300), "another conversation of the same system"


def test_after_a_restart_an_edited_conversation_begins_near_the_edit(kind: Kind, tmp_path: Path) -> None:
    path = WRITERS[kind.name, kind.cache](tmp_path / "model.gguf", context_length=4096)
    spec = msgspec.structs.replace(spec_of(path), context_length=4096, kv_cells=16_384)
    chat = Chat(4)
    first = restarted(kind.name, spec, tmp_path)
    whole = first.answer(chat.prompt(6), max_tokens=8, ignore_eos=True)
    first.worker._batch.save()
    first.engine.close()
    second = restarted(kind.name, spec, tmp_path)
    usage = second.answer(chat.prompt(8, m6=words(200, 77)), max_tokens=8, ignore_eos=True).end.usage
    head = whole.end.usage.num_prompt_tokens
    assert head - 40 <= usage.num_cached_tokens <= head
    prompt = chat.prompt(2, m1=words(100, 9))
    answer = second.answer(prompt, max_tokens=NUM, ignore_eos=True)
    assert answer.end.usage.num_cached_tokens >= 600, "the system prompt's end"
    second.close()
    fresh = EngineDriver(second.engine).answer(prompt, max_tokens=NUM, ignore_eos=True)
    assert (fresh.end.usage.num_cached_tokens, fresh.token_ids) == (0, answer.token_ids)
    second.engine.close()


def restarted(name: str, spec: LoadSpec, folder: Path) -> EngineDriver:
    """Return a worker that has just loaded a model, with what was saved before."""
    driver = EngineDriver(load(name, spec), keeps_ended=True)
    saved = SavedCaches(driver.engine, folder / "saved" / "model", 1 << 30)
    driver.worker._batch.saving = Saving(driver.engine, driver.batcher, saved, saves_all=True)
    return driver
