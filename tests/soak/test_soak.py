"""The soak's short form, and its judgements."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.soak.ground import DoneFault, Outage, Sample
from tests.soak.requests import Outcome, Watched
from tests.soak.verdict import Line, memory_line, request_lines, rest_line
from tests.support.waiting import WITHIN_S

REPOSITORY = Path(__file__).parents[2]
KILL, DRAIN = Outage(100.0, 110.0, is_drain=False), Outage(100.0, 110.0, is_drain=True)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="a unit of systemd")
def test_a_minute_of_faults_leaves_every_request_with_one_end_and_nothing_behind() -> None:
    argv = [sys.executable, "-m", "tests.soak", "--minutes", "1", "--every", "5", "--clients", "3", "--seed", "4"]
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=2 * WITHIN_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("outcome", "at", "outage", "is_good"),
    [
        ("error", 0.0, KILL, True),
        ("refused", 0.0, KILL, True),
        ("left", 0.0, KILL, True),
        ("unreached", 0.0, KILL, False),
        ("unreached", 105.0, KILL, True),
        ("unreached", 112.0, DRAIN, True),
        ("cut", 105.0, KILL, True),
        ("cut", 105.0, DRAIN, False),
        ("open end", 105.0, KILL, True),
        ("open end", 105.0, DRAIN, False),
        ("hangs", 105.0, KILL, False),
        ("goes on after its end", 105.0, KILL, False),
    ],
)
def test_only_an_outage_excuses_a_request_without_an_end(
    outcome: Outcome, at: float, outage: Outage, *, is_good: bool
) -> None:
    watched = [Watched("chat", 0.0, 1.0, "answered"), Watched("chat", at, at + 1, outcome)]
    assert request_lines(watched, [outage])[0].is_good == is_good


def test_nothing_answered_is_not_good() -> None:
    assert not request_lines([Watched("chat", 0.0, 1.0, "refused")], [])[0].is_good


def samples(pid: int, sizes_mb: Iterable[float], *, from_s: float = 0.0) -> list[Sample]:
    return [Sample(from_s + 30.0 * number, pid, int(size * 1e6), 20, 0) for number, size in enumerate(sizes_mb)]


def faults(*, from_s: float = 0.0, kinds: str = "ab") -> list[DoneFault]:
    return [DoneFault(kinds[number % len(kinds)], from_s + 30.0 * number) for number in range(60)]


def memory(sizes_mb: Iterable[float]) -> Line:
    return memory_line(samples(1, sizes_mb), faults(), "ab")


def test_what_a_gateway_takes_until_each_fault_has_come_twice_is_no_growth() -> None:
    assert memory([50, 60, 70, 80, *[90.0] * 40]).is_good
    assert "90.0 MB when warm" in memory([50, 60, 70, *[90.0] * 40]).text
    before = samples(1, [200.0] * 40)
    later = samples(2, [50, 60, 70, *[90.0] * 40], from_s=2000.0)
    assert memory_line([*before, *later], faults(from_s=2000.0), "ab").is_good


def test_a_gateway_that_goes_on_growing_is_bad_however_slowly_and_noise_is_none() -> None:
    assert not memory(90 + 0.1 * number for number in range(44)).is_good
    assert memory(90 + 0.02 * number for number in range(44)).is_good
    assert memory(90 + 3 * (number % 3) for number in range(44)).is_good
    assert not memory(90 + number % 3 + 0.5 * number for number in range(44)).is_good
    assert memory([*range(50, 60), *[60.9] * 34]).is_good


def test_a_gateway_that_was_not_warm_for_long_is_not_judged() -> None:
    assert "too short" in memory(90.0 + number for number in range(10)).text
    assert "too short" in memory_line(samples(1, [90.0] * 44), faults(), "abc").text


def test_what_is_open_at_the_end_is_what_was_open() -> None:
    first = Sample(0.0, 1, 0, num_files=20, num_children=0)
    assert rest_line(first, first._replace(num_files=21)).is_good
    assert not rest_line(first, first._replace(num_files=30)).is_good
    assert not rest_line(first, first._replace(num_children=1)).is_good
