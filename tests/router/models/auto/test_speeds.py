"""What is learned from runs of the benchmark, and which of them say nothing."""

import pytest

from registry.bench_record import BenchNotice, BenchRecord
from registry.engines import EngineKind
from router.models.auto.speeds import BUCKET_LIMITS, MAX_AGE_S, NUM_BUCKETS, EngineSpeeds, EngineState, bucket_of, learn
from tests.router.models.auto.histories import ARTIFACTS, HERE, VERSIONS, compared, contestant, record, sample

STATES = {
    engine: EngineState(artifact_version=ARTIFACTS[engine], engine_versions=VERSIONS[engine]) for engine in ARTIFACTS
}
NOW = 2000.0


def learned(*records: BenchRecord, now: float = NOW) -> dict[EngineKind, EngineSpeeds]:
    return learn(records, STATES, machine_id=HERE, now=now)


def test_every_length_has_a_bucket() -> None:
    assert [bucket_of(limit) for limit in BUCKET_LIMITS] == list(range(NUM_BUCKETS - 1))
    assert [bucket_of(limit + 1) for limit in BUCKET_LIMITS] == list(range(1, NUM_BUCKETS))


def test_rates_are_medians_of_the_samples_of_a_length_and_loads_of_all() -> None:
    found = learned(compared((200.0, 100.0), (400.0, 50.0)))
    llamacpp, mlx = found[EngineKind.LLAMACPP], found[EngineKind.MLX]
    assert llamacpp.prefill == pytest.approx((200.0,) * NUM_BUCKETS)
    assert (llamacpp.decode[0], mlx.decode[0]) == pytest.approx((100.0, 50.0))
    assert (llamacpp.load_s, llamacpp.unload_s, mlx.load_s) == (1.0, 0.1, 2.0)
    assert (llamacpp.num_samples, llamacpp.bench_ids, llamacpp.measured_at) == (6, ("b-1",), 1000.0)


def test_a_length_without_samples_has_the_figure_of_the_nearest() -> None:
    run = record(sample(0, prompt=100, prefill=100.0, decode=10.0), sample(0, prompt=9000, prefill=900.0, decode=90.0))
    assert learned(run)[EngineKind.LLAMACPP].prefill == pytest.approx((100.0, 100.0, 100.0, 900.0, 900.0))


def test_cached_tokens_are_no_work() -> None:
    run = record(sample(0, prompt=1000, cached=900, prefill=50.0, decode=10.0))
    assert learned(run)[EngineKind.LLAMACPP].prefill[bucket_of(1000)] == pytest.approx(50.0)


def test_requests_beside_others_and_tiny_ones_say_nothing() -> None:
    run = record(
        sample(0, prompt=100, prefill=1.0, decode=1.0, parallel=4),
        sample(0, prompt=100, cached=95, prefill=1.0, decode=1.0, output=4),
        load_ms=(None, None),
        unload_ms=(None, None),
    )
    assert learned(run) == {}


def test_requests_with_pictures_say_nothing_of_text_but_their_run_of_loads() -> None:
    pictures = [sample(0, prompt=300, prefill=1.0, decode=1.0, image=image) for image in ("new", "again")]
    found = learned(record(*pictures))[EngineKind.LLAMACPP]
    assert (found.num_samples, found.prefill, found.decode) == (0, (None,) * NUM_BUCKETS, (None,) * NUM_BUCKETS)
    assert found.load_s == 1.0
    beside = learned(record(*pictures, sample(0, prompt=300, prefill=200.0, decode=100.0)))[EngineKind.LLAMACPP]
    assert (beside.prefill[0], beside.decode[0]) == pytest.approx((200.0, 100.0))


def test_a_newer_run_replaces_an_older_one() -> None:
    old = compared((200.0, 100.0), (400.0, 50.0), created_at=1000.0, bench_id="b-old")
    new = [
        compared((20.0, 10.0), (40.0, 5.0), created_at=1500.0 + number, bench_id=f"b-{number}") for number in range(2)
    ]
    found = learned(old, *new)[EngineKind.LLAMACPP]
    assert found.prefill[0] == pytest.approx(20.0)
    assert found.decode[0] == pytest.approx(10.0)


@pytest.mark.parametrize(
    "run",
    [
        compared((1.0, 1.0), (1.0, 1.0), machine_id="another"),
        compared((1.0, 1.0), (1.0, 1.0), notices=(BenchNotice(code="void", message="", is_void=True),)),
        compared((1.0, 1.0), (1.0, 1.0), created_at=NOW - MAX_AGE_S - 1),
        compared((1.0, 1.0), (1.0, 1.0), contestants=(contestant(EngineKind.LLAMACPP, artifact_version="x"),) * 2),
        compared((1.0, 1.0), (1.0, 1.0), contestants=(contestant(EngineKind.LLAMACPP, url="http://x"),) * 2),
        compared((1.0, 1.0), (1.0, 1.0), contestants=(contestant(EngineKind.LLAMACPP, settings={"ctx": "1"}),) * 2),
        compared((1.0, 1.0), (1.0, 1.0), contestants=(contestant(EngineKind.MLX, engine_versions={"mlx": "1.9"}),) * 2),
    ],
    ids=["another machine", "void", "too old", "other files", "by URL", "other settings", "other version"],
)
def test_what_can_no_longer_be_true_is_left_out(run: BenchRecord) -> None:
    assert learned(run) == {}
