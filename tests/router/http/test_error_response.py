from typing import Any

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
from router.http.dialect import OPENAI, Dialect
from router.http.error_response import error_reply
from router.protocols.anthropic.api import ANTHROPIC_ERRORS
from router.protocols.ollama.api import OLLAMA_ERRORS
from router.protocols.table import DIALECTS


def shown(error: BaseException, dialect: Dialect) -> Any:
    return msgspec.json.decode(error_reply(error, dialect).body)


def test_openai_shape_has_all_four_keys() -> None:
    body = msgspec.json.decode(error_reply(InvalidRequestError("n must be 1", "n"), OPENAI).body)
    assert body == {
        "error": {
            "message": "n must be 1",
            "type": "invalid_request_error",
            "param": "n",
            "code": "invalid_request",
        }
    }


def test_param_is_null_not_absent() -> None:
    assert shown(ModelNotFoundError("m"), OPENAI)["error"]["param"] is None


def test_ollama_shape_is_a_bare_message() -> None:
    assert shown(InvalidRequestError("no"), OLLAMA_ERRORS) == {"error": "no"}


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
    body = shown(error, ANTHROPIC_ERRORS)
    assert body["type"] == "error"
    assert body["error"]["type"] == kind


def test_context_length_carries_the_two_numbers_clients_read() -> None:
    body = shown(
        ContextLengthExceededError("too long", num_prompt_tokens=9, context_length=8, param="messages"), OPENAI
    )["error"]
    assert (body["code"], body["n_prompt_tokens"], body["n_ctx"]) == ("context_length_exceeded", 9, 8)


def test_memory_error_carries_need_and_have() -> None:
    body = shown(InsufficientMemoryError(needed_bytes=2**21, available_bytes=2**20), OPENAI)["error"]
    assert (body["needed_bytes"], body["available_bytes"]) == (2**21, 2**20)
    assert "2 MiB" in body["message"]


@pytest.mark.parametrize(("delay_s", "header"), [(0.0, b"1"), (0.2, b"1"), (1.5, b"2"), (30, b"30")])
def test_retry_after_is_whole_seconds_of_at_least_one(delay_s: float, header: bytes) -> None:
    assert dict(error_reply(QueueFullError(retry_after_s=delay_s), OPENAI).headers)[b"retry-after"] == header


def test_no_retry_after_without_a_delay() -> None:
    assert b"retry-after" not in dict(error_reply(InvalidRequestError("x"), OPENAI).headers)


def test_shutdown_closes_the_connection() -> None:
    assert dict(error_reply(ShuttingDownError(), OPENAI).headers)[b"connection"] == b"close"


def test_a_foreign_exception_shows_nothing_of_itself() -> None:
    response = error_reply(RuntimeError("secret /home/me/token"), OPENAI)
    assert response.status == 500
    assert b"secret" not in response.body
    assert b"internal_error" in response.body


def test_a_message_with_a_lone_surrogate_is_still_json() -> None:
    body = error_reply(InvalidRequestError("bad \ud800 name", "\ud800"), OPENAI).body
    assert "\\ud800" in msgspec.json.decode(body)["error"]["message"]


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/v1/chat/completions", OPENAI),
        ("/health", OPENAI),
        ("/", OPENAI),
        ("/apix", OPENAI),
        ("/api/chat", OLLAMA_ERRORS),
        ("/api", OLLAMA_ERRORS),
        ("/v1/messages", ANTHROPIC_ERRORS),
        ("/v1/messages/count_tokens", ANTHROPIC_ERRORS),
        ("/v1/messagesx", OPENAI),
    ],
)
def test_the_path_decides_the_dialect(path: str, dialect: Dialect) -> None:
    assert DIALECTS.of(path) is dialect
