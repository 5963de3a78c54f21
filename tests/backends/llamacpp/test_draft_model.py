"""A second model drafts for the first: what it may change, what it must not, and when there is none."""

from collections.abc import Callable, Iterator
from collections.abc import Sequence as Tokens
from pathlib import Path
from typing import Any

import llama_cpp
import msgspec
import numpy as np
import pytest

from backends.base import LoadedEngine
from backends.errors import LoadError
from backends.llamacpp.drafting import loading as loading_drafts
from backends.llamacpp.drafting.model import DraftModel
from backends.llamacpp.loaded import LoadedLlamaCpp
from backends.logits import Logits, Matcher
from backends.sequence import Sequence
from backends.speculation.drafter import Wish
from backends.wire.load import DraftSpec, LoadSpec
from backends.wire.messages import Failed
from backends.wire.request import SamplingParams, SpeculationMode
from registry.gguf import vocabulary
from tests.support import tiny_model, tiny_recurrent, tiny_windowed
from tests.support.bare_engine import load, text_ids
from tests.support.engine_driver import GREEDY, Answer, EngineDriver
from tests.support.tiny_model import BOS_ID, EOS_ID, write_gguf

OFF, DRAFT, AUTO = SpeculationMode.OFF, SpeculationMode.DRAFT, SpeculationMode.AUTO
NUM_TOKENS = 40
Loading = Callable[..., LoadedEngine]


def sure_model(path: Path, seed: int = 0) -> Path:
    """Write a tiny model whose likeliest token is far likelier than the others; random weights alone are not so."""
    return write_gguf(path, name=path.stem, tensors=sure_weights(seed))


def sure_weights(seed: int = 0) -> tiny_model.Tensors:
    tensors = tiny_model.weights(seed)
    return tensors | {"output": tensors["output"] * 5}


