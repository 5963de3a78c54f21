"""The log file under what happens to files."""

import contextlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from router.cli.logs.writing import JsonFormatter, LogFile, TextFormatter
from router.config import LoggingConfig


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "log").mkdir()
    return tmp_path / "log" / "mlxr.log"


@pytest.fixture
def log(path: Path) -> Iterator[logging.Logger]:
    handler = LogFile(path, LoggingConfig(max_file_bytes=10_000, num_old_files=2))
    handler.setFormatter(TextFormatter())
    logger = logging.Logger("tests.log")  # noqa: LOG001 - of this test alone
    logger.addHandler(handler)
    yield logger
    handler.close()


def test_a_large_file_is_put_aside_and_few_are_kept(log: logging.Logger, path: Path) -> None:
    for number in range(1000):
        log.info("line %d", number)
    assert sorted(each.name for each in path.parent.iterdir()) == ["mlxr.log", "mlxr.log.1", "mlxr.log.2"]
    assert all(each.stat().st_size <= 10_000 for each in path.parent.iterdir())
    assert path.read_text().endswith("line 999\n")


def test_without_old_files_it_begins_anew(path: Path) -> None:
    handler = LogFile(path, LoggingConfig(max_file_bytes=10_000, num_old_files=0))
    for number in range(1000):
        handler.emit(logging.LogRecord("x", logging.INFO, "", 0, f"line {number} {'y' * 50}", None, None))
    handler.close()
    assert path.stat().st_size <= 10_000
    assert path.read_bytes()[:4] == b"line"


def test_a_file_and_a_folder_that_were_deleted_are_made_anew(log: logging.Logger, path: Path) -> None:
    log.info("one")
    path.unlink()
    log.info("two")
    assert path.read_text().endswith("two\n")
    path.unlink()
    path.parent.rmdir()
    log.info("three")
    assert path.read_text().endswith("three\n")


def test_a_file_that_another_program_has_rotated_is_left_alone(log: logging.Logger, path: Path) -> None:
    log.info("one")
    path.rename(path.with_name("moved"))
    log.info("two")
    assert path.with_name("moved").read_text().endswith("one\n")
    assert path.read_text().endswith("two\n")


def test_a_full_disk_is_said_once_and_raises_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    handler = LogFile(Path("/dev/full"), LoggingConfig())
    for _ in range(3):
        handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "lost", None, None))
    assert capsys.readouterr().err.count("cannot be written") == 1
    with contextlib.suppress(OSError, ValueError):  # what is buffered cannot go anywhere
        handler.close()
    stream = handler.stream
    if stream is not None:
        with contextlib.suppress(OSError):
            stream.close()


def test_json_has_the_id_and_the_fields_of_a_request() -> None:
    record = logging.LogRecord("mlxr.access", logging.INFO, "", 0, "path=/x", None, None)
    record.request_id, record.http = "req_1", {"path": "/x", "tokens_in": 3}
    entry = json.loads(JsonFormatter().format(record))
    assert (entry["request_id"], entry["http"]["tokens_in"], entry["level"]) == ("req_1", 3, "info")


def test_text_has_the_id_and_one_line_whatever_is_said() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "a\nforged\x1b[2J", None, None)
    record.request_id = "req_1"
    line = TextFormatter().format(record)
    assert "INFO x: [req_1] a\\x0aforged\\x1b" in line
    assert "\n" not in line
