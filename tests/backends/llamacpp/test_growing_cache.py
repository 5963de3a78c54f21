"""A cache that begins with few cells: what it gives is what one that was whole from the start gives."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import llama_cpp
import msgspec
import pytest

from backends.base import LoadedEngine
from backends.errors import CacheGrowthError, EngineLostError
from backends.llamacpp.loaded import LoadedLlamaCpp
from backends.machine.current import current_platform
from backends.step import Chunk, StepPlan
from backends.wire.load import DraftSpec, LoadSpec
from backends.wire.messages import Failed, Finished
from backends.wire.prompts import ChatPrompt
from backends.wire.request import SamplingParams, SpeculationMode
from backends.wire.stats import CellsMade
from tests.backends.contract.conftest import picture
from tests.support import tiny_hybrid, tiny_model, tiny_recurrent, tiny_windowed
from tests.support.bare_engine import GREEDY, BareEngine, load, text_ids
from tests.support.engine_driver import EngineDriver
from tests.support.image_prompts import ImagePrompts, user
from tests.support.tiny_vision import VisionModel

pytestmark = pytest.mark.slow

FIRST, PROMISED = 256, 2048
SEEDED = SamplingParams(temperature=0.9, seed=5)
WRITERS: dict[str, Callable[..., Path]] = {
    "plain": tiny_model.write_gguf,
    "windowed": tiny_windowed.write_gguf,
    "hybrid": tiny_hybrid.write_gguf,
}
Loading = Callable[..., LoadedLlamaCpp]


def spec_of(path: Path, **settings: Any) -> LoadSpec:
    said: dict[str, Any] = {
        "model_path": str(path),
        "context_length": 1024,
        "max_sequences": 4,
        "kv_cells": PROMISED,
        "step_tokens": 64,
        "num_threads": 1,
    }
    return LoadSpec(**said | settings)


@pytest.fixture(scope="module", params=WRITERS)
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return WRITERS[request.param](tmp_path_factory.mktemp("growing") / f"{request.param}.gguf", context_length=1024)


@pytest.fixture(scope="module")
def whole(path: Path) -> Iterator[BareEngine]:
    """An engine with all cells, for what is right."""
    engine = load("llamacpp", spec_of(path))
    yield BareEngine(engine)
    engine.close()


@pytest.fixture
def loading() -> Iterator[Loading]:
    engines: list[LoadedEngine] = []

    def get(path: Path, **settings: Any) -> LoadedLlamaCpp:
        engine = load("llamacpp", spec_of(path, **{"first_cells": FIRST} | settings))
        engines.append(engine)
        assert isinstance(engine, LoadedLlamaCpp)
        return engine

    yield get
    for engine in engines:
        engine.close()


@pytest.fixture
def engine(path: Path, loading: Loading) -> LoadedLlamaCpp:
    engine = loading(path)
    assert (made(engine).num_cells, engine.model.kv_cells) == (FIRST, PROMISED), "the promise is the whole"
    return engine


@pytest.fixture
def growing(engine: LoadedLlamaCpp) -> BareEngine:
    return BareEngine(engine)


def made(engine: LoadedEngine) -> CellsMade:
    cells_made = engine.cells_made
    assert cells_made is not None
    return cells_made


# ---- exactness -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", [GREEDY, SEEDED])
def test_an_answer_goes_on_where_the_cells_grow_in_its_middle(
    whole: BareEngine, growing: BareEngine, engine: LoadedLlamaCpp, sampling: SamplingParams
) -> None:
    answers = []
    for bare in (whole, growing):
        sequence = bare.insert(text_ids(100), sampling)
        answers += bare.run(sequence, num_tokens=250)
        bare.remove(sequence)
    assert answers[0] == answers[1]
    assert (made(engine).num_growths, made(engine).num_cells) == (1, FIRST + 1024), "as long as answers are"


def test_a_long_prompt_has_its_cells_before_it_begins(
    whole: BareEngine, growing: BareEngine, engine: LoadedLlamaCpp
) -> None:
    sequence = growing.insert(text_ids(600))
    growing.step(sequence)
    assert (made(engine).num_growths, made(engine).num_cells) == (1, PROMISED), "an answer of 1,000 tokens is expected"
    (answer,) = growing.run(sequence, num_tokens=30)
    assert answer == whole.fresh_answer(text_ids(600), 30)


def test_streams_go_on_where_the_prefill_of_one_needs_the_cells(whole: BareEngine, growing: BareEngine) -> None:
    texts = [text_ids(60 + 10 * seed, seed) for seed in range(3)] + [text_ids(200, 9)]
    expected = [whole.fresh_answer(text, 60) for text in texts]
    streams = [growing.insert(text) for text in texts]
    growing.run(*streams[:3], num_tokens=10)
    assert growing.run(*streams, num_tokens=60) == expected
    assert made(growing.engine).num_growths >= 1


def test_held_streams_are_carried_too_and_shared_cells_stay_shared(
    whole: BareEngine, growing: BareEngine, engine: LoadedLlamaCpp
) -> None:
    text = text_ids(150)
    source = growing.insert(text)
    growing.run(source, num_tokens=1)
    forks = [growing.fork(source, source.num_computed, [*source.token_ids, 40 + n]) for n in range(2)]
    held = [fork for fork in forks if fork is not None]
    assert len(held) == 2
    growing.run(*held, num_tokens=2)
    before = state_size(engine)
    assert growing.fresh_answer(text_ids(300, 7), 5) == whole.fresh_answer(text_ids(300, 7), 5)
    assert made(engine).num_growths == 1
    assert state_size(engine) == before
    expected = [whole.fresh_answer(fork.token_ids[: fork.num_prompt_tokens], 40) for fork in held]
    assert growing.run(*held, num_tokens=40) == expected


def state_size(engine: LoadedLlamaCpp) -> int:
    return int(llama_cpp.llama_state_get_size(engine._context.pointer))


def test_what_was_kept_before_is_found_after_and_makes_room_for_itself(
    whole: BareEngine, growing: BareEngine, engine: LoadedLlamaCpp
) -> None:
    text = text_ids(200)
    ended = growing.insert(text)
    growing.run(ended, num_tokens=20)
    num_kept = growing.retire(ended)
    beside = growing.insert(text_ids(150, 3))
    growing.run(beside, num_tokens=2)
    assert made(engine).num_growths == 0
    going_on = [*ended.token_ids[:num_kept], 50, 51]
    assert growing.forked_answer(ended, num_kept, going_on, 30) == whole.fresh_answer(going_on, 30)
    assert made(engine).num_growths >= 1
    assert growing.run(beside, num_tokens=30) == [whole.fresh_answer(text_ids(150, 3), 30)]
    assert growing.forked_answer(ended, num_kept, going_on, 30) == whole.fresh_answer(going_on, 30)


def test_checkpoints_from_before_are_good_after(whole: BareEngine, growing: BareEngine, engine: LoadedLlamaCpp) -> None:
    text, places = text_ids(200), (60, 120)
    sequence = growing.insert(text)
    sequence.checkpoint_places = places
    for place in places:
        while sequence.num_computed < place:
            growing.step(sequence)
        assert engine.add_checkpoint(sequence.sequence_id) > 0
    growing.run(sequence, num_tokens=150)
    assert made(engine).num_growths == 1
    for place in places:
        edited = [*text[:place], *text_ids(20, place)]
        assert growing.forked_answer(sequence, place, edited, 20) == whole.fresh_answer(edited, 20)


def test_saved_caches_go_between_lengths(
    whole: BareEngine, growing: BareEngine, path: Path, loading: Loading, tmp_path: Path
) -> None:
    text = text_ids(400)
    sequence = growing.insert(text)
    growing.run(sequence, num_tokens=20)
    assert growing.engine.save_cache(sequence.sequence_id, tmp_path / "saved") > 0
    another = BareEngine(loading(path))
    for bare in (another, whole):
        read_id = bare.new_id()
        num_tokens = bare.engine.load_cache(tmp_path / "saved", read_id, sequence.token_ids)
        assert num_tokens == len(sequence.token_ids) - 1
        answer = bare.forked_answer(read_id, num_tokens, sequence.token_ids, 20)
        assert answer == whole.fresh_answer(sequence.token_ids, 20)
    assert made(another.engine).num_growths == 1


def test_drafts_go_on_across_a_growth(loading: Loading, tmp_path: Path) -> None:
    path = tiny_model.write_gguf(tmp_path / "model.gguf", context_length=1024)
    engine = loading(path)
    bare = BareEngine(engine)
    reference = BareEngine(loading(path, first_cells=None))
    right = reference.fresh_answer(text_ids(100), 250)
    assert bare.run_drafted(bare.insert(text_ids(100)), right) == right
    assert made(engine).num_growths >= 1


def test_the_context_of_a_draft_model_grows_as_well(loading: Loading, tmp_path: Path) -> None:
    path = tiny_model.write_gguf(tmp_path / "model.gguf", context_length=1024)
    draft = DraftSpec(name="twin", model_path=str(path), context_length=1024, kv_cells=PROMISED)
    engine = loading(path, draft=draft)
    assert engine._draft_model is not None
    driver = EngineDriver(engine)
    said: dict[str, Any] = {"max_tokens": 250, "ignore_eos": True}
    drafted = driver.answer(text_ids(100), speculation=SpeculationMode.DRAFT, **said)
    assert drafted.token_ids == driver.answer(text_ids(100), speculation=SpeculationMode.OFF, **said).token_ids
    assert drafted.end.usage.num_drafted_by_model > 0
    assert engine._draft_model._context.num_growths >= 1


def test_a_growth_without_room_for_a_copy_has_all_computed_anew(
    whole: BareEngine, engine: LoadedLlamaCpp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the batcher, whose books have to follow."""
    monkeypatch.setattr(engine._context, "_read", lambda: None)
    driver = EngineDriver(engine, keeps_ended=True)
    texts = [text_ids(70, seed) for seed in range(4)]
    sequence_ids = [driver.submit(text, max_tokens=80, ignore_eos=True) for text in texts]
    driver.run()
    assert [driver.answers[i].token_ids for i in sequence_ids] == [whole.fresh_answer(text, 80) for text in texts]
    assert made(engine).num_growths >= 1
    driver.close()


