import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.config.yaml_text import MAX_TEXT_BYTES, YAMLTextError, parse


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("12", 12),
        ("-3", -3),
        ("010", 10),
        ("0o17", 15),
        ("0xff", 255),
        ("1_000", 1000),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".inf", float("inf")),
        ("true", True),
        ("yes", "yes"),
        ("on", "on"),
        ("null", None),
        ("~", None),
        ("", None),
        ("'12'", "12"),
        ("12:30", "12:30"),
        ("[a, 1]", ["a", 1]),
        ("{b: 2}", {"b": 2}),
    ],
)
def test_scalars_are_those_of_yaml_1_2(scalar: str, value: object) -> None:
    parsed = parse(f"a: {scalar}\n").value["a"]
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize("text", ["", "\n", "# a comment\n", "---\n", "---\n...\n"])
def test_an_empty_text_is_an_empty_section(text: str) -> None:
    assert parse(text).value == {}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "a is given twice, first on line 1"),
        ("s:\n  a: 1\n  a: 2\n", 3, "s.a is given twice"),
        ("a: &x 1\nb: *x\n", 1, "anchors"),
        ("a: &x [*x]\n", 1, "anchors"),
        ("<<: {a: 1}\n", 1, "a key must be a word"),
        ("a: 1\n1: b\n", 2, "a key must be a word"),
        ("? [a]\n: b\n", 1, "a key must be a word"),
        ("a: 1\nb: !!python/object/apply:os.system ['true']\n", 2, "cannot be used here"),
        ("a: !secret x\n", 1, "cannot be used here"),
        ("a: 2001-01-01\n", 1, "cannot be used here"),
        ("a: 1\nb: [\n", 3, "expected"),
        ("a:\n\tb: 1\n", 2, "cannot start any token"),
        ("---\na: 1\n---\nb: 2\n", 3, "another document"),
        ("%YAML 1.1\n---\na: on\n", 3, "is no bool"),
        ("a: " + "9" * 10_000, 1, "is no int"),
    ],
)
def test_what_a_config_does_not_need_is_refused_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(YAMLTextError, match=words) as caught:
        parse(text)
    assert caught.value.line == line


@pytest.mark.parametrize("text", ["[" * 500, "a: \x01", "a: " + "[" * 30 + "]" * 30, "a" * (MAX_TEXT_BYTES + 1)])
def test_hostile_texts_are_refused(text: str) -> None:
    with pytest.raises(YAMLTextError):
        parse(text)


def test_lines_of_keys_and_list_items_are_known() -> None:
    lines = parse("a: 1\n\ns:\n  # why\n  b:\n    - x\n    - y\n").lines
    assert lines["a",] == 1
    assert lines["s", "b"] == 5
    assert lines["s", "b", 1] == 7


@given(st.text(max_size=60))
def test_any_text_parses_or_is_refused(text: str) -> None:
    num_lines = len(text.splitlines()) + 1
    try:
        lines = list(parse(text).lines.values())
    except YAMLTextError as exc:
        lines = [exc.line or 1]
    assert all(1 <= line <= num_lines for line in lines)
