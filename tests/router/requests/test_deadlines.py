from typing import Any

from backends.wire.request import Priority
from router.config import LimitsConfig
from router.requests.deadlines import Deadlines, RequestProgress, deadlines_for, next_due, seconds_to_look

ALL = Deadlines(request_s=100, first_token_s=10, inter_token_s=5)


def progress(**facts: Any) -> RequestProgress:
    plain: dict[str, Any] = {"arrived_at": 1000.0, "has_output": False, "moved_at": 1000.0}
    return RequestProgress(**(plain | facts))


def test_before_the_first_token_its_own_limit_comes_first_and_silence_does_not_count() -> None:
    due = next_due(ALL, progress())
    assert due is not None
    assert (due.at, due.message) == (1010, "no token came within 10 s of the request")


def test_after_it_only_silence_and_the_whole_request_count() -> None:
    silent = next_due(ALL, progress(has_output=True, moved_at=1050))
    assert silent is not None
    assert (silent.at, silent.message) == (1055, "no token came for 5 s")
    whole = next_due(ALL, progress(has_output=True, moved_at=1098))
    assert whole is not None
    assert (whole.at, whole.message) == (1100, "the request took longer than 100 s")


def test_without_limits_nothing_is_due() -> None:
    assert next_due(Deadlines(), progress(has_output=True)) is None
    assert seconds_to_look(Deadlines(), progress(), 1000) is None


def test_a_limit_of_silence_is_looked_at_before_and_long_after_the_first_token() -> None:
    only_silence = Deadlines(inter_token_s=5)
    assert next_due(only_silence, progress()) is None
    assert seconds_to_look(only_silence, progress(), 1000) == 5
    assert seconds_to_look(ALL, progress(), 1000) == 5
    assert seconds_to_look(only_silence, progress(has_output=True, moved_at=1003), 1005) == 3
    assert seconds_to_look(Deadlines(request_s=100), progress(), 1000.5) == 99.5
    assert seconds_to_look(Deadlines(request_s=100), progress(), 2000) == 0


def test_a_request_may_lower_its_limit_but_not_raise_it() -> None:
    limits = LimitsConfig(request_timeout_s=60, first_token_timeout_s=10, inter_token_timeout_s=5)
    assert deadlines_for(limits, Priority.INTERACTIVE, 30).request_s == 30
    assert deadlines_for(limits, Priority.INTERACTIVE, 90).request_s == 60
    assert deadlines_for(LimitsConfig(), Priority.INTERACTIVE, 90) == Deadlines(request_s=90)


def test_background_requests_are_made_to_wait_without_a_limit_of_silence() -> None:
    limits = LimitsConfig(request_timeout_s=60, first_token_timeout_s=10, inter_token_timeout_s=5)
    assert deadlines_for(limits, Priority.BACKGROUND, None) == Deadlines(request_s=60)
    assert deadlines_for(limits, Priority.INTERACTIVE, None) == Deadlines(
        request_s=60, first_token_s=10, inter_token_s=5
    )


def test_the_time_of_a_wind_moves_on_the_limit_of_the_first_token_alone() -> None:
    due = next_due(ALL, progress(winding_s=50))
    assert due is not None
    assert due.at == 1060
    assert next_due(ALL, progress(winding_s=95)).at == 1100  # type: ignore[union-attr]
    assert next_due(ALL, progress(winding_s=50, has_output=True)).at == 1005  # type: ignore[union-attr]
