import difflib
import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from registry.engines import EngineSetting
from router.config import Config, load_config, parse_config
from router.config.edit import ABSENT, edited, get_at, set_value, set_values
from router.config.reference import reference_text
from router.config.yaml_text import dotted, parse
from router.errors import ConfigError


def changed_lines(old: str, new: str) -> list[str]:
    diff = difflib.unified_diff(old.splitlines(), new.splitlines(), n=0, lineterm="")
    return [line for line in diff if line[0] in "+-" and not line.startswith(("+++", "---"))]


@pytest.mark.parametrize(
    ("key", "value", "lines"),
    [
        (("engine",), "mlx", ["-engine: auto", "+engine: mlx"]),
        (("server", "port"), 8080, ["-  port: 11434", "+  port: 8080"]),
        (("server", "unix_socket"), "/tmp/s", ["-  unix_socket: auto", "+  unix_socket: /tmp/s"]),
        (("generation", "temperature"), 0.5, ["-  temperature: 1.0", "+  temperature: 0.5"]),
        (("standby",), True, ["-standby: false", "+standby: true"]),
    ],
)
def test_only_the_one_line_of_the_commented_file_changes(
    *, key: tuple[str, ...], value: str | float | bool, lines: list[str]
) -> None:
    assert changed_lines(reference_text(), edited(reference_text(), key, value)) == lines


@pytest.mark.parametrize(
    ("text", "key", "result"),
    [
        ("", ("engine",), "engine: mlx\n"),
        ("# mine\n", ("engine",), "# mine\nengine: mlx\n"),
        ("# mine", ("engine",), "# mine\nengine: mlx\n"),
        ("engine:   auto   # here\n", ("engine",), "engine:   mlx   # here\n"),
        ("engine:\n", ("engine",), "engine: mlx\n"),
        ("engine: 'auto'\r\nstandby: true\r\n", ("engine",), "engine: mlx\r\nstandby: true\r\n"),
        ("engine: |-\n  auto\nstandby: true\n", ("engine",), "engine: mlx\nstandby: true\n"),
        ("{engine: auto, standby: true}\n", ("engine",), "{engine: mlx, standby: true}\n"),
        (
            "models:\n    extra_folders:\n    - /a\nengine: auto",
            ("engine",),
            "models:\n    extra_folders:\n    - /a\nengine: mlx",
        ),
        ("standby: true # x\n", ("engine",), "standby: true # x\nengine: mlx\n"),
        ("\ufeffengine:  # here\r\n", ("engine",), "\ufeffengine: mlx  # here\r\n"),
        ("a:\n    - 1\n# end\n...\n", ("engine",), "a:\n    - 1\n# end\nengine: mlx\n...\n"),
        ("s:\r\n    a:   1  # x\r\n\r\n# t\r\n", ("s", "b"), "s:\r\n    a:   1  # x\r\n    b: mlx\r\n\r\n# t\r\n"),
        ("s:\n  # b: 3\n", ("s", "b"), "s:\n  b: mlx\n  # b: 3\n"),
        ("s: {a: 1} # x\n", ("s", "b"), "s: {a: 1, b: mlx} # x\n"),
        ("s: ~\n", ("s", "b"), "s: {b: mlx}\n"),
    ],
)
def test_texts_that_people_write_keep_their_comments(text: str, key: tuple[str, ...], result: str) -> None:
    assert edited(text, key, "mlx") == result


def test_a_missing_section_is_added() -> None:
    assert parse_config(edited("engine: mlx\n", ("server", "port"), 1), source="x").server.port == 1
    assert parse_config(edited("server:\n  # port: 3\n", ("server", "port"), 1), source="x").server.port == 1


VALUES = [
    *("auto", "'it''s'", '"a # b"', "1", "~", "", "[a, b]", "[a,\n{}  b]", "{{x: 1}}", "some\n{}  words"),
    *("|-\n{}  # text\n{}  b: c", ">-\n{}  text\n", "|+\n{}  text\n\n", "\n{}- a\n{}- 'b'  # far", "\n{}-\n{}  - [c]"),
]
COMMENTS = ["", "", "", "\n", "{}# words\n", "# words: none\n", "{}    # far: in\n", "   \n"]
SECTIONS = [
    "",
    "  # s: 1",
    " ~",
    " null  # none",
    " {{}}",
    " {{s: 1}}",
    " {{\n{}    s: 1,\n{}    t: 2  # last\n{}  }}",
    " {{ s: a, }}",
]


