import pytest

from router.requests.resend import RELEVANT_HEADERS, KeptAnswer, fingerprint

BODY = b'{"model": "m"}'


def test_the_same_request_has_the_same_fingerprint_whatever_else_its_headers_say() -> None:
    first = fingerprint("/v1/chat/completions", {"x-stainless-retry-count": "0"}, BODY)
    assert first == fingerprint("/v1/chat/completions", {"x-stainless-retry-count": "1"}, BODY)
    assert len(first) == 32


@pytest.mark.parametrize("name", RELEVANT_HEADERS)
def test_every_relevant_header_makes_another_request(name: str) -> None:
    prints = {fingerprint("/a", headers, BODY) for headers in ({}, {name: ""}, {name: "x"}, {name: "y"})}
    assert len(prints) == 4


def test_route_and_body_make_another_request_and_parts_do_not_run_into_each_other() -> None:
    keyed = {"authorization": "ab", "x-api-key": "c"}
    others = [
        fingerprint("/a", keyed, BODY),
        fingerprint("/b", keyed, BODY),
        fingerprint("/a", keyed, BODY + b" "),
        fingerprint("/a", {"authorization": "a", "x-api-key": "bc"}, BODY),
    ]
    assert len(set(others)) == 4


def test_chunks_are_kept_up_to_a_size() -> None:
    kept = KeptAnswer(max_bytes=4)
    kept.add(b"ab")
    kept.add(b"cd")
    assert kept.is_whole
    assert kept.chunks == [b"ab", b"cd"]


def test_beyond_the_size_nothing_is_kept_at_all() -> None:
    kept = KeptAnswer(max_bytes=4)
    for chunk in (b"abcd", b"e", b"f"):
        kept.add(chunk)
    assert not kept.is_whole
    assert kept.chunks == []
