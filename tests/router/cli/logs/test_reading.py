import json
from pathlib import Path

from router.cli.logs.reading import following, last_lines
from tests.router.cli.conftest import Mlxr


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_the_last_lines_come_from_files_that_were_put_aside_as_well(tmp_path: Path) -> None:
    path = write(tmp_path / "mlxr.log", "d", "e")
    write(tmp_path / "mlxr.log.1", "b", "c")
    write(tmp_path / "mlxr.log.2", "a")
    assert last_lines(path, 4) == (["b", "c", "d", "e"], 4)
    assert last_lines(path, 100)[0] == ["a", "b", "c", "d", "e"]
    assert last_lines(path, 1)[0] == ["e"]
    assert last_lines(path, 0)[0] == []


def test_long_files_are_read_from_their_end(tmp_path: Path) -> None:
    lines = [f"{number} {'x' * (number % 300)}" for number in range(3000)]
    path = write(tmp_path / "mlxr.log", *lines)
    for number in (1, 2, 700, 2999, 3000):
        assert last_lines(path, number)[0] == lines[-number:]


def test_a_line_that_is_not_complete_is_left_to_following(tmp_path: Path) -> None:
    path = tmp_path / "mlxr.log"
    path.write_text("one\ntw")
    assert last_lines(path, 5) == (["one"], 4)
    lines = following(path, 4)
    with path.open("a") as file:
        file.write("o\n")
    assert next(lines) == "two"
    lines.close()


def test_following_goes_on_in_the_file_that_takes_the_place(tmp_path: Path) -> None:
    path = write(tmp_path / "mlxr.log", "one")
    lines = following(path, 0)
    assert next(lines) == "one"
    path.rename(tmp_path / "mlxr.log.1")
    write(path, "two")
    assert next(lines) == "two"
    write(path, "x")  # cut: it is shorter than what was read
    assert next(lines) == "x"
    lines.close()


def test_the_verb_shows_text_and_json(mlxr: Mlxr) -> None:
    missing = mlxr("logs")
    assert missing.exit_code == 1
    assert "There is no log yet" in missing.err
    entry = {"time": 0.0, "level": "info", "logger": "l", "request_id": "r", "message": "said"}
    log = Path(missing.err.split(": ", 2)[2].split(". `mlxr")[0])
    write(log, "a text \x1b", json.dumps(entry))
    text = mlxr("logs").out.splitlines()
    assert text[0] == "a text \\x1b"
    assert text[1].endswith("INFO l: [r] said")
    assert [json.loads(line) for line in mlxr("logs", "--json", "-n", "5").out.splitlines()] == [
        {"message": "a text \x1b"},
        entry,
    ]
