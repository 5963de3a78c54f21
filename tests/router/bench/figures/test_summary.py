"""Figures are what a hand computes from the samples; what was not measured is None."""

from typing import Any

import msgspec
import pytest

from registry.bench_record import BenchLoad, BenchNotice, BenchRecord, BenchSample
from router.bench.figures.figures import (
    DECISION_KINDS,
    KINDS,
    ROUND_FIGURES,
    SIDE_KINDS,
    TALK_KINDS,
    TALK_WAYS,
    is_agreed,
)
from router.bench.figures.summary import Figure, summarize
from tests.support.bench_records import (
    LLAMACPP,
    MLX,
    PARALLEL,
    make_decisions_run,
    make_look_run,
    make_record,
    make_run,
    make_sample,
    make_talk_run,
)


def figures(record: BenchRecord, contestant: int = 0) -> dict[str, Figure]:
    return summarize(record).scenarios[0].contestants[contestant].figures


def rounds_of(contestant: int, *speeds: float, **changes: Any) -> list[BenchSample]:
    return [
        make_sample(contestant, number, ttft_ms=100 / speed, gap_ms=20 / speed, **changes)
        for number, speed in enumerate(speeds)
    ]


def test_a_single_stream_gives_the_figures_that_a_hand_computes() -> None:
    found = figures(make_record([make_sample(ttft_ms=100, gap_ms=20, num_output_tokens=21)]))
    assert found["ttft_p50_ms"].value == 100
    assert found["ttft_p95_ms"].value == 100
    assert found["prefill_tokens_per_s"].value == pytest.approx((110 - 10) / 0.1)
    assert found["decode_tokens_per_s"].value == pytest.approx(20 / 0.4)
    assert found["effective_tokens_per_s"].value == pytest.approx(21 / 0.5)
    assert found["gap_p99_ms"].value == pytest.approx(20)


def test_one_round_has_a_value_and_no_interval() -> None:
    found = figures(make_record(rounds_of(0, 1.0)))["decode_tokens_per_s"]
    assert (found.num, found.interval) == (1, None)


def test_cached_prompt_tokens_do_not_count_as_read() -> None:
    cached = make_sample(num_prompt_tokens=110, num_cached_tokens=110)
    unknown = make_sample(num_prompt_tokens=110, num_cached_tokens=None)
    assert figures(make_record([cached]))["prefill_tokens_per_s"] == Figure()
    assert figures(make_record([unknown]))["prefill_tokens_per_s"] == Figure()


def test_parallel_answers_share_the_time_that_they_took_together() -> None:
    samples = [
        make_sample(scenario="parallel-4", num_parallel=4, started_s=5.0 + 0.1 * stream, total_ms=900.0)
        for stream in range(4)
    ]
    found = figures(make_record(samples, scenarios=(PARALLEL,)))
    assert found["effective_tokens_per_s"].value == pytest.approx(4 * 21 / 1.2)
    assert found["decode_tokens_per_s"].value == pytest.approx(50)


def test_turns_of_one_round_are_summed() -> None:
    samples = [make_sample(ttft_ms=100), make_sample(ttft_ms=300)]
    found = figures(make_record(samples))
    assert found["effective_tokens_per_s"].value == pytest.approx(42 / (0.5 + 0.7))
    assert found["ttft_p50_ms"].value == 200


def test_all_contestants_are_measured_by_one_clock() -> None:
    own = make_sample(0, gap_ms=20, decode_ms=200.0)
    foreign = make_sample(1, gap_ms=20, has_server_figures=False)
    both = summarize(make_record([own, foreign])).scenarios[0]
    assert both.clock == "client"
    assert [found.figures["decode_tokens_per_s"].value for found in both.contestants] == pytest.approx([50, 50])
    alone = summarize(make_record([own])).scenarios[0]
    assert alone.clock == "server"
    assert alone.contestants[0].figures["decode_tokens_per_s"].value == pytest.approx(100)


def test_what_was_not_measured_is_none() -> None:
    found = figures(make_record([make_sample(num_output_tokens=1, has_server_figures=False)]))
    assert found["decode_tokens_per_s"] == Figure()
    assert found["prefill_tokens_per_s"] == Figure()
    assert found["gap_p99_ms"] == Figure()
    nothing = summarize(make_record())
    assert all(figure == Figure() for part in nothing.scenarios[0].contestants for figure in part.figures.values())
    assert nothing.sides[0].figures["energy_j"] == Figure()


def test_a_server_that_counts_no_tokens_has_no_rates() -> None:
    found = figures(make_record([make_sample(num_output_tokens=0, total_ms=100.0)]))
    assert found["effective_tokens_per_s"] == Figure()
    assert found["ttft_p50_ms"].value == 100


def test_failed_requests_are_counted_and_give_no_figures() -> None:
    samples = [make_sample(0, 0), make_sample(0, 1, error="cut off", ttft_ms=1.0)]
    found = summarize(make_record(samples)).scenarios[0].contestants[0]
    assert (found.num_answers, found.num_failed) == (1, 1)
    assert found.figures["ttft_p50_ms"].value == 100


