"""Two runs: a change is one only outside the interval, and what else differs is named."""

import msgspec
import pytest

from registry.bench_record import BenchLoad, BenchNotice, BenchRecord
from router.bench.figures.diff import BenchDiff, DiffRow, diff_runs
from tests.support.bench_records import LLAMACPP, MACHINE, MLX, make_run


def later(**changes: object) -> BenchRecord:
    values: dict[str, object] = {"bench_id": "b-000002", "created_at": 1_800_000_000.0, "seed": 2}
    return make_run(**values | changes)  # type: ignore[arg-type]


def row(diff: BenchDiff, figure: str, *, contestant: str = "mlx", scenario: str | None = "short-chat") -> DiffRow:
    (found,) = [
        row for row in diff.rows if (row.figure, row.contestant, row.scenario) == (figure, contestant, scenario)
    ]
    return found


def test_what_got_slower_beyond_its_interval_is_a_regression() -> None:
    diff = diff_runs(make_run(ratio=1.5), later(ratio=1.2))
    assert row(diff, "decode_tokens_per_s").verdict == "slower"
    assert row(diff, "ttft_p50_ms").verdict == "slower"
    assert row(diff, "decode_tokens_per_s", contestant="llamacpp").verdict == "no difference"
    assert {found.contestant for found in diff.rows if found.verdict == "slower"} == {"mlx"}


def test_what_got_faster_is_none() -> None:
    diff = diff_runs(make_run(ratio=1.2), later(ratio=1.5))
    assert row(diff, "decode_tokens_per_s").verdict == "faster"
    assert all(found.verdict != "slower" for found in diff.rows)


@pytest.mark.slow
def test_equal_runs_are_called_different_in_few_figures() -> None:
    different = total = 0
    for seed in range(10):
        diff = diff_runs(make_run(noise=0.05, seed=seed), later(noise=0.05, seed=100 + seed))
        verdicts = [found.verdict for found in diff.rows if found.verdict is not None]
        different += sum(word != "no difference" for word in verdicts)
        total += len(verdicts)
    assert different <= 0.02 * total


def test_the_earlier_run_comes_first_however_they_are_named() -> None:
    old, new = make_run(ratio=1.5), later(ratio=1.2)
    assert diff_runs(new, old) == diff_runs(old, new)
    assert diff_runs(new, old).before_id == "b-000001"


def test_another_machine_is_told() -> None:
    machine = msgspec.structs.replace(MACHINE, machine_id="m-2", cpu="Slow CPU")
    diff = diff_runs(make_run(ratio=1.5), later(ratio=1.2, machine=machine))
    assert not diff.is_same_machine
    assert row(diff, "decode_tokens_per_s").verdict == "slower"
    assert {"machine id", "cpu"} <= {found.what for found in diff.differences}


def test_what_else_differs_is_named_with_both_values() -> None:
    newer = msgspec.structs.replace(
        LLAMACPP, artifact_version="v2", engine_versions={"llama-cpp-python": "0.4.0"}, settings={"ctx": "8192"}
    )
    notices = (BenchNotice(code="busy_machine", message="Another process took half of the processor."),)
    diff = diff_runs(make_run(notices=()), later(version="0.2.0", contestants=(newer, MLX), notices=notices))
    found = {item.what: (item.before, item.after) for item in diff.differences}
    assert found == {
        "mlxr": ("0.1.0", "0.2.0"),
        "llamacpp: artifact_version": ("v1", "v2"),
        "llamacpp: llama-cpp-python": ("0.3.36", "0.4.0"),
        "llamacpp: setting ctx": (None, "8192"),
        "notice busy_machine": (None, "Another process took half of the processor."),
    }


def test_contestants_are_matched_by_what_they_are() -> None:
    renamed = msgspec.structs.replace(MLX, label="my mlx")
    diff = diff_runs(make_run(ratio=1.5), later(ratio=1.2, contestants=(LLAMACPP, renamed)))
    assert row(diff, "decode_tokens_per_s", contestant="my mlx").verdict == "slower"
    assert diff.unmatched == ()


def test_two_settings_of_one_engine_are_not_mixed_up() -> None:
    wide = msgspec.structs.replace(LLAMACPP, label="llamacpp ctx=8192", settings={"ctx": "8192"})
    before = make_run(ratio=2.0, contestants=(LLAMACPP, wide))
    flipped = [msgspec.structs.replace(sample, contestant=1 - sample.contestant) for sample in before.samples]
    diff = diff_runs(before, msgspec.structs.replace(later(contestants=(wide, LLAMACPP)), samples=tuple(flipped)))
    assert {found.verdict for found in diff.rows} == {"no difference", None}
    assert row(diff, "decode_tokens_per_s", contestant="llamacpp ctx=8192").before == pytest.approx(100, rel=0.1)


def test_what_only_one_run_has_is_said() -> None:
    server = msgspec.structs.replace(MLX, label="other", engine=None, url="http://127.0.0.1:8080")
    run = make_run()
    diff = diff_runs(run, later(contestants=(LLAMACPP, server), scenarios=run.scenarios[1:]))
    assert diff.unmatched == (
        "Only b-000001 has the contestant mlx.",
        "Only b-000002 has the contestant other.",
        "Only b-000001 has the scenario short-chat.",
    )
    assert all(found.scenario != "short-chat" for found in diff.rows)


def test_loads_are_compared_when_there_are_enough() -> None:
    def loads(load_ms: float) -> tuple[BenchLoad, ...]:
        return tuple(BenchLoad(contestant=0, load_ms=load_ms + number) for number in range(5))

    diff = diff_runs(make_run(loads=loads(1000)), later(loads=loads(1500)))
    assert row(diff, "load_s", contestant="llamacpp", scenario=None).verdict == "slower"
    assert row(diff, "load_s", contestant="mlx", scenario=None).before is None