@st.composite
def written_by_people(draw: st.DrawFn) -> str:
    """Sections `a` to `c` with keys `s` to `u`, or keys in their place, in all forms that a config may have."""

    def entries(names: str, indent: str, depth: int) -> str:
        text = ""
        for name in draw(st.lists(st.sampled_from(names), unique=True, max_size=3)):
            text += draw(st.sampled_from(COMMENTS)).format(indent)
            start = indent + draw(st.sampled_from([f"{name}:", f"{name} :", f'"{name}":', f"'{name}':"]))
            if depth > 0 or draw(st.booleans()):
                value = draw(st.sampled_from(VALUES)).replace("{}", indent).replace("{{", "{").replace("}}", "}")
                gap = "" if value.startswith("\n") else draw(st.sampled_from([" ", "  "]))
                text += (
                    start + gap + value + draw(st.sampled_from(["", "  # c", "  #\ttab"])) * ("\n" not in value) + "\n"
                )
            else:
                inner = entries("stu", indent + draw(st.sampled_from([" ", "  ", "    "])), 1)
                text += start + (
                    f"\n{inner}" if inner.strip() else draw(st.sampled_from(SECTIONS)).format(*[indent] * 3) + "\n"
                )
        return text

    text = draw(st.sampled_from(["", "# head\n", "---\n", "\ufeff", "%YAML 1.2\n---\n"]))
    text += entries("abc", draw(st.sampled_from(["", "", "  "])), 0) + draw(st.sampled_from(["", "# end\n", "\n"]))
    text = text if draw(st.booleans()) else text.removesuffix("\n")
    return text.replace("\n", draw(st.sampled_from(["\n", "\r\n"])))


NEW = st.sampled_from(
    [
        "mlx",
        3,
        0.5,
        True,
        None,
        ["x", "ü"],
        {"k": "f16"},
        "a: b # c",
        "😀\u2028",
        "-",
        "---",
        [],
        "",
        "two\nlines",
        "]",
        "x, y",
    ]
)


@settings(max_examples=150, deadline=None)
@given(written_by_people(), st.sampled_from("abc"), st.sampled_from(["", "s", "t", "u"]), NEW)
@pytest.mark.slow
def test_of_what_people_write_only_the_one_key_changes(text: str, section: str, name: str, value: Any) -> None:
    before = parse(text).value
    key = (section, name) if name else (section,)
    assume(not name or isinstance(before.get(section) or {}, dict))
    changed = edited(text, key, value)
    after = parse(changed).value
    assert get_at(after, key) == value
    assert changed.count("\n") - changed.count("\r\n") == (0 if "\r\n" in text else changed.count("\n"))
    if get_at(before, key) is ABSENT and (section not in before or before[section]):
        assert is_inserted(text, changed)
    others = {each: before[each] for each in before if each != section}
    assert others == {each: after[each] for each in after if each != section}
    if name:
        siblings = {each: value for each, value in (before.get(section) or {}).items() if each != name}
        assert siblings == {each: value for each, value in after[section].items() if each != name}


def is_inserted(text: str, changed: str) -> bool:
    """Whether one is the other with something put in, and an end of its last line where it had none."""
    same = next((at for at, (old, new) in enumerate(zip(text, changed, strict=False)) if old != new), len(text))
    return changed.endswith(text[same:]) or changed.rstrip().endswith(text[same:].rstrip())


def test_what_cannot_be_said_in_the_text_as_it_is_written_is_refused() -> None:
    with pytest.raises(ConfigError, match="by hand"):
        edited("a: |\n  the end of a line is missing here", ("engine",), "mlx")


@pytest.mark.parametrize(("first", "second"), [*itertools.permutations(EngineSetting, 2)])
def test_setting_back_restores_the_text(first: EngineSetting, second: EngineSetting) -> None:
    start = edited(reference_text(), ("engine",), first.value)
    assert edited(edited(start, ("engine",), second.value), ("engine",), first.value) == start


def test_the_file_keeps_its_mode_and_nothing_else_is_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "server.yaml"
    path.write_text(reference_text(), encoding="utf-8")
    path.chmod(0o640)
    assert set_value(path, ("engine",), "llamacpp") is True
    assert load_config(path).engine is EngineSetting.LLAMACPP
    assert path.stat().st_mode & 0o777 == 0o640
    assert [p.name for p in tmp_path.iterdir()] == ["server.yaml"]