def test_the_second_is_compared_with_the_first_within_rounds() -> None:
    speeds = (1.0, 0.5, 0.25, 1.0, 2.0)
    samples = rounds_of(0, *speeds) + rounds_of(1, *(2 * speed for speed in speeds))
    first, second = summarize(make_record(samples)).scenarios[0].contestants
    assert first.figures["decode_tokens_per_s"].ratio is None
    rate, wait = second.figures["decode_tokens_per_s"], second.figures["ttft_p50_ms"]
    assert rate.ratio is not None
    assert wait.ratio is not None
    assert (rate.ratio.low, rate.ratio.high) == pytest.approx((2, 2))
    assert wait.ratio.mid == pytest.approx(0.5)
    assert (rate.verdict, wait.verdict) == ("faster", "faster")


def test_only_rounds_that_both_have_are_compared() -> None:
    samples = rounds_of(0, 1.0, 1.0, 1.0, 9.0) + rounds_of(1, 2.0, 2.0, 2.0)
    ratio = summarize(make_record(samples)).scenarios[0].contestants[1].figures["decode_tokens_per_s"].ratio
    assert ratio is not None
    assert ratio.mid == pytest.approx(2)


def test_contestants_in_no_common_round_are_not_compared() -> None:
    samples = rounds_of(0, 1.0, 1.0, 1.0) + [make_sample(1, number) for number in (7, 8, 9)]
    found = summarize(make_record(samples)).scenarios[0].contestants[1].figures["decode_tokens_per_s"]
    assert found.value is not None
    assert (found.ratio, found.verdict) == (None, None)


def test_the_winner_is_faster_than_every_other() -> None:
    steady = (1.0, 1.01, 0.99, 1.0, 1.02)
    contestants = (LLAMACPP, MLX, MLX)
    clear = rounds_of(0, *steady) + rounds_of(1, 3, 3, 3.1, 3, 3) + rounds_of(2, 2, 2, 2.1, 2, 2)
    assert summarize(make_record(clear, contestants=contestants)).scenarios[0].winner == 1
    tied = rounds_of(0, *steady) + rounds_of(1, 3, 3, 3.1, 3, 3) + rounds_of(2, 3, 3.1, 3, 2.9, 3)
    assert summarize(make_record(tied, contestants=contestants)).scenarios[0].winner is None
    alone = rounds_of(0, *steady)
    assert summarize(make_record(alone)).scenarios[0].winner is None


@pytest.mark.parametrize(("scenario", "winner"), [(None, None), ("short-chat", None), ("another", 1)])
def test_a_void_comparison_has_no_winner(scenario: str | None, winner: int | None) -> None:
    notice = BenchNotice(code="swap_use", message="The machine swapped.", is_void=True, scenario=scenario)
    found = summarize(make_run(notices=(notice,))).scenarios[0]
    assert found.winner == winner
    assert found.is_void is (winner is None)


def test_a_skipped_scenario_says_why() -> None:
    found = summarize(make_run()).scenarios[-1]
    assert found.skipped == "the context has 4096 tokens"
    assert found.winner is None


def test_loads_swaps_and_memory_stand_beside() -> None:
    loads = [BenchLoad(contestant=0, load_ms=1000.0 + number, unload_ms=50.0, freed_bytes=7) for number in range(5)]
    loads += [BenchLoad(contestant=1, load_ms=2000.0 + number) for number in range(5)]
    loads += [BenchLoad(contestant=1, is_swap=True, load_ms=3000.0)]
    first, second = summarize(make_record(loads=tuple(loads))).sides
    assert first.figures["load_s"].value == pytest.approx(1.002)
    assert first.figures["freed_bytes"].value == 7
    assert first.figures["peak_memory_bytes"].value == 300_000_000
    assert first.figures["swap_s"] == Figure()
    assert second.figures["swap_s"].value == 3
    assert second.figures["load_s"].verdict == "slower"
    assert second.figures["unload_s"] == Figure()
    assert second.figures["peak_memory_bytes"].verdict is None


def test_every_figure_has_a_kind() -> None:
    found = summarize(make_run())
    assert set(found.scenarios[0].contestants[0].figures) == {kind.name for kind in KINDS}
    assert set(found.sides[0].figures) == {kind.name for kind in SIDE_KINDS}
    assert set(ROUND_FIGURES) < {kind.name for kind in KINDS}


def test_the_same_run_always_has_the_same_summary() -> None:
    assert summarize(make_run()) == summarize(make_run())


def test_pictures_have_figures_of_their_own_and_a_hand_computes_them() -> None:
    found = figures(make_look_run())
    assert (found["ttft_p50_ms"].value, found["ttft_p95_ms"].value, found["ttft_again_ms"].value) == (500, 500, 50)
    assert found["ttft_p95_ms"].num == 5, "of new pictures only"
    assert found["encode_ms"].value == 400
    assert found["rows_per_s"].value == pytest.approx(192 / 0.4)
    assert found["equal_answers_percent"] == Figure()
    assert found["prefill_tokens_per_s"] == Figure()  # the tower's time is in it


