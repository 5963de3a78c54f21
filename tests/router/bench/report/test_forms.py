"""A run on a terminal and as JSON, CSV and Markdown."""

import csv
import io

import msgspec
import pytest
from rich.console import Console

from registry.bench_record import BenchNotice, BenchRecord
from router.bench.figures.diff import diff_runs
from router.bench.figures.summary import summed_up
from router.bench.report.page import as_page
from router.bench.report.tables import as_csv, as_markdown
from router.bench.report.terminal import bar, print_diff, print_report
from tests.support.bench_records import (
    LLAMACPP,
    MACHINE,
    MLX,
    make_decisions_run,
    make_look_run,
    make_record,
    make_run,
    make_sample,
    make_talk_run,
)

HOSTILE = "x\x1b[31m[bold]|<script>`*"


def on_terminal(record: BenchRecord, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False)
    print_report(record, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_every_line_fits_the_terminal_and_no_figure_is_cut(width: int) -> None:
    text = on_terminal(make_run(), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for words in ("98.8 ms ±4%", "50.0 ±5%", "73.7 ±4%", "█", "1.48 times as fast", "The weights differ", "Not run"):
        assert words in text


def test_a_narrow_terminal_says_where_the_other_figures_are() -> None:
    assert "gaps, p99" in on_terminal(make_run(), 120)
    assert "gaps, p99" not in on_terminal(make_run(), 80)
    assert "--html" in on_terminal(make_run(), 80)


def test_what_was_not_measured_is_a_dash() -> None:
    samples = [make_sample(0, number, has_server_figures=False) for number in range(3)]
    text = on_terminal(make_record(samples, contestants=(LLAMACPP,)))
    (row,) = [line for line in text.splitlines() if "A llamacpp" in line and "█" in line]
    assert row.split()[2:5] == ["100", "ms", "±0%"]
    assert row.split()[5] == "-"


def test_texts_of_others_do_nothing_to_a_terminal() -> None:
    hostile = msgspec.structs.replace(MLX, label=HOSTILE)
    notices = (BenchNotice(code="x", message=HOSTILE, is_void=True, scenario=HOSTILE),)
    text = on_terminal(make_run(contestants=(LLAMACPP, hostile), notices=notices, model=HOSTILE))
    assert "\x1b" not in text
    assert "x?[31m[bold]|<script>`*" in text


@pytest.mark.parametrize(("share", "drawn"), [(1.0, "████"), (0.5, "██"), (0.0, ""), (0.001, "▏"), (0.53, "██▏")])
def test_bars_are_as_long_as_their_share(share: float, drawn: str) -> None:
    assert bar(share, 4) == drawn


def test_json_has_every_sample_and_the_summary() -> None:
    found = msgspec.to_builtins(summed_up(make_run()))
    summary = found.pop("summary")
    assert msgspec.convert(found, BenchRecord) == make_run()
    assert summary["scenarios"][0]["contestants"][1]["figures"]["decode_tokens_per_s"]["verdict"] == "faster"
    assert summary["sides"][0]["figures"]["energy_j"]["value"] is None


def test_csv_has_a_line_per_figure_and_leaves_unmeasured_ones_empty() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(make_run()))))
    assert len(rows) == 3 * 2 * 6 + 2 * 6
    (decode,) = [
        row
        for row in rows
        if (row["scenario"], row["contestant"], row["figure"]) == ("short-chat", "mlx", "decode_tokens_per_s")
    ]
    assert float(decode["low"]) < float(decode["value"]) < float(decode["high"])
    assert float(decode["ratio"]) == pytest.approx(1.5, rel=0.1)
    energy = [row for row in rows if row["figure"] == "energy_j"]
    assert [row["value"] for row in energy] == ["", ""]


def test_markdown_escapes_what_would_be_markup() -> None:
    hostile = msgspec.structs.replace(MLX, label=HOSTILE)
    text = as_markdown(make_run(contestants=(LLAMACPP, hostile)))
    assert "<script>" not in text
    assert "\\<script\\>\\`\\*" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    columns = {line.replace("\\|", "").count("|") for line in rows}
    assert columns == {8}


def test_markdown_has_figures_with_intervals_and_the_sentences() -> None:
    text = as_markdown(make_run(is_complete=False))
    for words in ("# m", "1012 tok/s (968 to 1026)", "1.48 times as fast", "stopped before", "Beside the scenarios"):
        assert words in text


