"""What clients send to say who they are."""

import pytest

from router.http.credentials import secrets_of


@pytest.mark.parametrize(
    ("headers", "secrets"),
    [
        ([], []),
        ([(b"authorization", b"Bearer sk-1")], [b"sk-1"]),
        ([(b"authorization", b"bearer  sk-1 ")], [b"sk-1"]),
        ([(b"authorization", b"Bearer")], []),
        ([(b"authorization", b"Bearer ")], []),
        ([(b"authorization", b"Basic c2stMQ==")], []),
        ([(b"authorization", b"sk-1")], []),
        ([(b"x-api-key", b" sk-1 ")], [b"sk-1"]),
        ([(b"x-api-key", b"")], []),
        ([(b"x-api-key", b"sk-2"), (b"authorization", b"Bearer sk-1")], [b"sk-1", b"sk-2"]),
        ([(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")], [b"a", b"b"]),
        ([(b"authorization", b"Bearer \xff\xfe")], [b"\xff\xfe"]),
        ([(b"cookie", b"authorization=Bearer sk-1")], []),
        ([(b"x-api-key", b"%d" % i) for i in range(9)], [b"0", b"1", b"2", b"3"]),
    ],
)
def test_secrets_are_found_where_clients_put_them(headers: list[tuple[bytes, bytes]], secrets: list[bytes]) -> None:
    assert secrets_of(headers) == secrets
