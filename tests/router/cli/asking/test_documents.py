"""`mlxr run --file`: what the server read is quoted before the question, and said on stderr."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from router.documents.quoting import quoted_document
from tests.router.cli.asking.test_run import DONE, Terminal, type_lines
from tests.router.cli.conftest import Mlxr
from tests.router.cli.stub_gateway import StubGateway, chunk

DOCUMENT = {
    "id": "doc_1",
    "name": "report.pdf",
    "kind": "pdf",
    "markdown": "The answer is 42.",
    "num_pages": 2,
    "scanned_pages": [2],
    "num_chars": 5210,
    "is_truncated": False,
    "notes": ["Page 2 is without text: scanned, or a picture."],
    "num_tokens": 1403,
    "context_length": 8192,
}
ABOUT = (
    "mlxr: report.pdf: 2 pages, 5,210 characters, 1,403 tokens (17% of the context). "
    "Page 2 is without text: scanned, or a picture.\n"
)
QUOTED = quoted_document("report.pdf", "The answer is 42.\n\n[Of page 2 there is only a picture, which is not shown.]")


@pytest.fixture
def report(tmp_path: Path) -> Path:
    path = tmp_path / "report.pdf"
    path.write_bytes(b"%PDF-1.7 of a kind")
    return path


@pytest.fixture
def reading(stub: StubGateway, monkeypatch: pytest.MonkeyPatch) -> StubGateway:
    monkeypatch.setattr(sys, "stdin", Terminal())
    stub.events = [chunk("Hello"), chunk(reason="stop"), DONE]
    for model in ("m", "m%40mlx"):
        stub.answers[f"/v1/mlxr/documents?name=report.pdf&model={model}"] = (200, json.dumps(DOCUMENT))
    return stub


def content_of(stub: StubGateway, at: int = -1) -> Any:
    return stub.requests[-1][1]["messages"][at]["content"]


def test_a_document_is_read_by_the_server_and_quoted_before_the_prompt(
    mlxr: Mlxr, reading: StubGateway, report: Path
) -> None:
    assert mlxr("run", "m", "what?", "--file", str(report)) == (0, "Hello\n", ABOUT)
    assert reading.requests[-2][1] == report.read_bytes()
    assert content_of(reading) == f"{QUOTED}\n\nwhat?"


def test_several_are_read_in_their_order_on_the_engine_that_answers(
    mlxr: Mlxr, reading: StubGateway, report: Path
) -> None:
    result = mlxr("run", "m", "what?", "--engine", "mlx", "--file", str(report), "--file", str(report))
    assert (result.exit_code, result.err) == (0, ABOUT * 2)
    assert content_of(reading) == f"{QUOTED}\n\n{QUOTED}\n\nwhat?"


def test_in_a_conversation_it_goes_with_the_first_question(
    mlxr: Mlxr, reading: StubGateway, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_lines(monkeypatch, "what?", "and?")
    assert mlxr("run", "m", "--file", str(report)).exit_code == 0
    assert content_of(reading, 0) == f"{QUOTED}\n\nwhat?"
    assert content_of(reading) == "and?"


def test_one_that_cannot_be_read_asks_nothing(mlxr: Mlxr, reading: StubGateway, report: Path) -> None:
    path = "/v1/mlxr/documents?name=report.pdf&model=m"
    error = {"message": "report.pdf is encrypted with a password", "code": "invalid_document"}
    reading.answers[path] = (400, json.dumps({"error": error}))
    assert mlxr("run", "m", "x", "--file", str(report)) == (1, "", "mlxr: report.pdf is encrypted with a password\n")
    empty = DOCUMENT | {"markdown": "", "scanned_pages": [1, 2]}
    reading.answers[path] = (200, json.dumps(empty))
    result = mlxr("run", "m", "x", "--file", str(report))
    assert result.exit_code == 1
    assert "no text (scanned)" in result.err
    assert [each[0] for each in reading.requests] == [path, path]
    assert mlxr("run", "m", "x", "--file", str(report.with_name("none.pdf"))).exit_code == 2
