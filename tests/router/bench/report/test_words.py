"""What reports say: the faster one is named first, nothing is claimed without an interval, nothing unmeasured is 0."""

import msgspec
import pytest

from registry.bench_record import BenchNotice, BenchQuality, BenchRecord
from router.bench.figures.figures import KINDS_BY_NAME
from router.bench.figures.statistics import Interval
from router.bench.figures.summary import Figure, summarize
from router.bench.report.amounts import amount, amount_and_interval, duration, plain, spread
from router.bench.report.words import contestant_facts, headline, label, quality_sentences, scenario_sentences
from tests.support.bench_records import LLAMACPP, MLX, make_record, make_run, make_sample


def sentences(record: BenchRecord) -> tuple[str, ...]:
    return scenario_sentences(record, summarize(record).scenarios[0])


def test_the_faster_one_is_named_first_with_a_number_above_one() -> None:
    assert sentences(make_run(ratio=1.5))[0].startswith("mlx gives whole answers 1.48 times as fast as llamacpp (betw")
    assert sentences(make_run(ratio=0.5))[0].startswith("llamacpp gives whole answers 2.0")


def test_no_difference_is_no_claim_that_they_are_equal() -> None:
    (sentence,) = sentences(make_run(ratio=1.0))
    assert sentence.startswith("No difference could be measured: the speed of mlx's whole answers is between 0.9")


def test_a_sooner_beginning_beside_a_slower_answer_is_said() -> None:
    samples = [
        sample
        for number in range(5)
        for sample in (
            make_sample(0, number, ttft_ms=100 + number, gap_ms=20),
            make_sample(1, number, ttft_ms=300 + number, gap_ms=5),
        )
    ]
    (sentence,) = sentences(make_record(samples))
    assert "mlx gives whole answers" in sentence
    assert "llamacpp begins to answer sooner (102 ms against 302 ms)" in sentence


def test_too_few_rounds_are_not_compared() -> None:
    record = make_record([make_sample(0, 0), make_sample(1, 0)])
    assert sentences(record) == ("mlx and llamacpp were measured too few times to be compared.",)
    assert headline(record, summarize(record)) == "There are too few rounds to tell who is faster in any scenario."


def test_failures_are_counted() -> None:
    record = make_record([*make_run().samples, make_sample(1, 7, error="the server went away")])
    assert sentences(record)[1] == "mlx: 1 of 6 requests failed."


def test_a_void_comparison_is_not_explained_away() -> None:
    notice = BenchNotice(code="gpu_offload", message="The CPU engine used the GPU.", is_void=True)
    record = make_run(notices=(notice,))
    assert headline(record, summarize(record)) == "This comparison is void; the notices say why."
    assert sentences(record) == ("These figures cannot be compared; the notices say why.",)


def test_the_headline_names_who_is_faster_where() -> None:
    record = make_run()
    assert headline(record, summarize(record)) == "mlx is faster in short-chat, long-prompt-2k and parallel-4."
    tied = make_run(ratio=1.0)
    assert headline(tied, summarize(tied)) == "Nobody is measurably faster in any scenario."
    alone = make_record([make_sample()], contestants=(LLAMACPP,))
    assert headline(alone, summarize(alone)) == "llamacpp was measured alone."


def test_a_skipped_scenario_says_why() -> None:
    record = make_run()
    assert scenario_sentences(record, summarize(record).scenarios[-1]) == ("Not run: the context has 4096 tokens.",)


def test_contestants_of_the_same_label_are_told_apart() -> None:
    record = make_record(contestants=(MLX, MLX))
    assert [label(record, 0), label(record, 1)] == ["mlx (A)", "mlx (B)"]


def test_quality_is_held_against_the_first() -> None:
    record = make_run()
    first, second = quality_sentences(record)
    assert first == "llamacpp: perplexity 7.39."
    assert second == (
        "mlx: perplexity 8.17 (10.5 % worse); 94 % of its greedy tokens are those of llamacpp, the first other one at "
        "position 20."
    )
    unknown = msgspec.structs.replace(MLX, quality=BenchQuality())
    silent = msgspec.structs.replace(LLAMACPP, quality=None)
    assert quality_sentences(make_record(contestants=(silent, unknown))) == []


def test_unknown_facts_are_left_out() -> None:
    assert [name for name, _ in contestant_facts(MLX)][-1] == "SHA-256"
    assert "threads" not in dict(contestant_facts(MLX))
    assert dict(contestant_facts(LLAMACPP))["threads"] == "2"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ttft_p50_ms", 98.76, "98.8 ms"),
        ("ttft_p50_ms", 3.456, "3.46 ms"),
        ("ttft_p50_ms", 1234.0, "1.23 s"),
        ("decode_tokens_per_s", 1989.4, "1989 tok/s"),
        ("peak_memory_bytes", 98_000_000.0, "98.0 MB"),
        ("peak_memory_bytes", 12.0, "12 B"),
        ("load_s", 0.81, "0.81 s"),
        ("energy_j", None, "-"),
    ],
)
def test_amounts_have_three_digits_and_a_unit(name: str, value: float | None, words: str) -> None:
    assert amount(KINDS_BY_NAME[name], value) == words


def test_intervals_follow_their_figure() -> None:
    kind = KINDS_BY_NAME["ttft_p50_ms"]
    near_a_second = Figure(num=5, value=1000.0, interval=Interval(961.0, 1000.0, 1034.0))
    assert amount_and_interval(kind, near_a_second) == "1.00 s (961 ms to 1.03 s)"
    assert (
        amount_and_interval(kind, Figure(num=5, value=50.0, interval=Interval(48, 50, 55))) == "50.0 ms (48.0 to 55.0)"
    )
    assert amount_and_interval(kind, Figure(num=1, value=50.0)) == "50.0 ms"
    assert amount_and_interval(kind, Figure()) == "-"
    assert spread(Figure(num=5, value=50.0, interval=Interval(48, 50, 55))) == "±10%"
    assert spread(Figure(num=1, value=50.0)) == ""
    assert spread(Figure(num=3, value=50.0, interval=Interval(48, 50, 549))) == "±998%"
    assert spread(Figure(num=3, value=50.0, interval=Interval(48, 50, 9000))) == "±>999%"


def test_texts_of_others_cannot_move_the_cursor() -> None:
    assert plain("a\x1b[2Jb\u202ec\nd") == "a?[2Jb?c?d"


def test_durations_are_for_people() -> None:
    assert [duration(59.6), duration(90), duration(5)] == ["1 min 00 s", "1 min 30 s", "5 s"]
