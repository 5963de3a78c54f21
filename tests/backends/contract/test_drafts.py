"""What drafts must not change: the tokens, their likelihoods, when an answer ends, and what is kept of it."""

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import msgspec
import pytest

from backends.base import LoadedEngine
from backends.fake.engine import FakeEngine, FakeOptions
from backends.speculation import speculation
from backends.speculation.lookup import TokenLookup
from backends.wire.load import LoadSpec
from backends.wire.messages import Failed
from backends.wire.request import SamplingParams, SpeculationMode
from tests.backends.conftest import EngineUnderTest
from tests.support.bare_engine import text_ids
from tests.support.engine_driver import GREEDY, Answer, EngineDriver

DRAFTING = ("fake", "llamacpp", "mlx")
SAMPLINGS = {
    "greedy": GREEDY,
    "drawn here": SamplingParams(temperature=0.9, seed=7),
    "drawn by the library": SamplingParams(temperature=0.9, top_k=40, top_p=0.95, seed=8),
    "edited": SamplingParams(
        temperature=0.9, seed=9, frequency_penalty=0.5, repetition_penalty=1.1, num_logprobs=3, logit_bias=((65, 2.0),)
    ),
}
NUM_TOKENS = 40
OFF, LOOKUP = SpeculationMode.OFF, SpeculationMode.LOOKUP


class Oracle(TokenLookup):
    """Knows what follows, and tells every so manyth token wrong."""

    known: ClassVar[list[list[int]]] = []
    spoilt_every: ClassVar[int | None] = None

    def draft(self, token_ids: list[int], max_tokens: int) -> tuple[int, ...]:
        known = next((whole for whole in self.known if whole[: len(token_ids)] == token_ids), token_ids)
        places = range(len(token_ids), min(len(token_ids) + max_tokens, len(known)))
        every = self.spoilt_every
        return tuple(other_than(known[at]) if every is not None and at % every == 0 else known[at] for at in places)


def other_than(token_id: int) -> int:
    """Return another token that every vocabulary has."""
    return 65 if token_id != 65 else 66


@pytest.fixture(params=DRAFTING)
def drafting(request: pytest.FixtureRequest, loaded_engines: Callable[[str], EngineUnderTest]) -> LoadedEngine:
    if request.param != "fake":
        return loaded_engines(request.param).engine
    spec = LoadSpec(model_path="", context_length=256, max_sequences=4, kv_cells=1024, step_tokens=64)
    return FakeEngine(FakeOptions(takes_drafts=True)).load(spec, lambda _share: None)


@pytest.fixture
def driver(drafting: LoadedEngine) -> Iterator[EngineDriver]:
    driver = EngineDriver(drafting, keeps_ended=True)
    yield driver
    driver.close()


@pytest.fixture(autouse=True)
def oracle(monkeypatch: pytest.MonkeyPatch) -> type[Oracle]:
    monkeypatch.setattr(Oracle, "known", [])
    monkeypatch.setattr(Oracle, "spoilt_every", None)
    monkeypatch.setattr(speculation, "TokenLookup", Oracle)
    return Oracle


def most(driver: EngineDriver, num: int) -> int:
    """Return how many of so many sequences may have drafts together."""
    return min(num, driver.engine.limits.max_drafted or num)


def prompt_of(number: int) -> list[int]:
    return text_ids(20 + number, seed=number)


def submitted(
    driver: EngineDriver, sampling: SamplingParams, mode: SpeculationMode, num: int, **more: Any
) -> list[int]:
    """Hand in sequences with seeds of their own."""
    wishes: dict[str, Any] = {"max_tokens": NUM_TOKENS, "ignore_eos": True, "speculation": mode} | more
    seeds = [None if sampling.seed is None else sampling.seed + number for number in range(num)]
    return [
        driver.submit(prompt_of(number), msgspec.structs.replace(sampling, seed=seed), **wishes)
        for number, seed in enumerate(seeds)
    ]


