import json
from typing import Any

import pytest

from router.cli.terminal.output import count, print_facts, print_json, print_table, shown, shown_answer, size


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("plain-name_1", "plain-name_1"),
        ("ünïcode 模型", "ünïcode 模型"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb\r\tc", "a\\x0ab\\x0d\\x09c"),
        ("\x9b31m", "\\x9b31m"),
        ("abc\u202egnp", "abc\\u202egnp"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("\udcff", "\\udcff"),
    ],
)
def test_control_characters_are_escaped(text: str, safe: str) -> None:
    assert shown(text) == safe


def test_an_answer_keeps_lines_and_tabs_and_emoji_only() -> None:
    assert shown_answer("a\n\tb 👩\u200d💻 \x1b]0;x\x07\r") == "a\n\tb 👩\u200d💻 \\x1b]0;x\\x07\\x0d"


@pytest.mark.parametrize(
    ("num_bytes", "text"), [(0, "0 B"), (999, "999 B"), (98_412_345, "98.4 MB"), (1.5e12, "1.5 TB"), (None, None)]
)
def test_sizes(num_bytes: int | None, text: str | None) -> None:
    assert size(num_bytes) == text


@pytest.mark.parametrize(("number", "text"), [(134_515_008, "134.5M"), (999, "999"), (7 * 10**9, "7.0B"), (None, None)])
def test_counts(number: int | None, text: str | None) -> None:
    assert count(number) == text


def test_a_table_is_aligned_plain_and_safe(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("NAME", "SIZE"), [("a\x1b", 5), ("long-name", 10), ("none", None)])
    assert capsys.readouterr().out == "NAME       SIZE\na\\x1b         5\nlong-name    10\nnone          -\n"


def test_facts_leave_out_what_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts([("name", "x"), ("gone", None), ("longer name", 1)])
    assert capsys.readouterr().out == "name         x\nlonger name  1\n"


def test_json_is_ascii_so_that_it_is_safe_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    value: dict[str, Any] = {"a": "\x9b\u202eü", "b": (1, None)}
    print_json(value)
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out) == {"a": "\x9b\u202eü", "b": [1, None]}
