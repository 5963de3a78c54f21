import io
import json
from typing import Any

import pytest

from router.jobs.batches.base import Line, Problem
from router.jobs.batches.validation import MAX_PROBLEMS, filled, read_lines

CHAT = "/v1/chat/completions"


def line(custom_id: str, *depends_on: str, **fields: Any) -> dict[str, Any]:
    needs = {"depends_on": list(depends_on)} if depends_on else {}
    return {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": {"model": "m"}} | needs | fields


def read(*lines: Any, endpoint: str = CHAT, max_line_bytes: int = 10_000) -> tuple[list[Line], list[Problem]]:
    text = "\n".join(each if isinstance(each, str) else json.dumps(each) for each in lines)
    return read_lines(io.BytesIO(text.encode("utf-8", "surrogatepass")), endpoint, max_line_bytes=max_line_bytes)


def problems_of(*lines: Any, **options: Any) -> list[tuple[str, int | None]]:
    return [(problem.code, problem.line) for problem in read(*lines, **options)[1]]


def test_lines_know_their_place_and_what_they_depend_on() -> None:
    lines, problems = read(line("a"), "", line("b", "c", "a", "c"), line("c"))
    assert problems == []
    assert [(each.number, each.custom_id, each.depends_on) for each in lines] == [
        (1, "a", ()),
        (3, "b", (4, 1)),
        (4, "c", ()),
    ]
    text = "\n".join([json.dumps(line("a")), "", json.dumps(line("b", "c", "a", "c")), json.dumps(line("c"))]).encode()
    for each in lines:
        assert json.loads(text[each.offset : each.offset + each.num_bytes])["custom_id"] == each.custom_id


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ("{", "invalid_json"),
        ("[]", "invalid_json"),
        ('{"custom_id": "\ud800"}', "invalid_json"),
        ("[" * 5000, "invalid_json"),
        ({"method": "POST", "url": CHAT, "body": {}}, "missing_required_parameter"),
        (line("x", colour=1), "unknown_parameter"),
        (line(""), "invalid_request"),
        (line("x" * 129), "invalid_request"),
        (line("x", method="GET"), "invalid_method"),
        (line("x", url="/v1/models"), "invalid_url"),
        (line("x", url="/v1/completions"), "mismatched_url"),
        (line("x", body=[]), "invalid_request"),
        (line("a"), "duplicate_custom_id"),
        (line("x", "nobody"), "unknown_dependency"),
        (line("x", "x"), "dependency_cycle"),
        (line("x", "a", body={"t": "{{b.output}}"}), "undeclared_dependency"),
        (line("x", body={"t": "y" * 20_000}), "line_too_long"),
    ],
)
def test_a_bad_line_is_told_with_its_number(bad: Any, code: str) -> None:
    found = problems_of(line("a"), line("b"), bad)
    assert found == [(code, 3)]


def test_a_circle_is_told_once_and_names_its_lines() -> None:
    lines = [line("a"), line("b", "d"), line("c", "b"), line("d", "c", "a"), line("e", "d")]
    _, problems = read(*lines)
    assert [(problem.code, problem.line, problem.param) for problem in problems] == [
        ("dependency_cycle", 2, "depends_on")
    ]
    assert "b -> d -> c -> b" in problems[0].message


def test_an_empty_file_and_too_many_problems() -> None:
    assert problems_of("", " ") == [("empty_file", None)]
    assert len(problems_of(*["{"] * (MAX_PROBLEMS + 50))) == MAX_PROBLEMS


def test_embeddings_have_no_text_to_use() -> None:
    url = "/v1/embeddings"
    lines = [line("a", url=url), line("b", "a", url=url, body={"input": "{{a.output}}"})]
    assert problems_of(*lines, endpoint=url) == [("no_output", 2)]


def test_without_depends_on_braces_are_text() -> None:
    assert problems_of(line("a", body={"t": "{{b.output}}"})) == []


def test_outputs_come_into_their_places_once() -> None:
    body = {"messages": [{"content": "Sum {{a.output}} and {{ b.output }}, not {{c.output}}."}], "n": 1, "x": None}
    assert filled(body, {"a": "{{b.output}}", "b": 'two\n"'}) == {
        "messages": [{"content": 'Sum {{b.output}} and two\n", not {{c.output}}.'}],
        "n": 1,
        "x": None,
    }
