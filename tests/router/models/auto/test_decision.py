"""Which engine `auto` picks: by expected times, without thrash."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.engines import EngineKind
from router.models.auto.decision import MARGIN, SWAP_PATIENCE_S, AutoDecision, Standing, decide, new_credit_s
from router.models.auto.speeds import NUM_BUCKETS, EngineSpeeds
from router.models.size import RequestSize

SHORT, LONG = RequestSize(100, 50), RequestSize(4000, 50)


def speeds(
    engine: EngineKind, prefill: float | None, decode: float | None, load_s: float | None = 1.0, unload_s: float = 0.5
) -> EngineSpeeds:
    return EngineSpeeds(
        engine=engine,
        prefill=(prefill,) * NUM_BUCKETS,
        decode=(decode,) * NUM_BUCKETS,
        load_s=load_s,
        unload_s=unload_s,
        num_samples=10,
    )


PREFILLS = speeds(EngineKind.MLX, 1000.0, 20.0)
DECODES = speeds(EngineKind.LLAMACPP, 200.0, 60.0)
BOTH = {EngineKind.MLX: PREFILLS, EngineKind.LLAMACPP: DECODES}


def engine_for(size: RequestSize, standing: Standing | None = None) -> str | None:
    return decide(BOTH, size, standing or Standing()).engine


def test_with_nothing_loaded_the_smaller_expected_time_wins() -> None:
    assert engine_for(SHORT) == "llamacpp"
    assert engine_for(LONG) == "mlx"


def test_the_numbers_add_up() -> None:
    decision = decide(BOTH, LONG, Standing())
    mlx, llamacpp = decision.expectations
    assert (mlx.engine, mlx.load_s, mlx.prefill_s, mlx.decode_s) == ("mlx", 1.0, 4.0, 2.5)
    assert mlx.total_s == 7.5
    assert llamacpp.total_s == pytest.approx(1.0 + 20.0 + 50 / 60)


def test_a_swap_costs_the_unload_too() -> None:
    decision = decide(BOTH, SHORT, Standing(resident=EngineKind.MLX))
    by_engine = {each.engine: each for each in decision.expectations}
    assert (by_engine[EngineKind.MLX].load_s, by_engine[EngineKind.LLAMACPP].load_s) == (0.0, 1.5)


def test_a_request_that_saves_more_than_the_swap_costs_swaps() -> None:
    assert engine_for(LONG, Standing(resident=EngineKind.LLAMACPP)) == EngineKind.MLX


def test_one_that_saves_less_stays_until_several_would_have_paid_for_it() -> None:
    standing, engines = Standing(resident=EngineKind.MLX), []
    for _ in range(2):
        decision = decide(BOTH, SHORT, standing)
        engines.append(decision.engine)
        standing = Standing(resident=EngineKind.MLX, credit_s=new_credit_s(standing, decision))
    assert engines == ["mlx", "llamacpp"]
    assert standing.credit_s == 0.0, "who was just loaded owes nothing"


@pytest.mark.parametrize(
    "standing",
    [
        Standing(resident=EngineKind.LLAMACPP, is_busy=True),
        Standing(resident=EngineKind.LLAMACPP, since_swap_s=SWAP_PATIENCE_S - 1),
        Standing(resident=EngineKind.LLAMACPP, num_cached_tokens=3900),
    ],
    ids=["it is at work", "it was just loaded", "it has the conversation"],
)
def test_the_resident_engine_serves_all_the_same(standing: Standing) -> None:
    decision = decide(BOTH, LONG, standing)
    assert decision.engine == "llamacpp"
    assert "llamacpp is loaded" in decision.why or "llamacpp was loaded" in decision.why


def test_a_small_difference_changes_nothing() -> None:
    near = {EngineKind.MLX: PREFILLS, EngineKind.LLAMACPP: speeds(EngineKind.LLAMACPP, 1000.0, 20.0 * (1 + MARGIN / 2))}
    assert decide(near, LONG, Standing(resident=EngineKind.MLX, credit_s=100.0)).engine == EngineKind.MLX


@pytest.mark.parametrize(
    "known",
    [
        {},
        {EngineKind.MLX: PREFILLS},
        {EngineKind.MLX: PREFILLS, EngineKind.LLAMACPP: speeds(EngineKind.LLAMACPP, None, 60.0)},
        {EngineKind.MLX: PREFILLS, EngineKind.LLAMACPP: speeds(EngineKind.LLAMACPP, 200.0, None)},
        {EngineKind.MLX: PREFILLS, EngineKind.LLAMACPP: speeds(EngineKind.LLAMACPP, 200.0, 60.0, load_s=None)},
    ],
    ids=["nothing", "one engine", "no prefill", "no decode", "no load"],
)
def test_what_was_not_measured_is_not_guessed(known: dict[EngineKind, EngineSpeeds]) -> None:
    decision = decide(known, LONG, Standing())
    assert decision.engine is None
    assert decision.expectations == ()


def run_s(engine: EngineSpeeds, size: RequestSize) -> float:
    assert engine.prefill[0] is not None
    assert engine.decode[0] is not None
    return size.num_prompt_tokens / engine.prefill[0] + size.num_answer_tokens / engine.decode[0]


def serve(sizes: list[RequestSize], gap_s: float) -> tuple[int, float, list[AutoDecision]]:
    """Serve requests one after the other; return the swaps, the time in all, and the decisions."""
    resident: EngineKind | None = None
    now, credit_s, total_s, swaps = 0.0, 0.0, 0.0, 0
    swapped_at: float | None = None
    decisions = []
    for size in sizes:
        standing = Standing(
            resident=resident, credit_s=credit_s, since_swap_s=None if swapped_at is None else now - swapped_at
        )
        decision = decide(BOTH, size, standing)
        decisions.append(decision)
        if resident is not None and decision.engine != resident:
            swaps += 1
            swapped_at = now
        credit_s = new_credit_s(standing, decision)
        resident = decision.engine
        total_s += decision.expectations[0].total_s
        now += gap_s
    return swaps, total_s, decisions


@pytest.mark.parametrize("gap_s", [1.0, 60.0])
def test_alternating_short_chats_do_not_thrash(gap_s: float) -> None:
    """Each is better on the other engine by less than a swap costs."""
    sizes = [RequestSize(100, 50), RequestSize(400, 10)] * 100
    swaps, _, _ = serve(sizes, gap_s)
    assert swaps <= 20


@given(st.lists(st.sampled_from([SHORT, LONG, RequestSize(400, 10)]), min_size=1, max_size=80), st.floats(0.1, 100))
def test_any_requests_swap_boundedly_and_cost_little_more_than_the_better_engine_alone(
    sizes: list[RequestSize], gap_s: float
) -> None:
    swaps, total_s, _ = serve(sizes, gap_s)
    assert swaps <= 1 + len(sizes) * gap_s / SWAP_PATIENCE_S
    alone = [1.0 + sum(run_s(engine, size) for size in sizes) for engine in (PREFILLS, DECODES)]
    if gap_s > SWAP_PATIENCE_S:
        assert total_s <= 2 * min(alone) + 4


def test_it_changes_over_when_the_work_does() -> None:
    _, _, decisions = serve([LONG] * 5 + [SHORT] * 20 + [LONG] * 5, 30.0)
    assert [decisions[index].engine for index in (4, 24, 29)] == ["mlx", "llamacpp", "mlx"]


def test_the_same_numbers_give_the_same_choice_in_any_order() -> None:
    rng = random.Random(1)
    for _ in range(20):
        names = list(BOTH)
        rng.shuffle(names)
        assert decide({name: BOTH[name] for name in names}, LONG, Standing()).engine == EngineKind.MLX