def test_a_diff_shows_changes_reasons_and_its_conclusion() -> None:
    def printed(after: BenchRecord, *, show_all: bool = False) -> str:
        console = Console(file=io.StringIO(), width=140, markup=False, highlight=False)
        print_diff(diff_runs(make_run(ratio=1.5), after), console, show_all=show_all)
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue()

    slower = make_run(ratio=1.2, bench_id="b-2", created_at=1.8e9, version="0.2.0")
    text = printed(slower)
    assert "regression beyond its 99 % interval" in text
    assert "Differs: mlxr: 0.1.0 → 0.2.0" in text
    assert "no difference" not in text.partition("scenario")[2]
    assert "no difference" in printed(slower, show_all=True).partition("scenario")[2]
    elsewhere = msgspec.structs.replace(slower, machine=msgspec.structs.replace(MACHINE, machine_id="m-2"))
    assert "the machines differ" in printed(elsewhere)
    assert "nothing can be compared" in printed(make_record(bench_id="b-3", created_at=1.9e9))


@pytest.mark.parametrize("width", [80, 120])
def test_pictures_have_columns_of_their_own_on_a_terminal(width: int) -> None:
    text = on_terminal(make_look_run(), width)
    assert max(map(len, text.splitlines())) <= width
    (row,) = [line for line in text.splitlines() if "B mlx" in line and "ms" in line]
    assert " ".join(row.split()).startswith("B mlx 200 ms ±0% 960 ±0% 250 ms ±0% 25.0 ms ±0%")
    for words in ("picture", "rows/s", "first, again", "6 of 10 greedy answers of mlx are those of llamacpp."):
        assert words in text
    assert "rows/s" not in on_terminal(make_run(), width)


def test_what_a_peer_does_not_tell_of_pictures_is_not_shown() -> None:
    text = on_terminal(make_look_run(tells_pictures=False))
    (row,) = [line for line in text.splitlines() if "B mlx" in line and "ms" in line]
    assert row.split()[2:7] == ["-", "-", "250", "ms", "±0%"]


def test_pictures_are_in_csv_and_markdown_and_only_where_there_are_some() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(make_look_run()))))
    found = {row["figure"]: row["value"] for row in rows if row["contestant"] == "mlx" and row["scenario"] == "look"}
    assert float(found["encode_ms"]) == 200
    assert float(found["rows_per_s"]) == pytest.approx(960)
    assert float(found["equal_answers_percent"]) == 60
    assert "encode_ms" not in as_csv(make_run())
    text = as_markdown(make_look_run())
    assert "| time to first token, picture again | picture | picture's rows |" in text
    assert "60.0 %" in text
    assert "picture" not in as_markdown(make_run())


def test_a_diff_has_pictures_too() -> None:
    before = make_look_run(ratio=2.0, bench_id="b-1", created_at=1.0)
    after = make_look_run(ratio=4.0, bench_id="b-2", created_at=2.0)
    rows = {(row.contestant, row.figure): row for row in diff_runs(before, after).rows}
    row = rows["mlx", "encode_ms"]
    assert (row.before, row.after, row.verdict) == (200, 100, "faster")
    assert (rows["mlx", "equal_answers_percent"].before, ("llamacpp", "equal_answers_percent") in rows) == (60, False)
    assert {row.figure for row in diff_runs(make_run(), make_run()).rows}.isdisjoint({"encode_ms", "rows_per_s"})


@pytest.mark.parametrize("width", [80, 120])
def test_a_long_talk_has_a_row_for_each_way(width: int) -> None:
    text = on_terminal(make_talk_run(), width)
    assert max(map(len, text.splitlines())) <= width
    rows = [line.split() for line in text.splitlines() if line.lstrip().startswith(("A ", "B "))]
    assert [sum(word in row for row in rows) for word in ("wound", "cut", "whole")] == [2, 2, 2]
    words = text.replace("\n", " ")
    assert "llamacpp: facts recalled of the talk: wound 50 % of 6 (250 ms a turn)" in words
    assert "oldest turns left out 0 % of 6" in words


def test_a_long_talk_is_in_every_form() -> None:
    run = make_talk_run()
    rows = list(csv.DictReader(io.StringIO(as_csv(run))))
    (row,) = [row for row in rows if row["figure"] == "full_recall_percent" and row["contestant"] == "mlx"]
    assert (row["value"], row["num"]) == ("100.0", "6")
    assert "facts recalled, oldest turns left out" in as_markdown(run)
    assert summed_up(run).summary.scenarios[0].contestants[1].figures["num_winds"].value == 1
    assert "facts recalled, wound" in as_page(run)


@pytest.mark.parametrize("width", [80, 120])
def test_decisions_are_in_every_form(width: int) -> None:
    run = make_decisions_run()
    text = on_terminal(run, width)
    assert max(map(len, text.splitlines())) <= width
    words = " ".join(text.split())
    assert "6 of 9 decisions of mlx are those of llamacpp; probabilities differ by 18.3 points in the mean" in words
    assert "apart, most" in words
    rows = list(csv.DictReader(io.StringIO(as_csv(run))))
    (row,) = [row for row in rows if row["figure"] == "difference_most_percent" and row["contestant"] == "mlx"]
    assert float(row["value"]) == pytest.approx(40)
    assert row["num"] == "18"
    assert "decisions that are the first's" in as_markdown(run)
    assert "difference of probabilities, mean" in as_page(run)
