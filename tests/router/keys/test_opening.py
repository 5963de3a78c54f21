"""The keys that a gateway starts with: of the environment, of a file; and where it may listen."""

import logging
from pathlib import Path

import pytest

from router.config.server import ServerConfig
from router.errors import StartupError
from router.http.caller import NOBODY, OWNER, Scope
from router.keys.key import new_key
from router.keys.opening import open_keys
from router.keys.store import KeyStore

SECRET = "0123456789abcdef-own"
NOW = 1_800_000_000.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(f"{SECRET}\nnothing of this\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "my-mac.local"])  # noqa: S104 - the address to refuse
def test_an_address_that_others_reach_needs_a_key_or_the_word_that_it_needs_none(store: KeyStore, host: str) -> None:
    with pytest.raises(StartupError, match=r"mlxr keys create NAME.*server\.insecure_bind: true") as refused:
        open_keys(store, ServerConfig(host=host), {})
    assert host in str(refused.value)
    assert open_keys(store, ServerConfig(host=host, insecure_bind=True), {}).caller([]) is OWNER
    assert open_keys(store, ServerConfig(host=host), {"MLXR_API_KEY": SECRET}).caller([]) is NOBODY
    store.add(new_key("laptop", scope=Scope.INFERENCE, created_at=NOW)[1])
    assert open_keys(store, ServerConfig(host=host), {}).caller([]) is NOBODY
    assert open_keys(store, ServerConfig(host=host, insecure_bind=True), {}).caller([]) is NOBODY


def test_a_key_that_was_revoked_lets_nothing_be_bound(store: KeyStore) -> None:
    store.add(new_key("laptop", scope=Scope.INFERENCE, created_at=NOW)[1])
    store.revoke("laptop", NOW)
    with pytest.raises(StartupError):
        open_keys(store, ServerConfig(host="192.168.1.2"), {})


def test_without_any_of_it_a_server_on_loopback_is_open(store: KeyStore) -> None:
    assert open_keys(store, ServerConfig(), {"MLXR_API_KEY": ""}).caller([]) is OWNER


def test_the_environments_key_may_everything(store: KeyStore) -> None:
    ring = open_keys(store, ServerConfig(), {"MLXR_API_KEY": SECRET})
    caller = ring.caller([SECRET.encode()])
    assert (caller.key_id, caller.name, caller.scope) == ("key_environment", "environment", Scope.ADMIN)
    assert ring.caller([b"x" * 20]).scope is Scope.PUBLIC


def test_the_key_of_a_file_may_everything_and_follows_the_file(
    store: KeyStore, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ring = open_keys(store, ServerConfig(api_key_file=str(file)), {})
    assert ring.caller([SECRET.encode()]).name == "file"
    file.write_text("another-key-of-some-length\n")
    assert ring.caller([SECRET.encode()]).scope is Scope.PUBLIC
    assert ring.caller([b"another-key-of-some-length"]).scope is Scope.ADMIN
    with caplog.at_level(logging.WARNING):
        file.write_text("\n")
        assert ring.caller([b"another-key-of-some-length"]).scope is Scope.PUBLIC
        assert ring.caller([]) is NOBODY
    file.unlink()
    assert ring.caller([]) is NOBODY
    assert "no longer counts" in caplog.text
    assert "another-key" not in caplog.text


def test_a_file_that_others_can_read_is_told(store: KeyStore, file: Path, caplog: pytest.LogCaptureFixture) -> None:
    file.chmod(0o644)
    open_keys(store, ServerConfig(api_key_file=str(file)), {})
    assert "chmod 600" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize("secret", ["short", "with spaces in it, and long", "x" * 600, "schlüssel-schlüssel"])
def test_a_key_that_is_none_is_refused_without_being_told(store: KeyStore, file: Path, secret: str) -> None:
    file.write_text(secret)
    for config, environ in (
        (ServerConfig(api_key_file=str(file)), {}),
        (ServerConfig(), {"MLXR_API_KEY": secret}),
    ):
        with pytest.raises(StartupError) as refused:
            open_keys(store, config, environ)
        assert secret not in str(refused.value)


def test_a_file_that_is_not_there_is_one_sentence(store: KeyStore, tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"api_key_file: .* cannot be read: No such file"):
        open_keys(store, ServerConfig(api_key_file=str(tmp_path / "none")), {})
