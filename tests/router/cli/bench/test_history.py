"""The verbs that look at runs, in this process, on a real catalogue."""

import csv
import io
import json
from pathlib import Path

import pytest

from registry.bench_record import BenchRecord
from registry.store import Registry
from router.config.paths import Paths
from tests.router.cli.conftest import Mlxr
from tests.support.bench_records import make_record, make_run, make_sample


@pytest.fixture
def registry_db(paths: Paths) -> Path:
    paths.ensure_folders()
    return paths.registry_db


def keep(registry_db: Path, *records: BenchRecord) -> None:
    with Registry(registry_db) as registry:
        for record in records:
            registry.benches.add(record)


@pytest.fixture
def two_runs(registry_db: Path) -> None:
    keep(registry_db, make_run(ratio=1.5), make_run(ratio=1.2, bench_id="b-000002", created_at=1.8e9, version="0.2.0"))


@pytest.mark.usefixtures("two_runs")
def test_the_history_is_newest_first(mlxr: Mlxr) -> None:
    lines = mlxr("bench", "history", "m").out.splitlines()
    assert [line.split()[0] for line in lines] == ["ID", "b-000002", "b-000001"]
    assert "llamacpp : mlx" in lines[1]
    found = json.loads(mlxr("bench", "history", "--json").out)
    assert [head["version"] for head in found] == ["0.2.0", "0.1.0"]
    assert "samples" not in found[0]


def test_the_history_names_what_is_wrong_with_a_run(mlxr: Mlxr, registry_db: Path) -> None:
    broken = [make_sample(error="gone"), make_sample()]
    keep(registry_db, make_record(broken, is_complete=False), make_record(bench_id="b-s", source="shadow"))
    (row,) = mlxr("bench", "history").out.splitlines()[1:]
    assert row.endswith("stopped early, 1 failed")
    assert len(mlxr("bench", "history", "--all").out.splitlines()) == 3


def test_an_alias_has_the_history_of_its_model(mlxr: Mlxr, registry_db: Path, tiny_gguf: Path) -> None:
    mlxr("models", "add", str(tiny_gguf), "--name", "tiny")
    mlxr("models", "alias", "tiny", "little")
    keep(registry_db, make_record(model="tiny"))
    assert "b-000001" in mlxr("bench", "history", "little").out
    mlxr("models", "rm", "tiny", "--yes")
    assert "b-000001" in mlxr("bench", "history", "tiny").out


def test_without_runs_the_way_to_one_is_shown(mlxr: Mlxr) -> None:
    assert mlxr("bench", "history", "m").out == "There are no runs of m. `mlxr bench m` measures one.\n"
    missing = mlxr("bench", "show")
    assert (missing.exit_code, "`mlxr bench MODEL`" in missing.err) == (1, True)
    unknown = mlxr("bench", "show", "b-9")
    assert (unknown.exit_code, unknown.err) == (1, "mlxr: There is no run 'b-9'; `mlxr bench history` lists them.\n")


@pytest.mark.usefixtures("two_runs")
def test_a_run_is_shown_by_its_beginning_and_the_newest_without_one(mlxr: Mlxr) -> None:
    assert "b-000002, " in mlxr("bench", "show").out
    shown = mlxr("bench", "show", "b-000001").out
    assert "mlx is faster in short-chat" in shown
    assert "\x1b" not in shown
    assert mlxr("bench", "show", "b-00000").exit_code == 1


@pytest.mark.usefixtures("two_runs")
def test_a_run_is_shown_in_the_form_that_is_asked_for(mlxr: Mlxr) -> None:
    assert json.loads(mlxr("bench", "show", "b-000001", "--json").out)["summary"]["scenarios"][0]["winner"] == 1
    rows = list(csv.reader(io.StringIO(mlxr("bench", "show", "b-000001", "--csv").out)))
    assert {len(row) for row in rows} == {15}
    assert mlxr("bench", "show", "--markdown").out.startswith("# m\n")
    both = mlxr("bench", "show", "--markdown", "--json")
    assert (both.exit_code, both.out) == (2, "")


@pytest.mark.usefixtures("two_runs")
def test_a_page_is_written_beside_what_is_printed(mlxr: Mlxr, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    done = mlxr("bench", "show", "b-000001", "--json", "--html", str(file))
    assert file.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert json.loads(done.out)["bench_id"] == "b-000001"
    assert str(file) in done.err
    refused = mlxr("bench", "show", "--html", str(tmp_path / "absent" / "report.html"))
    assert (refused.exit_code, "No such file" in refused.err) == (1, True)


@pytest.mark.usefixtures("two_runs")
def test_a_diff_flags_what_got_slower(mlxr: Mlxr) -> None:
    text = mlxr("bench", "diff", "b-000002", "b-000001").out
    assert text.startswith("b-000001 → b-000002: ")
    assert "mlxr: 0.1.0 → 0.2.0" in text
    found = json.loads(mlxr("bench", "diff", "b-000001", "b-000002", "--json").out)
    slower = {row["contestant"] for row in found["rows"] if row["verdict"] == "slower"}
    assert slower == {"mlx"}


@pytest.mark.usefixtures("two_runs")
def test_runs_are_deleted_only_when_asked(mlxr: Mlxr) -> None:
    assert mlxr("bench", "delete").exit_code == 2
    assert mlxr("bench", "delete", "b-000001", "--model", "m").exit_code == 2
    assert mlxr("bench", "delete", "b-000001").out == "b-000001: 1 run deleted.\n"
    assert mlxr("bench", "delete", "b-000001").exit_code == 1
    assert json.loads(mlxr("bench", "delete", "--model", "m", "--json").out) == {"deleted": "m", "num_deleted": 1}
    assert mlxr("bench", "history").out.startswith("There are no runs.")


def test_the_help_of_the_group_names_its_verbs(mlxr: Mlxr) -> None:
    text = mlxr("bench", "--help").out
    for word in ("MODEL [OPTIONS]", "history", "show", "diff", "delete"):
        assert word in text
