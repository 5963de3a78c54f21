import pytest

from router.http.trace_context import trace_context

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_a_context_is_taken_with_its_state() -> None:
    headers = [(b"traceparent", f"00-{TRACE}-{SPAN}-01".encode()), (b"tracestate", b"a=1"), (b"tracestate", b"b=2")]
    found = trace_context(headers)
    assert found is not None
    assert (found.trace_id, found.parent_id, found.flags, found.state) == (TRACE, SPAN, "01", "a=1,b=2")
    assert found.response == f"00-{TRACE}-{found.span_id}-01".encode()
    assert found.span_id != SPAN


@pytest.mark.parametrize(
    "sent",
    [
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}",
        "",
        f"00-{TRACE}-{SPAN}-01\r\nx: y",
    ],
)
def test_what_is_no_context_begins_none(sent: str) -> None:
    assert trace_context([(b"traceparent", sent.encode())]) is None


def test_a_later_version_may_have_more_fields() -> None:
    assert trace_context([(b"traceparent", f"01-{TRACE}-{SPAN}-01-more".encode())]) is not None


def test_two_parents_are_none() -> None:
    assert trace_context([(b"traceparent", f"00-{TRACE}-{SPAN}-01".encode())] * 2) is None
