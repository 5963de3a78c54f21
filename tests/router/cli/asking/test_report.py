"""`mlxr report` against a stub; what the server makes of it is tested with its route."""

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from router.protocols.answers import CachedTokens, ReasoningTokens, SeenImage
from router.protocols.control.report_schemas import ReportAnswer
from router.protocols.openai.answer_schemas import Usage
from tests.router.cli.conftest import Mlxr
from tests.router.cli.stub_gateway import TIMINGS, StubGateway

PATH = "/v1/mlxr/report"
SEEN = SeenImage(original=(4, 3), seen=(4, 3), tokens=1, cached=False, encode_ms=0.0)
USAGE = Usage(
    prompt_tokens=1,
    completion_tokens=1,
    total_tokens=2,
    prompt_tokens_details=CachedTokens(0),
    completion_tokens_details=ReasoningTokens(0),
)


def bytes_of(uri: str) -> bytes:
    return base64.b64decode(uri.partition(",")[2])


@pytest.fixture
def reporting(stub: StubGateway) -> StubGateway:
    """Reports what the files hold; some are no pictures."""

    def answer(body: dict[str, Any]) -> tuple[int, str]:
        texts = [bytes_of(uri).decode() for uri in body["images"]]
        if "bad" in texts:
            error = {"message": "images[0]: the file is no picture", "code": "invalid_image", "param": "images[0]"}
            return 400, json.dumps({"error": error})
        report = ReportAnswer(
            id="report-1",
            model="m",
            report={"title": "+".join(texts)},
            images=[SEEN],
            attempts=1,
            usage=USAGE,
            timings=TIMINGS,
        )
        return 200, msgspec.json.encode(report).decode()

    stub.answers[PATH] = answer
    return stub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "scans"
    path.mkdir()
    for name, text in {"b.png": "two", "a.jpg": "one", "c.PNG": "bad", "notes.txt": "no picture"}.items():
        (path / name).write_text(text)
    return path


def bodies(stub: StubGateway) -> list[Any]:
    return [body for path, body, _ in stub.requests if path == PATH]


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def test_several_pictures_are_one_report(mlxr: Mlxr, reporting: StubGateway, folder: Path, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object"}')
    asked = ["report", str(folder / "b.png"), str(folder / "a.jpg")]
    options = ["--schema", str(schema), "--prompt", "P", "--model", "m", "--side", "448", "--engine", "mlx"]
    result = mlxr(*asked, *options)
    assert (result.exit_code, json.loads(result.out), result.err) == (0, {"title": "two+one"}, "")
    (body,) = bodies(reporting)
    assert [bytes_of(uri) for uri in body.pop("images")] == [b"two", b"one"]
    assert body == {
        "schema": {"type": "object"}, "prompt": "P", "model": "m", "image_side_px": 448, "max_tokens": 512,
    }  # fmt: skip
    assert {key.lower(): value for key, value in reporting.requests[-1][2].items()}["x-mlxr-engine"] == "mlx"
    assert json.loads(mlxr(*asked, "--json").out)["images"] == [json.loads(msgspec.json.encode(SEEN))]


def test_a_folder_is_a_line_for_each_picture_and_what_fails_is_named(
    mlxr: Mlxr, reporting: StubGateway, folder: Path
) -> None:
    del reporting
    result = mlxr("report", str(folder))
    assert result.exit_code == 1
    assert [(line["file"], line["report"]) for line in lines(result.out)] == [
        ("a.jpg", {"title": "one"}),
        ("b.png", {"title": "two"}),
    ]
    assert "mlxr: c.PNG: the file is no picture\n" in result.err
    assert "[2/3] b.png" in result.err
    assert result.err.splitlines()[-1].endswith(", 1 failed")


def test_a_file_of_lines_is_gone_on_with(mlxr: Mlxr, reporting: StubGateway, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    (folder / "c.PNG").unlink()
    assert mlxr("report", str(folder), "--output", str(output)).exit_code == 0
    whole = output.read_bytes()
    assert len(lines(whole.decode())) == 2
    output.write_bytes(whole[:-20])  # as after a loss of power
    (folder / "d.gif").write_text("three")
    result = mlxr("report", str(folder), "--output", str(output))
    assert result.exit_code == 0
    assert result.err.splitlines()[-1].endswith("1 were there already")
    assert [line["file"] for line in lines(output.read_text())] == ["a.jpg", "b.png", "d.gif"]
    (folder / "a.jpg").write_text("changed")
    mlxr("report", str(folder), "--output", str(output))
    assert lines(output.read_text())[-1]["report"] == {"title": "changed"}
    assert len(bodies(reporting)) == 2 + 2 + 1


def test_a_file_with_answers_to_another_question_is_left_alone(
    mlxr: Mlxr, reporting: StubGateway, folder: Path, tmp_path: Path
) -> None:
    del reporting
    output = tmp_path / "out.jsonl"
    mlxr("report", str(folder), "--output", str(output))
    before = output.read_bytes()
    result = mlxr("report", str(folder), "--output", str(output), "--prompt", "another")
    assert result.exit_code == 2
    assert "another schema, prompt, model or size; name another file" in result.err
    assert output.read_bytes() == before
    output.write_text("no report\n")
    result = mlxr("report", str(folder), "--output", str(output))
    assert (result.exit_code, output.read_text()) == (2, "no report\n")


def test_a_bad_picture_among_several_is_named_by_its_file(mlxr: Mlxr, stub: StubGateway, folder: Path) -> None:
    error = {"message": "images[1]: the file is no picture", "code": "invalid_image", "param": "images[1]"}
    stub.answers[PATH] = (400, json.dumps({"error": error}))
    result = mlxr("report", str(folder / "a.jpg"), str(folder / "c.PNG"))
    assert (result.exit_code, result.err) == (1, "mlxr: c.PNG: the file is no picture\n")


def test_what_is_no_pictures_fault_ends_the_work(mlxr: Mlxr, reporting: StubGateway, folder: Path) -> None:
    reporting.answers[PATH] = (404, '{"error": {"message": "No such model.", "code": "model_not_found"}}')
    result = mlxr("report", str(folder))
    assert (result.exit_code, result.err.splitlines()[-1]) == (1, "mlxr: No such model.")
    assert len(bodies(reporting)) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{folder}", "{folder}/a.jpg"], "A folder stands alone"),
        (["{folder}/a.jpg", "--output", "x"], "--output is for a folder"),
        (["{folder}/a.jpg", "--schema", "{folder}/notes.txt"], "The schema"),
        (["{folder}/none.jpg"], "none.jpg"),
        (["{empty}"], "There are no pictures in"),
    ],
)
def test_a_call_that_makes_no_sense_is_told_before_anything_is_asked(
    mlxr: Mlxr, reporting: StubGateway, folder: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    (tmp_path / "empty").mkdir()
    result = mlxr("report", *(text.format(folder=folder, empty=tmp_path / "empty") for text in arguments))
    assert result.exit_code == 2
    assert words in result.err
    assert bodies(reporting) == []
