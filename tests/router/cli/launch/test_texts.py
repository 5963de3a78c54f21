"""Settings files of people, with one thing more in them: everything else is as it was."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.cli.launch.texts import json_text
from router.cli.launch.texts.edits import Edit, Format, Put, PutItem, edited
from router.cli.launch.texts.errors import TextError

PROVIDER = Put(("provider", "mlxr"), {"url": "http://h/v1", "sees": False})
WRITTEN = '"mlxr": {\n{i}  "url": "http://h/v1",\n{i}  "sees": false\n{i}}'
MODEL = PutItem(("models",), {"name": "mlxr m", "roles": ["chat"]}, key="name")
ITEM = PutItem((), {"name": "mlxr", "models": [1]}, key="name")
PROFILE: tuple[Edit, ...] = (Put(("model",), "m"), Put(("providers", "mlxr", "url"), "http://h"))


def at(indent: str) -> str:
    return WRITTEN.replace("{i}", indent)


JSON = {
    "nothing": ("", '{\n  "provider": {\n    ' + at("    ") + "\n  }\n}\n"),
    "an empty object": ("{}", '{\n  "provider": {\n    ' + at("    ") + "\n  }\n}"),
    "comments and a last comma": (
        '{\n  // mine\n  "provider": {\n    "o": 1, // one\n  },\n  "a": [1, 2,], /* two */\n}\n',
        '{\n  // mine\n  "provider": {\n    "o": 1, // one\n    '
        + at("    ")
        + ',\n  },\n  "a": [1, 2,], /* two */\n}\n',
    ),
    "a comment behind the last entry": (
        '{\n  "provider": {\n    "o": 1 // one\n  }\n}',
        '{\n  "provider": {\n    "o": 1, // one\n    ' + at("    ") + "\n  }\n}",
    ),
    "one line": (
        '{"a": 1, "provider": {"o": 1}}',
        '{"a": 1, "provider": {"o": 1, "mlxr": {"url": "http://h/v1", "sees": false}}}',
    ),
    "null": (
        '{"provider": null}',
        '{"provider": {\n  "mlxr": {\n    "url": "http://h/v1",\n    "sees": false\n  }\n}}',
    ),
    "an earlier one": (
        '{\n  "provider": {\n    "mlxr": {"url": 1, "old": 2},\n    "o": 1\n  }\n}',
        '{\n  "provider": {\n    ' + at("    ") + ',\n    "o": 1\n  }\n}',
    ),
    "one key twice": (
        '{\n  "provider": 1,\n  "provider": {}\n}',
        '{\n  "provider": 1,\n  "provider": {\n    ' + at("    ") + "\n  }\n}",
    ),
}


@pytest.mark.parametrize("name", JSON)
def test_a_value_comes_into_json(name: str) -> None:
    before, after = JSON[name]
    assert edited(before, "jsonc", [PROVIDER]) == after
    assert edited(after, "jsonc", [PROVIDER]) == after


def test_tabs_ends_of_lines_and_a_byte_order_mark_stay() -> None:
    assert edited('\ufeff{\r\n\t"a": 1\r\n}\r\n', "jsonc", [Put(("b", "c"), "d")]) == (
        '\ufeff{\r\n\t"a": 1,\r\n\t"b": {\r\n\t\t"c": "d"\r\n\t}\r\n}\r\n'
    )
    assert (
        edited("a = 1\r\n", "toml", PROFILE) == 'a = 1\r\nmodel = "m"\r\n\r\n[providers.mlxr]\r\nurl = "http://h"\r\n'
    )
    assert edited("a: 1\r\n", "yaml", [MODEL]) == (
        'a: 1\r\nmodels:\r\n  - name: "mlxr m"\r\n    roles:\r\n    - chat\r\n'
    )


LISTS: dict[str, tuple[Format, PutItem, str, str]] = {
    "JSON, empty": ("jsonc", ITEM, "[]", '[\n  {\n    "name": "mlxr",\n    "models": [\n      1\n    ]\n  }\n]'),
    "JSON, another": (
        "jsonc",
        ITEM,
        '[\n\t{"name": "o"}, // mine\n]\n',
        '[\n\t{"name": "o"}, // mine\n\t{\n\t\t"name": "mlxr",\n\t\t"models": [\n\t\t\t1\n\t\t]\n\t},\n]\n',
    ),
    "JSON, an earlier one": (
        "jsonc",
        ITEM,
        '[{"name": "mlxr", "x": 1}, {"name": "o"}]',
        '[{\n  "name": "mlxr",\n  "models": [\n    1\n  ]\n}, {"name": "o"}]',
    ),
    "YAML, none": (
        "yaml",
        MODEL,
        "# mine\nname: x # his\n",
        '# mine\nname: x # his\nmodels:\n  - name: "mlxr m"\n    roles:\n    - chat\n',
    ),
    "YAML, an empty one": (
        "yaml",
        MODEL,
        "models: []\nname: x\n",
        'models:\n  - name: "mlxr m"\n    roles:\n    - chat\nname: x\n',
    ),
    "YAML, another": (
        "yaml",
        MODEL,
        "models:\n- name: o # mine\n\nname: x\n",
        'models:\n- name: o # mine\n- name: "mlxr m"\n  roles:\n  - chat\n\nname: x\n',
    ),
    "YAML, an earlier one": (
        "yaml",
        MODEL,
        "models:\n  - name: mlxr m\n    old: 1\n  # next\n  - name: o\n",
        'models:\n  - name: "mlxr m"\n    roles:\n    - chat\n  # next\n  - name: o\n',
    ),
    "YAML, a document that is a list": (
        "yaml",
        ITEM,
        "- name: o\n# end",
        "- name: o\n- name: mlxr\n  models:\n  - 1\n# end",
    ),
}


@pytest.mark.parametrize("name", LISTS)
def test_an_item_comes_into_a_list(name: str) -> None:
    form, edit, before, after = LISTS[name]
    assert edited(before, form, [edit]) == after
    assert edited(after, form, [edit]) == after


TOML = {
    "nothing": ("", 'model = "m"\n\n[providers.mlxr]\nurl = "http://h"\n'),
    "the user's own": (
        '# mine\nmodel = "gpt" # his\n\n[tui]\nx = [\n "[a]",\n]\n\n[providers.mlxr]\nurl="old"\nname = "n"\n',
        '# mine\nmodel = "m" # his\n\n[tui]\nx = [\n "[a]",\n]\n\n[providers.mlxr]\nurl="http://h"\nname = "n"\n',
    ),
    "only a table": ("[tui]\nx = 1", 'model = "m"\n\n[tui]\nx = 1\n\n[providers.mlxr]\nurl = "http://h"\n'),
    "quoted keys": (
        '[projects."/x.y"]\nz = 1\n[ "providers" . mlxr ]\n',
        'model = "m"\n\n[projects."/x.y"]\nz = 1\n[ "providers" . mlxr ]\nurl = "http://h"\n',
    ),
}


@pytest.mark.parametrize("name", TOML)
def test_values_come_into_toml(name: str) -> None:
    before, after = TOML[name]
    assert edited(before, "toml", PROFILE) == after
    assert edited(after, "toml", PROFILE) == after


HOSTILE: list[tuple[Format, str, str]] = [
    ("json", "{", r"line 1: a key in double quotes is missing"),
    ("json", '{\n  "a": 1\n  "b": 2\n}', r"line 3: a comma or \} is missing"),
    ("json", '{"a": 1,}', r"a comma before \}"),
    ("json", "{} // mine", r"a comment, which this program does not read"),
    ("jsonc", '{"a": 1} x', r"something stands behind its end"),
    ("jsonc", '{"a": "\n"}', r"a character that has to be escaped"),
    ("jsonc", '{"a": "x}', r"a text that has no end"),
    ("jsonc", "{'a': 1}", r"a key in double quotes"),
    ("jsonc", '{"a": NaN}', r"a value is missing or unknown"),
    ("jsonc", "[" * 5000, r"nested too deeply"),
    ("jsonc", "/* " * 5000, r"a value is missing"),
    ("jsonc", '{"provider": [1]}', r"provider has to be an object"),
    ("jsonc", "[1]", r"its whole has to be an object"),
    ("toml", "a = ", r"not TOML"),
    ("toml", "providers = {mlxr = {}}", r"written in a way"),
    ("toml", 'model = """\na"""', r"written in a way"),
    ("yaml", "a: [", r"not YAML"),
    ("yaml", "a: &x 1\nb: *x", r"anchors"),
    ("yaml", "models: [{name: o}]", r"in brackets"),
    ("yaml", "models: {}", r"models has to be a list"),
]


@pytest.mark.parametrize(("form", "text", "says"), HOSTILE)
def test_what_cannot_be_read_or_changed_is_refused(form: Format, text: str, says: str) -> None:
    edits = {"toml": PROFILE, "yaml": (MODEL,)}.get(form, (PROVIDER,))
    with pytest.raises(TextError, match=says):
        edited(text, form, edits)


KEYS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=4)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | KEYS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40)
@given(
    document=st.dictionaries(KEYS, VALUES, max_size=4),
    indent=st.sampled_from([None, 2, 4, "\t"]),
    path=st.lists(KEYS, min_size=1, max_size=3),
    value=VALUES,
)
def test_any_json_says_the_same_but_for_the_change(document: Any, indent: Any, path: list[str], value: Any) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=False)
    put = Put(tuple(path), value)
    stands = document
    for key in path[:-1]:
        stands = stands.get(key) if isinstance(stands, dict) else stands
    if stands is not None and not isinstance(stands, dict):
        with pytest.raises(TextError, match="has to be an object"):
            edited(text, "json", [put])
        return
    result = edited(text, "json", [put])
    found = json_text.parse_strictly(result)
    for key in path:
        found = found[key]
    assert found == value


def test_a_value_that_is_there_stays_where_it_is_only_a_default() -> None:
    assert edited("name: mine\n", "yaml", [Put(("name",), "Local", is_default=True)]) == "name: mine\n"
    assert edited("", "yaml", [Put(("name",), "Local", is_default=True)]) == "name: Local\n"