@pytest.mark.parametrize("family", ["qwen2_vl", "gemma3"])
def test_pictures_are_carried_too(vision_model: Callable[[str], VisionModel], family: str) -> None:
    """Rows have positions in time, height and width, or see each other; some come before the growth, some make it."""
    model = vision_model(family)
    answers = []
    for first_cells in (None, FIRST):
        engine = load("llamacpp", model.load_spec("llamacpp", first_cells=first_cells))
        prompts = ImagePrompts("llamacpp", engine, model)
        driver = EngineDriver(engine, images=prompts.processor)
        shown = [user("Look: ", picture(family, seed), "What? " * (10 + 30 * seed), max_side=64) for seed in range(3)]
        ids = [driver.submit(ChatPrompt([message]), max_tokens=40, ignore_eos=True) for message in shown]
        driver.run()
        answers.append([driver.answers[sequence_id].token_ids for sequence_id in ids])
        num_growths = made(engine).num_growths
        engine.close()
    assert answers[0] == answers[1]
    assert num_growths >= 1


def test_what_has_no_cells_is_whole_at_once(loading: Loading, tmp_path: Path) -> None:
    engine = loading(tiny_recurrent.write_gguf(tmp_path / "recurrent.gguf", context_length=1024))
    assert made(engine).num_cells == PROMISED


