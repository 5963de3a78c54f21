"""What is kept of a key, and its secret."""

import re

import msgspec
import pytest

from router.errors import InvalidRequestError, KeyNameError
from router.http.caller import Caller, Scope
from router.keys.expiry import expiry
from router.keys.key import Key, digest_of, new_key

NOW = 1_800_000_000.0
DAY_S = 86_400


def test_a_secret_is_long_random_and_told_by_its_beginning() -> None:
    secrets = {new_key("laptop", scope=Scope.INFERENCE, created_at=NOW)[0] for _ in range(50)}
    assert len(secrets) == 50
    assert all(re.fullmatch(r"sk-mlxr-[A-Za-z0-9]{43}", secret) for secret in secrets)


def test_what_is_kept_has_neither_the_secret_nor_more_than_its_first_characters() -> None:
    secret, made = new_key("laptop", scope=Scope.INFERENCE, created_at=NOW)
    kept = repr(made) + msgspec.json.encode(made).decode()
    assert secret[: len(made.key.prefix)] == made.key.prefix
    assert secret[len(made.key.prefix) + 1 :] not in kept
    assert secret[: len(made.key.prefix) + 1] not in kept
    assert made.digest == digest_of(secret.encode(), made.salt)


def test_equal_secrets_have_different_hashes() -> None:
    (_, one), (_, other) = (new_key(name, scope=Scope.INFERENCE, created_at=NOW) for name in ("one", "other"))
    assert digest_of(b"same", one.salt) != digest_of(b"same", other.salt)


@pytest.mark.parametrize("name", ["", "a b", "-x", "../x", "a" * 65, "x\n", "' OR 1=1--", "ключ"])
def test_what_cannot_be_a_name_is_refused(name: str) -> None:
    with pytest.raises(KeyNameError, match="letters, digits"):
        new_key(name, scope=Scope.INFERENCE, created_at=NOW)


def test_a_key_is_good_until_it_expires_or_is_revoked() -> None:
    key = Key(id="key_1", name="k", prefix="sk", scope=Scope.INFERENCE, created_at=NOW, expires_at=NOW + 1)
    assert key.problem(NOW) is None
    assert "expired" in str(key.problem(NOW + 1))
    assert "revoked" in str(msgspec.structs.replace(key, revoked_at=NOW).problem(NOW))


@pytest.mark.parametrize(
    ("text", "seconds"), [("30d", 30 * DAY_S), ("12h", 12 * 3600), ("90m", 5400), ("2W", 14 * DAY_S), (" never ", None)]
)
def test_a_span_is_counted_from_now(text: str, seconds: int | None) -> None:
    assert expiry(text, NOW) == (None if seconds is None else NOW + seconds)


def test_a_day_is_meant_by_its_beginning() -> None:
    ends_at = expiry("2100-01-31", NOW)
    assert ends_at is not None
    assert ends_at > NOW


@pytest.mark.parametrize("text", ["", "0d", "-1d", "30", "1.5h", "2027-13-01", "2001-01-01", "soon", "9999999d"])
def test_what_is_no_time_to_come_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="expires"):
        expiry(text, NOW)


@pytest.mark.parametrize(
    ("patterns", "model", "may"),
    [
        (None, "anything", True),
        (("smol*",), "smollm2-135m-instruct", True),
        (("SMOL*",), "SmolLM2", True),
        (("smol*",), "qwen", False),
        (("qwen", "tiny-?"), "tiny-3", True),
        (("qwen",), "qwen2", False),
        ((), "qwen", False),
    ],
)
def test_a_key_may_use_the_models_that_match_one_of_its_patterns(
    patterns: tuple[str, ...] | None,
    model: str,
    may: bool,  # noqa: FBT001
) -> None:
    assert Caller(name="k", scope=Scope.INFERENCE, models=patterns).may_use(model) is may


@pytest.mark.parametrize(
    ("scope", "key_id", "owner", "may"),
    [
        (Scope.INFERENCE, "a", "a", True),
        (Scope.MODELS, "a", "b", False),
        (Scope.INFERENCE, "a", None, False),
        (Scope.INFERENCE, None, None, False),
        (Scope.ADMIN, "a", "b", True),
        (Scope.ADMIN, None, "b", True),
        (Scope.ADMIN, "a", None, True),
    ],
)
def test_what_belongs_to_a_key_is_seen_by_it_and_by_administrators(
    scope: Scope,
    key_id: str | None,
    owner: str | None,
    may: bool,  # noqa: FBT001
) -> None:
    assert Caller(name="k", scope=scope, key_id=key_id).may_see(owner) is may
