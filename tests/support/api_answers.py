"""Holds real answers to what the table of endpoints says of them: status, media type, and every field, strictly."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from router.protocols.endpoint import Answer, Endpoint
from router.protocols.table import DIALECTS, ENDPOINTS

_FIRST_ERROR = 400


def endpoint_of(method: str, path: str) -> Endpoint:
    """Return the row of a request; those without parameters come before those with some."""
    rows = [row for row in ENDPOINTS if row.method == method and re.fullmatch(_pattern(row), path)]
    assert rows, f"{method} {path} is not in the table"
    return min(rows, key=lambda row: len(row.path_parameters))


def check_answer(endpoint: Endpoint, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Fail unless an answer is one that the table allows."""
    media = headers.get("content-type", "").partition(";")[0]
    if endpoint.method == "HEAD":
        assert body == b""
        return
    if status >= _FIRST_ERROR:
        assert media == "application/json", (status, media)
        decode_any(body, tuple(dialect.shape for dialect in DIALECTS.all_of(endpoint.url)))
        return
    if endpoint.stream is not None and media == endpoint.stream.media.decode():
        assert status == 200
        for piece in _pieces(media, body.decode()):
            decode_any(piece, endpoint.stream_types)
        return
    answer = endpoint.answers.get(status)
    assert answer is not None, f"{endpoint.method} {endpoint.path} has no answer with {status}"
    _check_body(answer, media, body)


def decode_any(body: bytes | str, types: tuple[Any, ...]) -> None:
    """Fail unless JSON is of one of some types."""
    problems = []
    for type_ in types:
        try:
            msgspec.json.decode(body, type=type_)
        except msgspec.ValidationError as exc:
            problems.append(f"{getattr(type_, '__name__', 'union')}: {exc}")
        else:
            return
    raise AssertionError(f"{body!r:.600}\n" + "\n".join(problems))


def _pattern(row: Endpoint) -> str:
    parts = re.split(r"(\{\w+:\w+\})", row.path)
    words = {"path": ".+", "str": "[^/]+", "int": "-?[0-9]+"}
    return "".join(words[part[1:-1].partition(":")[2]] if part.startswith("{") else re.escape(part) for part in parts)


def _pieces(media: str, text: str) -> list[str]:
    if media != "text/event-stream":
        return text.splitlines()
    blocks = [block for block in text.split("\n\n") if block and not block.startswith(":")]
    data = [line.removeprefix("data: ") for block in blocks for line in block.split("\n") if line.startswith("data: ")]
    assert len(data) == len(blocks), text[:600]
    return [piece for piece in data if piece != "[DONE]"]


def _check_body(answer: Answer, media: str, body: bytes) -> None:
    if not answer.types:
        assert body == b""
        return
    assert media == answer.media
    if answer.media == "application/json":
        decode_any(body, answer.types)
