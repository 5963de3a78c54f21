"""The one table of all benchmarks: what counts as measured, met and missed."""

import msgspec
import pytest

from tests.bench.compare import BENCHES, Bench, Outcome, exit_code, rows_in, table, verdict_of
from tests.bench.support.report import Row
from tests.bench.support.servers import ROOT


def row(ratio: float, others_cores: float | None = 0.0, at_least: float | None = 1.0) -> Row:
    return Row("ours / theirs", ratio, ratio, ratio, 3, at_least, None, others_cores)


def test_rows_that_do_not_say_have_the_cores_that_others_used_until_the_benchmarks_end() -> None:
    findings: list[Row | float] = [row(1.0, None), row(1.1, 0.02), 1.5, row(1.2, None), 0.05]
    found = rows_in(b"\n".join(map(msgspec.json.encode, findings)))
    assert [(each.ratio, each.others_cores) for each in found] == [(1.0, 1.5), (1.1, 0.02), (1.2, 0.05)]


@pytest.mark.parametrize(
    ("one", "verdict"),
    [
        (row(1.0), "met"),
        (row(0.99), "MISSED"),
        (row(0.5, at_least=None), ""),
        (row(5.0, others_cores=1.2), "not measured (others used 1.20 cores)"),
        (row(1.0, others_cores=None), "met"),
    ],
)
def test_a_row_on_a_busy_machine_is_not_measured(one: Row, verdict: str) -> None:
    assert verdict_of(one) == verdict


def test_a_missed_target_is_marked_and_fails_the_run() -> None:
    bench = Bench("burst", "")
    good, bad = Outcome(bench, [row(1.0)], ""), Outcome(bench, [row(0.9)], "")
    skipped, broken = Outcome(bench, [], "skipped: no peer"), Outcome(bench, [], "failed with exit code 1")
    assert [exit_code([each]) for each in (good, bad, skipped, broken)] == [0, 1, 0, 1]
    lines = list(table([good, bad, skipped]))
    assert [line.rsplit(None, 1)[-1] for line in lines[1:3]] == ["met", "MISSED"]
    assert lines[3].endswith("skipped: no peer")


@pytest.mark.parametrize("bench", BENCHES, ids=lambda bench: bench.name)
def test_each_benchmark_is_there(bench: Bench) -> None:
    assert (ROOT / "tests" / "bench" / f"bench_{bench.name}.py").is_file()
