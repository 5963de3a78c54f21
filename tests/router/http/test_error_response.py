import msgspec
import pytest

from registry.errors import ModelNotFoundError
from router.errors import (
    ContextLengthExceededError,
    InsufficientMemoryError,
    InvalidRequestError,
    QueueFullError,
    ShuttingDownError,
)
from router.http.error_response import Dialect, dialect_of, error_object, render


def test_openai_shape_has_all_four_keys() -> None:
    body = msgspec.json.decode(render(InvalidRequestError("n must be 1", "n"), Dialect.OPENAI).body)
    assert body == {
        "error": {
            "message": "n must be 1",
            "type": "invalid_request_error",
            "param": "n",
            "code": "invalid_request",
        }
    }


def test_param_is_null_not_absent() -> None:
    assert error_object(ModelNotFoundError("m"), Dialect.OPENAI)["error"]["param"] is None


def test_ollama_shape_is_a_bare_message() -> None:
    assert error_object(InvalidRequestError("no"), Dialect.OLLAMA) == {"error": "no"}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InvalidRequestError("x"), "invalid_request_error"),
        (ModelNotFoundError("x"), "not_found_error"),
        (QueueFullError(retry_after_s=1), "rate_limit_error"),
        (ShuttingDownError(), "overloaded_error"),
        (ValueError("x"), "api_error"),
    ],
)
def test_anthropic_shape_and_types(error: Exception, kind: str) -> None:
    body = error_object(error, Dialect.ANTHROPIC)
    assert body["type"] == "error"
    assert body["error"]["type"] == kind


def test_context_length_carries_the_two_numbers_clients_read() -> None:
    body = error_object(
        ContextLengthExceededError("too long", num_prompt_tokens=9, context_length=8, param="messages"), Dialect.OPENAI
    )["error"]
    assert (body["code"], body["n_prompt_tokens"], body["n_ctx"]) == ("context_length_exceeded", 9, 8)


def test_memory_error_carries_need_and_have() -> None:
    body = error_object(InsufficientMemoryError(needed_bytes=2**21, available_bytes=2**20), Dialect.OPENAI)["error"]
    assert (body["needed_bytes"], body["available_bytes"]) == (2**21, 2**20)
    assert "2 MiB" in body["message"]


@pytest.mark.parametrize(("delay_s", "header"), [(0.0, b"1"), (0.2, b"1"), (1.5, b"2"), (30, b"30")])
def test_retry_after_is_whole_seconds_of_at_least_one(delay_s: float, header: bytes) -> None:
    assert dict(render(QueueFullError(retry_after_s=delay_s), Dialect.OPENAI).headers)[b"retry-after"] == header


def test_no_retry_after_without_a_delay() -> None:
    assert b"retry-after" not in dict(render(InvalidRequestError("x"), Dialect.OPENAI).headers)


def test_shutdown_closes_the_connection() -> None:
    assert dict(render(ShuttingDownError(), Dialect.OPENAI).headers)[b"connection"] == b"close"


def test_a_foreign_exception_shows_nothing_of_itself() -> None:
    response = render(RuntimeError("secret /home/me/token"), Dialect.OPENAI)
    assert response.status == 500
    assert b"secret" not in response.body
    assert b"internal_error" in response.body


def test_a_message_with_a_lone_surrogate_is_still_json() -> None:
    body = render(InvalidRequestError("bad \ud800 name", "\ud800"), Dialect.OPENAI).body
    assert "\\ud800" in msgspec.json.decode(body)["error"]["message"]


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/v1/chat/completions", Dialect.OPENAI),
        ("/health", Dialect.OPENAI),
        ("/", Dialect.OPENAI),
        ("/apix", Dialect.OPENAI),
        ("/api/chat", Dialect.OLLAMA),
        ("/api", Dialect.OLLAMA),
        ("/v1/messages", Dialect.ANTHROPIC),
        ("/v1/messages/count_tokens", Dialect.ANTHROPIC),
        ("/v1/messagesx", Dialect.OPENAI),
    ],
)
def test_the_path_decides_the_dialect(path: str, dialect: Dialect) -> None:
    assert dialect_of(path) is dialect
