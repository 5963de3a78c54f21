from collections.abc import Sequence

from registry.bench_record import BenchLoad, BenchSample
from router.bench.plan.scenarios import Scenario
from router.bench.run.measurements import Measurements

CHAT = Scenario(name="chat", what="", max_tokens=8)


def measured(measurements: Measurements, contestant: int, figures: Sequence[float]) -> None:
    for number, ttft_ms in enumerate(figures):
        sample = BenchSample(
            contestant=contestant,
            scenario="chat",
            round=number,
            started_s=0.0,
            ttft_ms=ttft_ms,
            total_ms=10 * ttft_ms,
            num_output_tokens=8,
        )
        measurements.add_round(contestant, "chat", number, [sample], 2.0)


def test_a_round_counts_when_all_have_done_it() -> None:
    measurements = Measurements(0)
    measured(measurements, 0, [10, 10, 10])
    measured(measurements, 1, [20, 20])
    (state,) = measurements.states([CHAT], [0, 1])
    assert (state.num_rounds, state.cost_s, state.is_settled) == (2, 4.0, False)
    assert measurements.states([CHAT], [0])[0].num_rounds == 3


def test_a_ratio_that_does_not_move_is_settled_and_one_that_does_is_not() -> None:
    steady, moving = Measurements(0), Measurements(0)
    for measurements, second in ((steady, [20.0, 20.1, 20.0, 19.9]), (moving, [10.0, 30.0, 20.0, 14.0])):
        measured(measurements, 0, [10.0, 10.0, 10.0, 10.0])
        measured(measurements, 1, second)
    assert steady.states([CHAT], [0, 1])[0].is_settled
    assert not moving.states([CHAT], [0, 1])[0].is_settled


def test_an_unload_belongs_to_the_contestants_last_load() -> None:
    measurements = Measurements(0)
    for contestant in (0, 1, 0):
        measurements.add_load(BenchLoad(contestant=contestant, load_ms=5.0), 1.5)
    measurements.note_unload(0, 7.0, 99)
    assert [load.unload_ms for load in measurements.loads] == [None, None, 7.0]
    assert measurements.loads_s([0, 1]) == 3.0


def test_what_not_everybody_could_do_is_forgotten() -> None:
    measurements = Measurements(0)
    measured(measurements, 0, [10])
    measurements.drop("chat")
    assert measurements.samples == []
