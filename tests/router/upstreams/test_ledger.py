"""Ceilings per upstream and day: what counts, when they are reached, and that a restart forgets nothing."""

import datetime as dt
from pathlib import Path

import pytest

from backends.wire.messages import Usage
from router.config.upstreams import UpstreamConfig
from router.errors import UpstreamCeilingError
from router.upstreams.ledger import Ledger

CONFIG = UpstreamConfig(
    name="box",
    url="http://h",
    price_per_million_input=1.0,
    price_per_million_output=4.0,
    max_tokens_per_day=1000,
    max_cost_per_day=0.002,
)


class Clock:
    now = dt.datetime(2026, 11, 30, 23, 59, 0)  # noqa: DTZ001 - the machine's own time

    def __call__(self) -> dt.datetime:
        return self.now


def test_tokens_and_money_have_ceilings_which_the_error_names() -> None:
    clock = Clock()
    ledger = Ledger(None, now=clock)
    ledger.check(CONFIG)
    ledger.add(CONFIG, Usage(400, 0, 100))
    assert ledger.used("box").tokens == 500
    assert ledger.used("box").cost == pytest.approx(0.0008)
    ledger.check(CONFIG)
    ledger.add(CONFIG, Usage(500, 0, 0))
    with pytest.raises(UpstreamCeilingError, match="max_tokens_per_day of the config is 1,000") as reached:
        ledger.check(CONFIG)
    assert reached.value.retry_after_s == 60, "until midnight"
    ledger = Ledger(None, now=clock)
    ledger.add(CONFIG, Usage(0, 0, 600))
    with pytest.raises(UpstreamCeilingError, match=r"max_cost_per_day of the config is 0\.002"):
        ledger.check(CONFIG)


def test_a_new_day_begins_with_nothing() -> None:
    clock = Clock()
    ledger = Ledger(None, now=clock)
    ledger.add(CONFIG, Usage(5000, 0, 0))
    clock.now += dt.timedelta(minutes=2)
    ledger.check(CONFIG)
    assert ledger.used("box").tokens == 0


def test_what_runs_counts_as_what_it_is_expected_to_take() -> None:
    ledger = Ledger(None, now=Clock())
    ends = [ledger.begin(CONFIG, 300, 50) for _ in range(3)]
    with pytest.raises(UpstreamCeilingError, match="1,050 are on their way"):
        ledger.check(CONFIG)
    for end in ends:
        end()
    ledger.check(CONFIG)
    assert ledger.used("box").tokens == 0


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    file, clock = tmp_path / "deep" / "upstreams.json", Clock()
    ledger = Ledger(file, now=clock)
    ledger.add(CONFIG, Usage(1000, 0, 7))
    ledger.write()
    again = Ledger(file, now=clock)
    assert again.used("box").tokens == 1007
    with pytest.raises(UpstreamCeilingError):
        again.check(CONFIG)
    assert file.stat().st_mode & 0o077 == 0


def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "upstreams.json"
    file.write_bytes(b'{"day": 3')
    assert Ledger(file, now=Clock()).used("box").tokens == 0
    assert "it counts from here" in caplog.text


def test_without_ceilings_nothing_is_refused() -> None:
    ledger = Ledger(None, now=Clock())
    plain = UpstreamConfig(name="box", url="http://h")
    ledger.add(plain, Usage(10**9, 0, 10**9))
    ledger.check(plain)
    assert ledger.used("box").cost == 0