def answered(
    driver: EngineDriver, sampling: SamplingParams, mode: SpeculationMode, num: int, **more: Any
) -> list[Answer]:
    """Run sequences together; without drafts, their answers are what is known from then on."""
    ids = submitted(driver, sampling, mode, num, **more)
    driver.run()
    answers = [driver.answers[sequence_id] for sequence_id in ids]
    if mode is OFF:
        Oracle.known = [prompt_of(number) + answer.token_ids for number, answer in enumerate(answers)]
    return answers


def contents(answer: Answer) -> tuple[object, ...]:
    return answer.token_ids, answer.text, answer.reason, answer.end.usage.num_output_tokens


@pytest.mark.parametrize("spoilt_every", [None, 4, 1])
@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
def test_the_same_tokens_are_drawn_whatever_is_drafted(
    driver: EngineDriver, oracle: type[Oracle], sampling: SamplingParams, spoilt_every: int | None
) -> None:
    plain = answered(driver, sampling, OFF, most(driver, 3))
    oracle.spoilt_every = spoilt_every
    num_before = driver.batcher.counts.num_steps
    drafted = answered(driver, sampling, LOOKUP, most(driver, 3))
    assert [contents(answer) for answer in drafted] == [contents(answer) for answer in plain]
    num_steps = driver.batcher.counts.num_steps - num_before
    assert num_steps < NUM_TOKENS / 2 if spoilt_every != 1 else num_steps >= NUM_TOKENS
    for one, other in zip(plain, drafted, strict=True):
        assert [each.drawn.token_id for each in one.likelihoods] == [each.drawn.token_id for each in other.likelihoods]
        for before, after in zip(one.likelihoods, other.likelihoods, strict=True):
            assert after.drawn.logprob == pytest.approx(before.drawn.logprob, abs=1e-3)


@pytest.mark.parametrize("max_tokens", range(1, 12))
def test_an_answer_ends_at_its_limit_in_the_middle_of_a_draft(driver: EngineDriver, max_tokens: int) -> None:
    num = most(driver, 2)
    answered(driver, GREEDY, OFF, num)
    plain = answered(driver, GREEDY, OFF, num, max_tokens=max_tokens)
    Oracle.known = [prompt_of(number) + answer.token_ids + [65] * 9 for number, answer in enumerate(plain)]
    drafted = answered(driver, GREEDY, LOOKUP, num, max_tokens=max_tokens)
    assert [contents(answer) for answer in drafted] == [contents(answer) for answer in plain]


@pytest.mark.parametrize("at", [3, 5, 6, 11])
@pytest.mark.parametrize("by", ["token", "text"])
def test_an_answer_ends_in_the_middle_of_a_draft_and_its_cache_serves_the_next_turn(
    driver: EngineDriver, at: int, by: str
) -> None:
    whole, *_ = answered(driver, GREEDY, OFF, 2)
    stop_id = whole.token_ids[at]
    stops: dict[str, Any] = {"stop_token_ids": (stop_id,)}
    if by == "text":
        stops = {"stop": (driver.engine.tokenizer.token_bytes(stop_id).decode(errors="replace"),)}
    (plain,) = answered(driver, GREEDY, OFF, 1, **stops)
    Oracle.known = [prompt_of(0) + whole.token_ids]
    (drafted,) = answered(driver, GREEDY, LOOKUP, 1, **stops)
    assert contents(drafted) == contents(plain)
    assert len(drafted.token_ids) <= at + 1
    turn = prompt_of(0) + drafted.token_ids + text_ids(9, seed=99)
    again = driver.answer(turn, max_tokens=8, ignore_eos=True, speculation=LOOKUP)
    # All that the sequence had is in its cache, also what was drafted and drawn last.
    assert again.end.usage.num_cached_tokens >= len(prompt_of(0)) + len(drafted.token_ids) - 1
    fresh = EngineDriver(driver.engine)
    fresh.answers = {number: Answer() for number in range(1, 500)}
    assert fresh.answer(turn, max_tokens=8, ignore_eos=True).token_ids == again.token_ids
    fresh.close()