@pytest.fixture(scope="module")
def main(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sure_model(tmp_path_factory.mktemp("draft") / "main.gguf")


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with the main one's weights."""
    return sure_model(tmp_path_factory.mktemp("draft") / "twin.gguf")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with its vocabulary and other weights."""
    return sure_model(tmp_path_factory.mktemp("draft") / "stranger.gguf", seed=5)


@pytest.fixture
def loading(main: Path) -> Iterator[Loading]:
    engines: list[LoadedEngine] = []

    def with_draft(path: Path | str, **draft: Any) -> LoadedEngine:
        spec = LoadSpec(
            model_path=str(main),
            context_length=256,
            max_sequences=4,
            kv_cells=1024,
            step_tokens=64,
            num_threads=1,
            draft=DraftSpec(name="small", model_path=str(path), **{"context_length": 256, "kv_cells": 1024} | draft),
        )
        engines.append(load("llamacpp", spec))
        return engines[-1]

    yield with_draft
    for engine in engines:
        engine.close()


def prompt_of(number: int) -> list[int]:
    return text_ids(20 + number, seed=number)


def answered(
    driver: EngineDriver, mode: SpeculationMode, sampling: SamplingParams = GREEDY, num: int = 3
) -> list[Answer]:
    ids = [
        driver.submit(
            prompt_of(number),
            msgspec.structs.replace(sampling, seed=None if sampling.seed is None else sampling.seed + number),
            max_tokens=NUM_TOKENS,
            ignore_eos=True,
            speculation=mode,
        )
        for number in range(num)
    ]
    driver.run()
    return [driver.answers[sequence_id] for sequence_id in ids]


def drafter_of(engine: LoadedEngine) -> DraftModel:
    assert isinstance(engine.drafter, DraftModel)
    return engine.drafter


def sequence_of(token_ids: list[int], sequence_id: int = 1) -> Sequence:
    return Sequence(sequence_id, token_ids, len(token_ids), 1000, GREEDY)


def right_of(answer: Answer) -> tuple[int, int]:
    usage = answer.end.usage
    assert usage.num_drafted_by_model == usage.num_drafted_tokens
    return usage.num_accepted_by_model, usage.num_drafted_by_model


SAMPLINGS = {
    "greedy": GREEDY,
    "drawn here": SamplingParams(temperature=1.5, seed=7),
    "drawn by the library": SamplingParams(temperature=1.9, top_k=40, top_p=0.95, seed=8),
    "edited": SamplingParams(temperature=1.5, seed=9, repetition_penalty=1.1, num_logprobs=2),
}


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
@pytest.mark.parametrize("path", ["twin", "stranger"])
def test_the_same_tokens_are_drawn_whoever_drafts(
    loading: Loading, request: pytest.FixtureRequest, path: str, sampling: SamplingParams
) -> None:
    driver = EngineDriver(loading(request.getfixturevalue(path)))
    plain = answered(driver, OFF, sampling)
    drafted = answered(driver, DRAFT, sampling)
    assert [answer.token_ids for answer in drafted] == [answer.token_ids for answer in plain]
    assert [answer.text for answer in drafted] == [answer.text for answer in plain]
    assert right_of(plain[0]) == (0, 0)


def test_a_model_of_the_same_weights_is_always_right(loading: Loading, twin: Path) -> None:
    driver = EngineDriver(loading(twin))
    for answer in answered(driver, DRAFT):
        num_right, num_drafted = right_of(answer)
        assert num_right == num_drafted > NUM_TOKENS // 2
    counts = driver.batcher.counts
    assert counts.num_accepted_by_model == counts.num_drafted_by_model == counts.num_drafted > 0


def test_a_model_of_other_weights_is_rarely_right_and_counted_so(loading: Loading, stranger: Path) -> None:
    driver = EngineDriver(loading(stranger))
    for answer in answered(driver, DRAFT):
        num_right, num_drafted = right_of(answer)
        assert num_right < num_drafted / 2


class Without(Matcher):
    """A constraint that forbids one token."""

    is_complete = False

    def __init__(self, token_id: int) -> None:
        self._token_id = token_id

    def mask(self, logits: Logits) -> None:
        logits[self._token_id] = -np.inf

    def accept(self, token_id: int) -> None:
        assert token_id != self._token_id

    def num_allowed(self, token_ids: Tokens[int]) -> int:
        return next((at for at, token_id in enumerate(token_ids) if token_id == self._token_id), len(token_ids))


def test_a_constraint_cuts_what_the_model_drafts(loading: Loading, twin: Path) -> None:
    driver = EngineDriver(loading(twin))
    (free,) = answered(driver, OFF, num=1)
    matcher = Without(free.token_ids[12])
    wishes: dict[str, Any] = {"max_tokens": NUM_TOKENS, "ignore_eos": True, "matcher": matcher}
    plain = driver.answer(prompt_of(0), **wishes, speculation=OFF)
    drafted = driver.answer(prompt_of(0), **wishes, speculation=DRAFT)
    assert free.token_ids[12] not in drafted.token_ids
    assert drafted.token_ids == plain.token_ids
    num_right, num_drafted = right_of(drafted)
    assert num_drafted == num_right > 10, "what the constraint forbids is cut off the drafts"


def test_an_answer_ends_in_the_middle_of_a_models_draft(loading: Loading, twin: Path) -> None:
    driver = EngineDriver(loading(twin))
    (whole,) = answered(driver, OFF, num=1)
    for at in range(1, 12):
        stops = (whole.token_ids[at],)
        plain, drafted = (
            driver.answer(prompt_of(0), max_tokens=NUM_TOKENS, stop_token_ids=stops, speculation=mode)
            for mode in (OFF, DRAFT)
        )
        assert (drafted.token_ids, drafted.text, drafted.reason) == (plain.token_ids, plain.text, plain.reason)


def test_what_was_drafted_and_not_drawn_is_cut(loading: Loading, twin: Path) -> None:
    drafter = drafter_of(loading(twin))
    sequence = sequence_of(text_ids(30))
    (first,) = drafter.draft([Wish(sequence, 6, 100)], 0.0).tokens
    assert len(first) == 6
    sequence.token_ids += [first[0], first[1] ^ 1]
    assert drafter.num_missing(sequence) == 1, "the last token, after which a draft begins"
    (second,) = drafter.draft([Wish(sequence, 6, 100)], 0.0).tokens
    fresh = sequence_of(list(sequence.token_ids), 2)
    (expected,) = drafter.draft([Wish(fresh, 6, 100)], 0.0).tokens
    assert second == expected


def test_a_sequence_begins_with_the_text_of_one_that_has_ended(loading: Loading, twin: Path) -> None:
    drafter = drafter_of(loading(twin))
    sequence = sequence_of(text_ids(60))
    drafter.draft([Wish(sequence, 4, 100)], 0.0)
    drafter.forget(1)
    drafter.forget(1)
    following = sequence_of([*text_ids(60), *text_ids(10, seed=3)], 2)
    assert drafter.num_missing(following) == 10
    other = sequence_of(text_ids(60, seed=9), 3)
    assert drafter.num_missing(other) == 60


def test_of_a_text_that_is_too_dear_only_the_end_is_read(loading: Loading, twin: Path) -> None:
    drafter = drafter_of(loading(twin))
    sequence = sequence_of(text_ids(100))
    drafts = drafter.draft([Wish(sequence, 3, 20)], 0.0)
    assert drafts.num_rows == 20 + 2
    (expected,) = drafter.draft([Wish(sequence_of(text_ids(100)[-20:], 2), 3, 100)], 0.0).tokens
    assert drafts.tokens == [expected]


def test_a_text_longer_than_its_context_is_read_from_the_middle_on(loading: Loading, twin: Path) -> None:
    drafter = drafter_of(loading(twin, context_length=64))
    assert drafter.context_length == 64
    sequence = sequence_of(text_ids(40))
    told = set()
    for _ in range(30):
        told.add(drafter.num_missing(sequence))
        (draft,) = drafter.draft([Wish(sequence, 3, 100)], 0.0).tokens
        assert len(draft) == 3
        sequence.token_ids += draft
    assert len(sequence.token_ids) > 64
    assert told == {40, 1, 32}, "whoever asks is told what it costs to go on"


def test_there_is_a_place_for_each_sequence_and_no_more(loading: Loading, twin: Path) -> None:
    drafter = drafter_of(loading(twin))
    sequences = [sequence_of(text_ids(10, seed=number), number) for number in range(1, 6)]
    missing = [drafter.num_missing(sequence) for sequence in sequences]
    assert missing == [10, 10, 10, 10, None]
    drafts = drafter.draft([Wish(sequence, 2, 100) for sequence in sequences], 0.0)
    assert [len(draft) for draft in drafts.tokens] == [2, 2, 2, 2, 0]
    assert drafts.num_rounds == 2


def test_where_cells_run_out_there_is_no_draft(loading: Loading, twin: Path) -> None:
    drafter = drafter_of(loading(twin, kv_cells=256))
    *others, last = [sequence_of(text_ids(62, seed=number), number) for number in range(5)]
    for sequence in others:
        (draft,) = drafter.draft([Wish(sequence, 1, 500)], 0.0).tokens
        assert len(draft) == 1
    drafter.forget(0)
    others[1].token_ids += text_ids(20)
    assert drafter.draft([Wish(others[1], 1, 500)], 0.0).tokens[0], "the one that has ended makes room"
    others[2].token_ids += text_ids(40)
    assert drafter.draft([Wish(others[2], 1, 500)], 0.0).tokens[0]
    others[3].token_ids += text_ids(20)
    assert drafter.draft([Wish(others[3], 1, 500)], 0.0).tokens == [()]
    assert drafter.draft([Wish(last, 1, 500)], 0.0).tokens == [()]


def test_a_long_text_is_read_in_several_calls(loading: Loading, twin: Path) -> None:
    drafter = drafter_of(loading(twin))
    sequence = sequence_of(text_ids(150))
    lengths = [len(drafter.draft([Wish(sequence, 2, 500)], 0.0).tokens[0]) for _ in range(3)]
    assert lengths == [0, 0, 2], "64 tokens at a time"


def test_tokens_it_does_not_have_are_passed_over(loading: Loading, twin: Path) -> None:
    drafter = drafter_of(loading(twin))
    sequence = sequence_of([*text_ids(10), 1 << 40, *text_ids(5, seed=2)])
    assert drafter.num_missing(sequence) == 5
    assert drafter.draft([Wish(sequence, 2, 100)], 0.0).tokens[0]
    sequence.token_ids.append(1 << 40)
    assert drafter.draft([Wish(sequence, 2, 100)], 0.0).tokens == [()]


def test_an_unlikely_draft_ends_early(loading: Loading, twin: Path) -> None:
    drafter = drafter_of(loading(twin))
    (whole,) = drafter.draft([Wish(sequence_of(text_ids(30)), 8, 100)], 0.0).tokens
    (short,) = drafter.draft([Wish(sequence_of(text_ids(30), 2), 8, 100)], 0.5).tokens
    assert whole[: len(short)] == short
    assert len(short) < len(whole)


def test_a_draft_ends_with_the_answer(loading: Loading, twin: Path, tmp_path: Path) -> None:
    (whole,) = drafter_of(loading(twin)).draft([Wish(sequence_of(text_ids(30)), 8, 100)], 0.0).tokens
    tensors = sure_weights()
    tensors["output"][[EOS_ID, whole[2]]] = tensors["output"][[whole[2], EOS_ID]]
    drafter = drafter_of(loading(write_gguf(tmp_path / "ending.gguf", tensors=tensors)))
    (draft,) = drafter.draft([Wish(sequence_of(text_ids(30)), 8, 100)], 0.0).tokens
    assert draft == (*whole[:2], EOS_ID)


def test_it_computes_with_as_many_threads_as_the_main_model(loading: Loading, twin: Path) -> None:
    engine = loading(twin)
    assert isinstance(engine, LoadedLlamaCpp)
    engine._threads.num = 2
    drafter = drafter_of(engine)
    drafter.draft([Wish(sequence_of(text_ids(30)), 1, 100)], 0.0)
    assert llama_cpp.llama_n_threads(drafter._context.pointer) == 2


def test_the_loaded_model_tells_what_drafts_for_it(loading: Loading, twin: Path) -> None:
    model = loading(twin).model
    assert model.draft is not None
    assert (model.draft.name, model.draft.context_length) == ("small", 256)
    assert 0 < model.draft.memory_bytes < 64 << 20
    assert model.why_no_draft_model is None


@pytest.mark.parametrize(
    ("path", "why_not", "told"),
    [
        ("/no/such.gguf", None, "the file of 'small' is gone: /no/such.gguf"),
        ("", "it needs 3 GB, and 1 GB is left", "it needs 3 GB, and 1 GB is left"),
    ],
)
def test_without_its_draft_model_a_model_runs_and_says_so(
    loading: Loading, path: str, why_not: str | None, told: str
) -> None:
    engine = loading(path, why_not=why_not)
    assert engine.drafter is None
    assert (engine.model.draft, engine.model.why_no_draft_model) == (None, told)
    driver = EngineDriver(engine)
    failed = driver.answers[driver.submit("a", speculation=DRAFT)].failed
    assert isinstance(failed, Failed)
    assert (failed.code, failed.param) == ("unsupported_by_model", "speculation")
    assert told in failed.message
    assert driver.answer("a", speculation=AUTO).reason


def test_a_model_whose_cache_cannot_be_cut_neither_drafts_nor_is_drafted_for(loading: Loading, tmp_path: Path) -> None:
    path = tiny_recurrent.write_gguf(tmp_path / "recurrent.gguf")
    engine = loading(path)
    assert engine.drafter is None
    assert engine.model.why_no_draft_model == "'small' cannot draft: its cache cannot be cut behind a wrong token"
    spec = LoadSpec(model_path=str(path), context_length=64, draft=DraftSpec(name="small", model_path=str(path)))
    main = load("llamacpp", spec)
    assert (main.drafter, main.model.why_no_draft_model) == (None, main.model.why_no_drafts)
    main.close()


def test_a_file_that_cannot_be_loaded_is_told_and_the_model_runs_without(loading: Loading, tmp_path: Path) -> None:
    (tmp_path / "damaged.gguf").write_bytes(b"GGUF")
    engine = loading(tmp_path / "damaged.gguf")
    assert engine.drafter is None
    assert "damaged.gguf" in (engine.model.why_no_draft_model or "")
    assert EngineDriver(engine).answer("a").reason


def test_one_that_sees_a_window_can_be_cut_anywhere(loading: Loading, tmp_path: Path) -> None:
    drafter = drafter_of(loading(tiny_windowed.write_gguf(tmp_path / "windowed.gguf")))
    for number in range(4):
        sequence = sequence_of(text_ids(200, seed=number), number)
        while not drafter.draft([Wish(sequence, 1, 500)], 0.0).tokens[0]:
            pass  # it is read in several calls
        drafter.forget(number)
    assert drafter.num_missing(sequence_of([*text_ids(40), 65], 5)) == 1
    slot = drafter._slots[5].number
    first, last = llama_cpp.llama_memory_seq_pos_min, llama_cpp.llama_memory_seq_pos_max
    assert (first(drafter._context.memory, slot), last(drafter._context.memory, slot)) == (0, 39), (
        "others took no cells of it"
    )


def test_vocabularies_may_differ_as_much_as_when_a_draft_model_is_set() -> None:
    assert loading_drafts.MAX_SIZE_DIFFERENCE == vocabulary.MAX_SIZE_DIFFERENCE


def test_another_vocabulary_is_refused_by_what_differs(loading: Loading, tmp_path: Path) -> None:
    tokens = tiny_model.vocabulary()
    tokens[BOS_ID] = "<|begin|>"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_model, "vocabulary", lambda: tokens)
        path = write_gguf(tmp_path / "other.gguf")
    with pytest.raises(
        LoadError,
        match=r"draft: 'small' cannot draft.*its token 257 is '<\|begin\|>', the model's is '<\|im_start\|>'",
    ):
        loading(path)