def test_pictures_are_compared_and_answers_are_held_against_the_first() -> None:
    found = figures(make_look_run(ratio=2.0), 1)
    ratios = {name: found[name].ratio for name in ("encode_ms", "rows_per_s", "ttft_again_ms")}
    assert {name: ratio.mid for name, ratio in ratios.items() if ratio is not None} == pytest.approx(
        {"encode_ms": 0.5, "rows_per_s": 2.0, "ttft_again_ms": 0.5}
    )
    assert {name: found[name].verdict for name in ratios} == dict.fromkeys(ratios, "faster")
    assert (found["equal_answers_percent"].num, found["equal_answers_percent"].value) == (10, 60)


def test_of_a_peer_that_tells_nothing_of_pictures_only_what_was_measured_is_there() -> None:
    found = figures(make_look_run(tells_pictures=False), 1)
    assert found["encode_ms"] == found["rows_per_s"] == Figure()
    assert (found["ttft_p50_ms"].value, found["ttft_again_ms"].value) == (250, 25)
    assert found["equal_answers_percent"].value == 60


def test_a_picture_whose_rows_were_made_again_counts_as_neither() -> None:
    made_again = make_sample(ttft_ms=400, image="again", is_image_cached=False, encode_ms=300.0, num_image_tokens=30)
    found = figures(make_record([make_sample(ttft_ms=500, image="new"), made_again]))
    assert (found["ttft_p50_ms"].value, found["ttft_again_ms"]) == (500, Figure())
    assert found["encode_ms"].value == 300


def test_scenarios_without_pictures_have_no_figures_of_them() -> None:
    (scenario, *_) = summarize(make_run()).scenarios
    assert {"encode_ms", "rows_per_s", "ttft_again_ms", "equal_answers_percent"}.isdisjoint(
        scenario.contestants[1].figures
    )


def test_drafts_have_a_figure_where_any_were_made() -> None:
    drafted = make_sample(num_drafted=8, num_accepted=6, num_drafted_by_model=5)
    found = figures(make_record([drafted, make_sample(num_drafted=12, num_accepted=4)]))
    assert found["accepted_drafts_percent"].value == 50
    assert found["model_drafts_percent"].value == 25
    (scenario, *_) = summarize(make_run()).scenarios
    assert "accepted_drafts_percent" not in scenario.contestants[0].figures


def test_a_long_talk_says_what_was_recalled_and_what_turns_took() -> None:
    found = figures(make_talk_run())
    assert [found[f"{way}_recall_percent"].value for way in TALK_WAYS] == [50, 0, 100]
    assert [found[f"{way}_outdated_percent"].value for way in TALK_WAYS] == [50, 50, 0]
    wound = found["wind_recall_percent"]
    assert wound.num == 6
    assert wound.interval is not None
    assert [wound.interval.low, wound.interval.high] == pytest.approx([18.8, 81.2], abs=0.1)
    assert found["wind_turn_p50_ms"].value == 250
    assert found["wind_turn_tokens"].value == 25
    assert found["wind_turn_p95_ms"].value == pytest.approx(400)
    assert found["num_winds"].value == 1
    assert {kind.name for kind in TALK_KINDS} <= found.keys()


def test_of_a_talk_that_failed_nothing_was_measured() -> None:
    run = make_talk_run()
    failed = [msgspec.structs.replace(each, error="no") if each.contestant else each for each in run.samples]
    found = figures(msgspec.structs.replace(run, samples=tuple(failed)), 1)
    assert {found[kind.name] for kind in TALK_KINDS} == {Figure()}


def test_decisions_say_how_far_opinions_are_apart() -> None:
    first, second = (figures(make_decisions_run(), contestant) for contestant in range(2))
    assert {first[kind.name] for kind in DECISION_KINDS[1:]} == {Figure()}
    assert first["decisions_p50_ms"].value == 200
    agreed, mean, most = (second[kind.name] for kind in DECISION_KINDS[1:])
    assert agreed.num == 9
    assert agreed.value == pytest.approx(100 * 6 / 9)
    assert agreed.interval is not None
    assert mean.num == 18
    assert mean.value == pytest.approx((10 + 10 + 0 + 40 + 40 + 10) / 6)
    assert most.value == pytest.approx(40)
    assert (second["decisions_p50_ms"].value, second["decisions_p50_ms"].verdict) == (100, "faster")
    (scenario, *_) = summarize(make_run()).scenarios
    assert "agreement_percent" not in scenario.contestants[0].figures


def test_yes_or_no_is_agreed_on_by_its_side_of_one_half() -> None:
    assert is_agreed((0.9,), (0.6,))
    assert not is_agreed((0.9,), (0.4,))
    assert is_agreed((0.2, 0.8), (0.4, 0.6))
    assert not is_agreed((0.2, 0.8), (0.6, 0.4))
