"""Reads a batch's input: every line, what it depends on, and whether the whole can run. No I/O but the file's bytes.

Lines are not judged by what their endpoint makes of their body: that is each line's own result.
"""

import re
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any, BinaryIO, Final

import msgspec
from msgspec import Meta

from router.errors import InvalidRequestError
from router.http.body import decode_json
from router.jobs.batches.base import ENDPOINTS, Line, Problem

MAX_LINES: Final = 50_000
"""Source: OpenAI API reference, "Create batch": "up to 50,000 requests"."""
MAX_PROBLEMS: Final = 100
PLACEHOLDER: Final = re.compile(r"\{\{\s*([^{}\s]{1,128})\.output\s*\}\}")
"""Stands in a text of a line's body for the text of another line's answer."""

MAX_WORKER: Final = 999_999_999

CustomId = Annotated[str, Meta(min_length=1, max_length=128)]


class LineRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One line; `depends_on` and `worker` are mlxr's own.

    Attributes:
        worker: Number of the one of several workers that is to answer it; None = whichever.
    """

    custom_id: CustomId
    method: str
    url: str
    body: dict[str, Any]
    depends_on: Annotated[list[CustomId], Meta(max_length=1000)] = []
    worker: Annotated[int, Meta(ge=1, le=MAX_WORKER)] | None = None


class _Invalid(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


def read_lines(file: BinaryIO, endpoint: str, *, max_line_bytes: int) -> tuple[list[Line], list[Problem]]:
    """Read all lines of a file.

    Args:
        endpoint: The `url` that all lines must have.

    Returns:
        The lines, and what is wrong; the batch can run when nothing is.
    """
    lines: list[Line] = []
    problems: list[Problem] = []
    wanted: dict[int, list[str]] = {}
    numbers: dict[str, int] = {}
    offset = number = 0
    while len(problems) < MAX_PROBLEMS:
        raw = file.readline(max_line_bytes + 1)
        if not raw:
            break
        number += 1
        begin, offset = offset, offset + len(raw)
        if not raw.strip():
            continue
        try:
            request = _read(raw, endpoint, len(lines), max_line_bytes)
            _check_new(request.custom_id, numbers)
        except _Invalid as exc:
            problems.append(Problem(code=exc.code, message=str(exc), line=number, param=exc.param))
            if exc.code in {"line_too_long", "too_many_lines"}:
                break
            continue
        numbers[request.custom_id] = number
        wanted[number] = request.depends_on
        lines.append(Line(number=number, custom_id=request.custom_id, offset=begin, num_bytes=len(raw)))
    if not lines and not problems:
        problems.append(Problem(code="empty_file", message="The file has no lines; send one request per line."))
    return _linked(lines, wanted, numbers, problems), problems[:MAX_PROBLEMS]


def texts_of(value: Any) -> Iterable[str]:
    """Yield all texts in a body, keys left out."""
    pending = [value]
    while pending:
        node = pending.pop()
        if isinstance(node, str):
            yield node
        elif isinstance(node, dict):
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)


def filled(value: Any, outputs: dict[str, str]) -> Any:
    """Return a body with the outputs of other lines in their places; what they bring is not looked at again."""
    if isinstance(value, str):
        return PLACEHOLDER.sub(lambda match: outputs.get(match[1], match[0]), value)
    if isinstance(value, dict):
        return {key: filled(item, outputs) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, outputs) for item in value]
    return value


def _read(raw: bytes, endpoint: str, num_lines: int, max_line_bytes: int) -> LineRequest:
    if len(raw) > max_line_bytes:
        raise _Invalid("line_too_long", f"The line is longer than {max_line_bytes} bytes (server.max_body_bytes).")
    if num_lines >= MAX_LINES:
        raise _Invalid("too_many_lines", f"The file has more than {MAX_LINES} lines; send several files.")
    try:
        request = decode_json(raw, LineRequest)
    except InvalidRequestError as exc:
        message = str(exc).replace("The request body", "The line")
        raise _Invalid(exc.code, message, exc.param) from exc
    if request.method != "POST":
        raise _Invalid("invalid_method", f"method: {request.method!r:.40} is not supported; send POST.", "method")
    if request.url not in ENDPOINTS:
        raise _Invalid("invalid_url", f"url: {request.url!r:.80} cannot be batched; there are {ENDPOINTS}.", "url")
    if request.url != endpoint:
        raise _Invalid("mismatched_url", f"url: {request.url} is not the batch's endpoint {endpoint}.", "url")
    if request.depends_on:
        _check_placeholders(request)
    return request


def _check_placeholders(request: LineRequest) -> None:
    named = {name for text in texts_of(request.body) for name in PLACEHOLDER.findall(text)}
    if named and request.url == "/v1/embeddings":
        raise _Invalid("no_output", "body: embeddings have no text that another line could use.", "body")
    for name in sorted(named - set(request.depends_on)):
        message = f"body: it uses the output of {name!r:.130}, which is not in depends_on; add it there."
        raise _Invalid("undeclared_dependency", message, "depends_on")


def _check_new(custom_id: str, numbers: dict[str, int]) -> None:
    if custom_id in numbers:
        message = f"custom_id: {custom_id!r:.130} is there twice, first in line {numbers[custom_id]}; ids differ."
        raise _Invalid("duplicate_custom_id", message, "custom_id")


def _linked(
    lines: list[Line], wanted: dict[int, list[str]], numbers: dict[str, int], problems: list[Problem]
) -> list[Line]:
    """Return the lines with the numbers of those that they depend on; add what is wrong with that."""
    linked = []
    for line in lines:
        known = []
        for name in dict.fromkeys(wanted[line.number]):
            if name in numbers:
                known.append(numbers[name])
            elif not problems or len(problems) < MAX_PROBLEMS:
                message = f"depends_on: there is no line with the custom_id {name!r:.130}."
                problems.append(
                    Problem(code="unknown_dependency", message=message, line=line.number, param="depends_on")
                )
        linked.append(msgspec.structs.replace(line, depends_on=tuple(known)))
    circle = _circle(linked)
    if circle:
        way = " -> ".join(line.custom_id[:40] for line in circle[:10])
        message = f"depends_on: the line depends on itself: {way}; take one of these out."
        problems.append(Problem(code="dependency_cycle", message=message, line=circle[0].number, param="depends_on"))
    return linked


def _circle(lines: list[Line]) -> list[Line]:
    """Return the lines of one circle, from its first line on and that one again at its end; [] when there is none."""
    try:
        TopologicalSorter({line.number: line.depends_on for line in lines}).prepare()
    except CycleError as exc:
        *way, _ = reversed(exc.args[1])  # each of them depends on the next
        begin = way.index(min(way))
        by_number = {line.number: line for line in lines}
        return [by_number[number] for number in (*way[begin:], *way[: begin + 1])]
    return []
