"""Times as Go programs write them."""

import math

import pytest

from router.errors import InvalidRequestError
from router.protocols.ollama.durations import keep_alive_seconds, nanoseconds, timestamp


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5m", 300),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("300ms", 0.3),
        ("2h45m10.5s", 9910.5),
        ("1us", 1e-6),
        ("1µs", 1e-6),
        (".5s", 0.5),
        ("+1s", 1),
        ("0", 0),
        ("0s", 0),
        ("300", 300),
        (300, 300),
        (1.5, 1.5),
        (0, 0),
        (-1, math.inf),
        ("-1", math.inf),
        ("-1m", math.inf),
        ("999999h", math.inf),
        (1e300, math.inf),
        (None, None),
    ],
)
def test_a_keep_alive_is_a_duration_or_seconds_and_forever_when_it_is_negative(text: object, seconds: object) -> None:
    assert keep_alive_seconds(text) == (seconds if seconds is None else pytest.approx(seconds))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", "soon", "5 m", "m", "1d", "1h-5m", "--1s", "5mm", "\u0665m", "1e3s", "nan", "inf", "1" * 40 + "s"]
)
def test_anything_else_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"keep_alive: .* is no duration") as caught:
        keep_alive_seconds(text)
    assert caught.value.param == "keep_alive"


def test_moments_have_nanoseconds() -> None:
    assert timestamp(1_700_000_000_000_000_007) == "2023-11-14T22:13:20.000000007Z"
    assert timestamp(11_000_000_000 * 10**9) == "2318-07-30T19:33:20.000000000Z"


def test_milliseconds_become_whole_nanoseconds() -> None:
    assert nanoseconds(1.2345678) == 1_234_568
