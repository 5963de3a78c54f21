"""How a pull's events look: lines, JSON, and the words for numbers."""

import json

import pytest

from registry.engines import EngineKind
from registry.pull.events import Converting, Planned, Progress, Registered, Retrying, Started
from registry.pull_record import PullPlan
from router.cli.pulling.progress import BarPrinter, JSONPrinter, LinePrinter, duration, numbers_of, percent_of


def progress(done: int, total: int = 1000, speed: float | None = None) -> Progress:
    left = total - done
    return Progress(done_bytes=done, total_bytes=total, bytes_per_s=speed, eta_s=left / speed if speed else None)


def test_there_is_one_line_per_five_percent(capsys: pytest.CaptureFixture[str]) -> None:
    printer = LinePrinter()
    for done in range(0, 1001, 2):
        printer.show(progress(done))
    lines = capsys.readouterr().err.splitlines()
    assert [int(line.split()[0]) for line in lines] == list(range(0, 101, 5))


def test_a_hundred_percent_is_told_at_the_end_only() -> None:
    assert percent_of(progress(999_999, 1_000_000)) == 99
    assert percent_of(progress(1000)) == 100
    assert percent_of(progress(0, 0)) == 100


def test_numbers_have_speed_and_time_once_they_are_known() -> None:
    assert numbers_of(progress(500)) == "500 B of 1.0 kB"
    assert numbers_of(progress(500, speed=100.0)) == "500 B of 1.0 kB  100 B/s  5 s left"
    assert [duration(s) for s in (0.4, 59.6, 3599, 7500)] == ["0 s", "1 min 00 s", "59 min 59 s", "2 h 05 min"]


def test_what_a_hub_says_cannot_move_the_cursor(capfd: pytest.CaptureFixture[str]) -> None:
    event = Retrying(path="a/\x1b[2Jx.gguf", reason="\x1b]0;title\x07[bold]", delay_s=1.0)
    with BarPrinter() as bars:
        bars.show(event)
    LinePrinter().show(event)
    err = capfd.readouterr().err
    assert "\x1b[2J" not in err
    assert "\x1b]0;" not in err
    assert err.count("\\x1b[2Jx.gguf: \\x1b]0;title\\x07[bold]; trying again in 1 s.") == 2


def test_the_bar_takes_every_event(capfd: pytest.CaptureFixture[str]) -> None:
    plan = PullPlan(reference="a/b", notes=("For mlx: a/c.",))
    with BarPrinter() as bars:
        bars.show(Started(id=1, reference="a/b"))
        bars.show(Planned(plan=plan, total_bytes=1000, needed_bytes=500))
        bars.show(progress(500, speed=100.0))
        bars.show(Registered(model="b", engines=(EngineKind.MLX,), path="/x"))
        bars.show(Converting(step="converting", share=0.5))
    err = capfd.readouterr().err
    assert "a/b (): 0 files, 1.0 kB; 500 B of it are here. For mlx: a/c." in err


def test_json_is_ascii_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    JSONPrinter().show(Started(id=1, reference="a/bé\n"))
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out) == {"type": "started", "id": 1, "reference": "a/bé\n", "is_joined": False}