def test_setting_the_same_value_does_not_touch_the_file(tmp_path: Path) -> None:
    path = tmp_path / "server.yaml"
    path.write_text("engine: mlx\n", encoding="utf-8")
    before = path.stat()
    assert set_value(path, ("engine",), "mlx") is False
    after = path.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_missing_file_is_created_for_this_user_only(tmp_path: Path) -> None:
    path = tmp_path / "config" / "server.yaml"
    assert set_value(path, ("engine",), "mlx") is True
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    real = tmp_path / "real.yaml"
    real.write_text("engine: auto\n", encoding="utf-8")
    link = tmp_path / "server.yaml"
    link.symlink_to(real)
    set_value(link, ("engine",), "mlx")
    assert link.is_symlink()
    assert real.read_text(encoding="utf-8") == "engine: mlx\n"


@pytest.mark.parametrize(("text", "value"), [("engine: auto\n", "mxl"), ("engin: auto\n", "mlx"), ("a: [", "mlx")])
def test_a_file_that_is_or_would_become_bad_is_left_as_it_was(tmp_path: Path, text: str, value: str) -> None:
    path = tmp_path / "server.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"server\.yaml, line 1"):
        set_value(path, ("engine",), value)
    assert path.read_text(encoding="utf-8") == text
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_written_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be"):
        set_value(tmp_path / "file" / "server.yaml", ("engine",), "mlx")


@pytest.mark.parametrize(
    ("text", "key", "value", "result"),
    [
        (
            "models:\n  extra_folders: []  # mine\n",
            ("models", "extra_folders"),
            ["/a"],
            'models:\n  extra_folders: ["/a"]  # mine\n',
        ),
        (
            "models:\n  extra_folders:\n  - /a\n  - /b  # far away\n\n  # Next.\n  ollama: true\n",
            ("models", "extra_folders"),
            ["/c"],
            'models:\n  extra_folders: ["/c"]  # far away\n\n  # Next.\n  ollama: true\n',
        ),
        ("models: {preload: none}\n", ("models", "preload"), ["tiny"], 'models: {preload: ["tiny"]}\n'),
        (
            "llamacpp:\n  kv_type:\n    k: q8_0\n    v: q4_0\n  mmap: true\n",
            ("llamacpp", "kv_type"),
            "f16",
            "llamacpp:\n  kv_type: f16\n  mmap: true\n",
        ),
        ("llamacpp:\n  mmap: true\n", ("llamacpp", "kv_type"), {"k": "f16", "v": "q8_0"}, None),
        ("models:\n  extra_folders: [/a]\n", ("models", "ollama"), False, None),
    ],
)
def test_lists_and_pairs_are_written_in_one_line_where_they_stand(
    text: str, key: tuple[str, ...], value: Any, result: str | None
) -> None:
    changed = edited(text, key, value)
    assert result is None or changed == result
    assert get_at(parse(changed).value, key) == value
    parse_config(changed, source="x")


@pytest.mark.parametrize(
    "key",
    [
        ("standby",),
        ("server", "allowed_origins"),
        ("limits", "keep_alive_s"),
        ("cache", "persist"),
        ("models", "preload"),
        ("telemetry", "otlp_endpoint"),
    ],
    ids=dotted,
)
def test_no_comment_of_the_shipped_file_is_lost_whichever_key_is_set(key: tuple[str, ...]) -> None:
    usual = get_at(msgspec.json.decode(msgspec.json.encode(Config())), key)
    other: Any = ["x"] if isinstance(usual, list) else not usual if isinstance(usual, bool) else "word"
    changed = edited(reference_text(), key, other)
    assert len(changed_lines(reference_text(), changed)) == 2, "one line out, one in"
    assert edited(changed, key, usual) == reference_text()


def test_several_keys_are_set_or_none(tmp_path: Path) -> None:
    path = tmp_path / "server.yaml"
    path.write_text("# mine\nengine: auto\n")
    with pytest.raises(ConfigError, match=r"server\.port"):
        set_values(path, {("engine",): "mlx", ("server", "port"): 99_999})
    assert path.read_text() == "# mine\nengine: auto\n"
    assert set_values(path, {("engine",): "mlx", ("server", "port"): 99})
    assert path.read_text() == "# mine\nengine: mlx\nserver:\n  port: 99\n"


def test_what_is_right_only_together_is_set_together(tmp_path: Path) -> None:
    path = tmp_path / "server.yaml"
    pair: Any = {("server", "tls_cert_file"): "/a", ("server", "tls_key_file"): "/b"}
    assert set_values(path, pair)
    with pytest.raises(ConfigError, match="tls_cert_file"):
        set_values(path, {("server", "tls_key_file"): None})
