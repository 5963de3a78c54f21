import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.config import is_loopback
from router.http.hosts import HostRules

DEFAULT = HostRules("127.0.0.1", allowed_hosts=("Box.lan", "proxy.lan:8080"), allowed_origins=("app://obsidian.md",))


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:11434",
        "LOCALHOST:1",
        "127.0.0.1",
        "127.0.0.1:8899",
        "127.9.8.7",
        "[::1]",
        "[::1]:8899",
        "box.lan",
        "BOX.LAN:99",
        "proxy.lan:8080",
    ],
)
def test_our_own_names_are_hosts_with_any_port_and_in_any_case(host: str) -> None:
    assert DEFAULT.allows_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.com",
        "evil.com:11434",
        "localhost.evil.com",
        "evil.localhost",
        "localhost@evil.com",
        "evil.com@localhost",
        "localhost.",
        "localhost/health",
        "localhost:port",
        "localhost:",
        "localhost:123456",
        "localhost localhost",
        "localhost,evil.com",
        "127.0.0.1.evil.com",
        "127.1",
        "0.0.0.0",  # noqa: S104 - a header, not an address to bind
        "192.168.1.5",
        "::1",
        "[::1",
        "[::1%eth0]",
        "[localhost]",
        "proxy.lan",
        "proxy.lan:8081",
        "loc\u0430lhost",
        "localhost\x00",
        "a" * 300,
    ],
)
def test_everything_else_is_not_our_host(host: str) -> None:
    assert not DEFAULT.allows_host(host)


def test_the_bound_name_is_a_host() -> None:
    assert HostRules("gpu.lan").allows_host("GPU.lan:11434")
    assert HostRules("fd00::5").allows_host("[fd00::5]:11434")


@pytest.mark.parametrize("bound", ["0.0.0.0", "::"])  # noqa: S104
def test_on_all_addresses_an_address_is_a_host_but_a_name_is_not(bound: str) -> None:
    rules = HostRules(bound)
    assert rules.allows_host("192.168.1.5:11434")
    assert rules.allows_host("[fd00::5]")
    assert not rules.allows_host("evil.com")


def test_over_a_unix_socket_any_sound_host_will_do() -> None:
    assert DEFAULT.allows_host("anything", is_local_socket=True)
    assert not DEFAULT.allows_host("any thing", is_local_socket=True)


@pytest.mark.parametrize(
    ("origin", "host", "is_encrypted", "is_own"),
    [
        ("http://127.0.0.1:11434", "127.0.0.1:11434", False, True),
        ("http://box.lan:11434", "BOX.lan:11434", False, True),
        ("https://box.lan", "box.lan", False, True),  # a proxy has spoken TLS
        ("http://box.lan", "box.lan", True, False),
        ("http://localhost:11434", "127.0.0.1:11434", False, False),
        ("http://127.0.0.1:3000", "127.0.0.1:11434", False, False),
        ("http://127.0.0.1", "127.0.0.1:11434", False, False),
        ("app://obsidian.md", "127.0.0.1:11434", False, True),
        ("null", "127.0.0.1:11434", False, False),
        ("", "", False, False),
    ],
)
def test_the_servers_own_pages_and_listed_ones_are_told_from_others_of_this_machine(
    origin: str,
    host: str,
    is_encrypted: bool,  # noqa: FBT001 - a case's value
    is_own: bool,  # noqa: FBT001 - a case's value
) -> None:
    assert DEFAULT.is_own_origin(origin, host, is_encrypted=is_encrypted) is is_own


@pytest.mark.parametrize(
    "origin",
    ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:5173", "app://obsidian.md", "http://box.lan:11434"],
)
def test_local_pages_the_servers_own_and_listed_origins_are_let_in(origin: str) -> None:
    assert DEFAULT.allows_origin(origin, "box.lan:11434")


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://evil.com",
        "http://localhostXevil",
        "http://localhost.evil.com",
        "http://localhost@evil.com",
        "http://localhost:3000/x",
        "http://LOCALHOST",
        "localhost",
        "file://",
        "app://evil",
        "tauri://localhost",
        "http://box.lan:1",
        "http://" + "a" * 300,
    ],
)
def test_other_origins_are_not_let_in(origin: str) -> None:
    assert not DEFAULT.allows_origin(origin, "box.lan:11434")


def test_all_of_an_applications_scheme_can_be_listed_but_not_all_of_the_web() -> None:
    rules = HostRules(allowed_origins=("moz-extension://*", "file://", "http://*"))
    assert rules.allows_origin("moz-extension://0b7b3ac9-4b1c-4d11-8c5e-6a5f5c0ad101", "localhost")
    assert rules.allows_origin("file://", "localhost")
    for origin in ("http://evil.com", "chrome-extension://abc", "moz-extension:x", "null", "file://x"):
        assert not rules.allows_origin(origin, "localhost")


@given(st.text(max_size=300))
def test_any_text_gets_a_verdict(text: str) -> None:
    assert DEFAULT.allows_host(text) in {True, False}
    assert DEFAULT.allows_origin(text, text) in {True, False}
    assert is_loopback(text) in {True, False}
