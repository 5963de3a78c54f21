import pytest

from backends.sequence import Priority
from router.errors import InvalidRequestError
from router.request_headers import HeaderWishes, header_wishes


def test_headers_that_are_absent_say_nothing() -> None:
    assert header_wishes({}) == HeaderWishes()


def test_what_they_say_is_read() -> None:
    headers = {"X-Mlxr-Priority": " Background ", "X-Session-Id": " talk 7 ", "X-Mlxr-Timeout": "2.5"}
    assert header_wishes(headers) == HeaderWishes(priority=Priority.BACKGROUND, session_id="talk 7", timeout_s=2.5)
    assert header_wishes({"X-Mlxr-Priority": "interactive"}).priority is Priority.INTERACTIVE


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("X-Mlxr-Priority", value) for value in ("", "high", "1")),
        *(("X-Session-Id", value) for value in ("", "  ", "x" * 513)),
        *(("X-Mlxr-Timeout", value) for value in ("", "0", "-1", "nan", "inf", "soon", "86401")),
    ],
)
def test_what_they_cannot_say_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(InvalidRequestError, match=name) as caught:
        header_wishes({name: value})
    assert caught.value.param == name