def test_a_rotation_that_hangs_on_the_length_is_that_of_all_cells(loading: Loading, tmp_path: Path) -> None:
    path = tmp_path / "stretched.gguf"
    writer = tiny_model.begin_gguf(path, "llama", num_layers=tiny_model.NUM_LAYERS, context_length=1024)
    writer.add_head_count_kv(tiny_model.NUM_KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(tiny_model.WIDTH // tiny_model.NUM_HEADS)
    writer.add_rope_scaling_orig_ctx_len(700)
    tensors = {f"{each}.weight": tiny_model.in_gguf_order(each, of) for each, of in tiny_model.weights().items()}
    tiny_model.finish_gguf(writer, tensors, None)
    assert made(loading(path)).num_cells == 768
    assert made(loading(path, context_length=512, kv_cells=512)).num_cells == FIRST


# ---- no memory, no time ----------------------------------------------------------------------------------------------


@pytest.fixture
def scarce(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let the library have no memory for contexts of more cells than this."""
    make = llama_cpp.llama_init_from_model

    def allow(num_cells: int) -> None:
        monkeypatch.setattr(
            llama_cpp,
            "llama_init_from_model",
            lambda model, params: make(model, params) if params.n_ctx <= num_cells else None,
        )

    return allow


def test_without_memory_one_request_ends_and_the_others_go_on(
    whole: BareEngine, engine: LoadedLlamaCpp, scarce: Callable[[int], None]
) -> None:
    scarce(FIRST)
    driver = EngineDriver(engine)
    going_on = [driver.submit(text_ids(60, seed), max_tokens=40, ignore_eos=True) for seed in range(2)]
    driver.step()
    too_long = driver.submit(text_ids(300, 5), max_tokens=8)
    driver.run()
    failed = driver.answers[too_long].failed
    assert failed.code == CacheGrowthError.code
    assert "holds 256 tokens and cannot grow: llama.cpp could not make a context of" in failed.message
    assert "mlxr models set" in failed.message
    for seed, sequence_id in enumerate(going_on):
        assert driver.answers[sequence_id].token_ids == whole.fresh_answer(text_ids(60, seed), 40)
    scarce(PROMISED)
    mended = driver.answer(text_ids(300, 5), max_tokens=8)
    assert mended.token_ids == whole.fresh_answer(text_ids(300, 5), 8)
    assert mended.end.timings.cache_growth_ms > 0, "it says what it waited for"
    driver.close()


def test_where_answers_fill_the_cells_they_end_one_by_one(
    engine: LoadedLlamaCpp, scarce: Callable[[int], None]
) -> None:
    scarce(FIRST)
    driver = EngineDriver(engine)
    sequence_ids = [driver.submit(text_ids(50, seed), max_tokens=120, ignore_eos=True) for seed in range(4)]
    driver.run()
    ends = [driver.answers[i].terminals[0] for i in sequence_ids]
    assert isinstance(ends[0], Finished), "the first has the cells of those that ended"
    assert [end.code for end in ends if isinstance(end, Failed)] == [CacheGrowthError.code] * 3
    driver.close()


def test_a_machine_without_free_memory_is_not_asked_for_more(
    engine: LoadedLlamaCpp, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = current_platform().memory()
    poor = msgspec.structs.replace(memory, available_bytes=1000)
    monkeypatch.setattr(type(current_platform()), "memory", lambda _self: poor)
    driver = EngineDriver(engine)
    message = driver.answer(text_ids(300), max_tokens=8).failed.message
    assert "GB more, and 0.00 GB is free" in message
    assert made(engine).num_growths == 0
    driver.close()


def test_a_worker_that_can_have_neither_context_ends(engine: LoadedLlamaCpp, scarce: Callable[[int], None]) -> None:
    scarce(0)
    bare = BareEngine(engine)
    with pytest.raises(EngineLostError, match="nor the one of 256 tokens again"):
        bare.step(bare.insert(text_ids(300)))


@pytest.mark.parametrize("num_asked", [0, 1])
def test_a_step_that_is_given_up_while_the_cells_grow_loses_nothing(
    whole: BareEngine, growing: BareEngine, engine: LoadedLlamaCpp, monkeypatch: pytest.MonkeyPatch, num_asked: int
) -> None:
    """Before the growth, which is not begun then, and meanwhile."""
    running = growing.insert(text_ids(100))
    growing.run(running, num_tokens=5)
    remake, asked = engine._context._remake, itertools.count()
    looked: list[int] = []

    def slow(*arguments: Any, **options: Any) -> Any:
        while num_asked and len(looked) <= num_asked:
            pass
        return remake(*arguments, **options)

    def should_abort() -> bool:
        looked.append(next(asked))
        return looked[-1] >= num_asked

    monkeypatch.setattr(engine._context, "_remake", slow)
    other = growing.insert(text_ids(300, 2))
    chunks = (Chunk(running, running.num_computed, 1), Chunk(other, 0, 63))
    result = engine.step(StepPlan(chunks), should_abort)
    assert result.was_aborted
    assert result.num_computed == {running.sequence_id: running.num_computed, other.sequence_id: 0}
    assert made(engine).num_growths == num_asked
    growing.remove(other)
    assert growing.run(running, num_tokens=60) == [whole.fresh_answer(text_ids(100), 60)]