def test_a_sequence_forks_from_one_that_was_drafted_for(driver: EngineDriver, oracle: type[Oracle]) -> None:
    (plain,) = answered(driver, GREEDY, OFF, 1)
    oracle.spoilt_every = 3
    (first,) = submitted(driver, GREEDY, LOOKUP, 1)
    driver.step_until(lambda: driver.num_output_tokens(first) >= 12)
    prompt = prompt_of(0) + plain.token_ids[:10]
    second = driver.submit(prompt, max_tokens=12, ignore_eos=True, speculation=LOOKUP)
    driver.run()
    assert driver.answers[first].token_ids == plain.token_ids
    assert driver.answers[second].token_ids == plain.token_ids[10:22]
    assert second in driver.batcher.forked


def test_one_that_is_cancelled_in_the_middle_leaves_the_others_as_they_are(
    driver: EngineDriver, oracle: type[Oracle]
) -> None:
    plain = answered(driver, GREEDY, OFF, 3)
    oracle.spoilt_every = 5
    ids = submitted(driver, GREEDY, LOOKUP, 3)
    driver.step_until(lambda: driver.num_output_tokens(ids[1]) >= 9)
    driver.cancel(ids[1])
    driver.run()
    assert [driver.answers[ids[index]].token_ids for index in (0, 2)] == [plain[0].token_ids, plain[2].token_ids]
    assert driver.answer(prompt_of(1), max_tokens=NUM_TOKENS, ignore_eos=True).token_ids == plain[1].token_ids


def test_drafts_take_no_cells_that_are_not_there(drafting: LoadedEngine, oracle: type[Oracle]) -> None:
    driver = EngineDriver(drafting, context_length=64, kv_cells=64)
    plain = [driver.answer(prompt_of(number), max_tokens=40, ignore_eos=True, speculation=OFF) for number in range(2)]
    oracle.known = [prompt_of(number) + answer.token_ids for number, answer in enumerate(plain)]
    oracle.spoilt_every = 6
    ids = [driver.submit(prompt_of(number), max_tokens=40, ignore_eos=True, speculation=LOOKUP) for number in range(2)]
    driver.run()
    assert [driver.answers[sequence_id].token_ids for sequence_id in ids] == [answer.token_ids for answer in plain]
    assert driver.batcher.evicted, "both do not fit to their end"
    driver.close()


def test_drafts_begin_and_end_as_others_come_and_go(driver: EngineDriver, oracle: type[Oracle]) -> None:
    """Where one alone may have drafts, it goes on without them beside others, and with them when they are gone."""
    plain = answered(driver, SAMPLINGS["drawn here"], OFF, 2)
    oracle.spoilt_every = 4
    first, *_ = submitted(driver, SAMPLINGS["drawn here"], LOOKUP, 1)
    driver.step_until(lambda: driver.num_output_tokens(first) >= 10)
    seed = (SAMPLINGS["drawn here"].seed or 0) + 1
    sampling = msgspec.structs.replace(SAMPLINGS["drawn here"], seed=seed)
    second = driver.submit(prompt_of(1), sampling, max_tokens=12, ignore_eos=True, speculation=LOOKUP)
    driver.run()
    assert driver.answers[first].token_ids == plain[0].token_ids
    assert driver.answers[second].token_ids == plain[1].token_ids[:12]
    assert driver.answers[first].end.usage.num_accepted_tokens > 10


def test_drafts_that_stop_leave_the_rest_of_the_answer_as_it_is(driver: EngineDriver, oracle: type[Oracle]) -> None:
    (plain,) = answered(driver, SAMPLINGS["edited"], OFF, 1)
    oracle.known = [known[:35] for known in oracle.known]
    (drafted,) = answered(driver, SAMPLINGS["edited"], LOOKUP, 1)
    assert contents(drafted) == contents(plain)
    assert drafted.end.usage.num_drafted_tokens < 20


def test_an_engine_without_drafts_refuses_them_by_name() -> None:
    driver = EngineDriver(FakeEngine(FakeOptions()).load(LoadSpec(model_path=""), lambda _share: None))
    failed = driver.answers[driver.submit("a", speculation=LOOKUP)].failed
    assert isinstance(failed, Failed)
    assert (failed.code, failed.param) == ("unsupported_by_model", "speculation")
    assert driver.answer("a", speculation=SpeculationMode.AUTO).reason
    driver.close()
