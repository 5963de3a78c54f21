import pytest

from router.config import is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost", "LOCALHOST"])
def test_loopback_addresses(host: str) -> None:
    assert is_loopback(host)


REACHABLE = ["0.0.0.0", "::", "192.168.1.2", "example.com", "localhost.evil.com", "127.0.0.1.nip.io"]  # noqa: S104 - to refuse


@pytest.mark.parametrize("host", REACHABLE)
def test_addresses_that_others_may_reach(host: str) -> None:
    assert not is_loopback(host)
