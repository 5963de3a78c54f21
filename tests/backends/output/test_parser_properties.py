"""What holds for all answers and all cuts."""

# ruff: noqa: RUF001 - DeepSeek's tags have full-width bars

import json
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backends.output.formats import OutputFormat
from tests.backends.output.answer_cases import (
    CASE_IDS,
    CASES,
    FORMATS,
    HERMES,
    Case,
    parse,
)

MARKS = sorted({mark for fmt in FORMATS.values() for mark in fmt.tools.tags})
SCRAPS = [
    *MARKS,
    "<think>",
    "</think>",
    "<|channel>thought",
    "<channel|>",
    '{"name": "now", "arguments": {',
    '{"name": "weather", "parameters": {"city": "',
    "weather",
    "now",
    "call:now{",
    "[now(",
    "a=",
    '"',
    "'",
    "\\",
    "\\u00e",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    ":",
    ",",
    ";",
    "=",
    " ",
    "\n",
    "1",
    "-0.5e3",
    "true",
    "None",
    "text \u4e2d",
    "functions.now:0",
    "to=functions.now",
    "commentary",
    "city",
]
ANSWERS = st.lists(st.sampled_from(SCRAPS), max_size=30).map("".join)
FAMILIES = st.sampled_from(sorted(FORMATS))
JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(), values, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("case", CASES, ids=CASE_IDS)
def test_an_answer_cut_in_two_anywhere_gives_the_same(case: Case) -> None:
    fmt = FORMATS[case.family]
    whole = parse(fmt, case.answer)[:3]
    for cut in range(len(case.answer) + 1):
        assert parse(fmt, case.answer[:cut], case.answer[cut:])[:3] == whole
    assert parse(fmt, *case.answer)[:3] == whole


@settings(max_examples=200, deadline=None)
@given(family=FAMILIES, answer=ANSWERS, starts_in_reasoning=st.booleans(), is_parallel=st.booleans(), data=st.data())
def test_any_text_cut_anywhere_gives_the_same(
    *,
    family: str,
    answer: str,
    starts_in_reasoning: bool,
    is_parallel: bool,
    data: st.DataObject,
) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(answer)), max_size=8)))
    pieces = [answer[start:end] for start, end in zip([0, *cuts], [*cuts, len(answer)], strict=True)]
    wishes = {"starts_in_reasoning": starts_in_reasoning, "is_parallel": is_parallel}
    whole = parse(FORMATS[family], answer, **wishes)
    assert parse(FORMATS[family], *pieces, **wishes)[:3] == whole[:3]
    assert parse(FORMATS[family], *answer, **wishes)[:3] == whole[:3]


@settings(max_examples=100, deadline=None)
@given(family=FAMILIES, answer=ANSWERS)
def test_all_calls_but_an_unfinished_last_one_have_json_objects(family: str, answer: str) -> None:
    for _, arguments in parse(FORMATS[family], answer).calls[:-1]:
        assert isinstance(json.loads(arguments), dict)


@settings(max_examples=100, deadline=None)
@given(answer=st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="<[{"), max_size=60))
def test_text_without_any_syntax_is_content_in_every_format(answer: str) -> None:
    for fmt in FORMATS.values():
        assert parse(fmt, answer).text == answer


@pytest.mark.parametrize("case", CASES, ids=CASE_IDS)
def test_an_answer_that_ends_anywhere_loses_none_of_its_parts(case: Case) -> None:
    """What came of a shorter answer is the beginning of what comes of the whole one, or syntax as content."""
    fmt = FORMATS[case.family]
    for end in range(len(case.answer)):
        head = case.answer[:end]
        found = parse(fmt, head)
        assert [name for name, _ in found.calls] == [name for name, _ in case.calls[: len(found.calls)]]
        for (_, arguments), (_, whole) in zip(found.calls[:-1], case.calls, strict=False):
            assert arguments == whole
        # Content of the whole answer, and behind it perhaps the beginning of syntax, as it stands.
        assert any(
            case.text.startswith(found.text[:length]) and head.endswith(found.text[length:])
            for length in range(len(found.text) + 1)
        )
        assert parse(fmt, *head)[:3] == found[:3]


@pytest.mark.parametrize("case", [case for case in CASES if case.family == "hermes" and case.calls])
def test_arguments_that_are_cut_off_stay_as_they_are(case: Case) -> None:
    _, whole = case.calls[0]
    for end in range(len(case.answer)):
        found = parse(HERMES, case.answer[:end]).calls
        if found:
            assert whole.startswith(found[0][1])


@settings(max_examples=150, deadline=None)
@given(text=st.text(alphabet="ab <>/_tolcu\n", max_size=40))
@example(text="<")
@example(text="<tool_call>")
@example(text=" <tool_call")
def test_hermes_content_and_calls_account_for_every_visible_character(text: str) -> None:
    call = '<tool_call>{"name": "now", "arguments": {}}</tool_call>'
    found = parse(HERMES, f"{text}{call}{text}")
    assert found.calls == [("now", "{}")]
    is_cut_tag = text.lstrip() != "<tool_call>" and "<tool_call>".startswith(text.lstrip())
    behind = "" if is_cut_tag else text
    assert "".join(found.text.split()) == "".join((text + behind).split())


JSON_CALLS = {
    "hermes": '<tool_call>{"name": "weather", "arguments": ARGUMENTS}</tool_call>',
    "llama_json": '{"name": "weather", "parameters": ARGUMENTS}',
    "cohere": '<|START_ACTION|>[{"tool_name": "weather", "parameters": ARGUMENTS}]<|END_ACTION|>',
    "mistral": "[TOOL_CALLS]weather[ARGS]ARGUMENTS",
    "deepseek_v3": "<｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\nARGUMENTS\n```<｜tool▁call▁end｜>",
    "deepseek_v31": "<｜tool▁call▁begin｜>weather<｜tool▁sep｜>ARGUMENTS<｜tool▁call▁end｜>",
    "kimi": "<|tool_call_begin|>weather:0<|tool_call_argument_begin|>ARGUMENTS<|tool_call_end|>",
    "harmony": "<|channel|>commentary to=weather<|message|>ARGUMENTS",
}


# ---- round trips ----------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(
    arguments=st.dictionaries(st.text(), JSON_VALUES, max_size=4),
    family=st.sampled_from(sorted(JSON_CALLS)),
    is_ascii=st.booleans(),
    indent=st.sampled_from([None, 2]),
)
def test_json_arguments_go_through_character_by_character(
    *,
    arguments: dict[str, Any],
    family: str,
    is_ascii: bool,
    indent: int | None,
) -> None:
    text = json.dumps(arguments, ensure_ascii=is_ascii, indent=indent)
    answer = JSON_CALLS[family].replace("ARGUMENTS", text)
    assert parse(FORMATS[family], *answer).calls == [("weather", text)]
    assert parse(FORMATS[family], answer).calls == [("weather", text)]


@settings(max_examples=100, deadline=None)
@given(arguments=st.dictionaries(st.from_regex(r"[A-Za-z_]\w{0,8}", fullmatch=True), JSON_VALUES, max_size=4))
def test_python_literals_become_the_json_they_mean(arguments: dict[str, Any]) -> None:
    shown = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    ((_, found),) = parse(FORMATS["pythonic"], f"[now({shown})]").calls
    assert json.loads(found) == arguments


def _gemma(value: Any) -> str:
    if isinstance(value, str):
        return f'<|"|>{value}<|"|>'
    if isinstance(value, list):
        return f"[{','.join(map(_gemma, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_gemma(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)


GEMMA_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(exclude_categories=["Cs"])).filter(
        lambda text: "<|" not in text and not text.endswith("<")
    ),
    lambda values: (
        st.lists(values, max_size=4)
        | st.dictionaries(st.from_regex(r"[A-Za-z_]\w{0,8}", fullmatch=True), values, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(
    arguments=st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True), GEMMA_VALUES, max_size=4)
)
def test_gemmas_literals_become_the_json_they_mean(arguments: dict[str, Any]) -> None:
    ((_, found),) = parse(FORMATS["gemma4"], f"<|tool_call>call:now{_gemma(arguments)}<tool_call|>").calls
    assert json.loads(found) == arguments


@settings(max_examples=100, deadline=None)
@given(
    city=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<")),
    family=st.sampled_from(["qwen_coder", "minimax", "glm"]),
    # A value that holds its own closing tag has no end that anybody could tell.
    other=JSON_VALUES.filter(lambda value: not isinstance(value, str) and "</" not in json.dumps(value)),
)
def test_plain_values_come_back(city: str, family: str, other: Any) -> None:
    templates = {
        "qwen_coder": "<function=weather>\n<parameter=city>\nCITY\n</parameter>\n"
        "<parameter=other>\nOTHER\n</parameter>\n</function>",
        "minimax": '<invoke name="weather"><parameter name="city">CITY</parameter>'
        '<parameter name="other">OTHER</parameter></invoke>',
        "glm": "<tool_call>weather<arg_key>city</arg_key><arg_value>CITY</arg_value>"
        "<arg_key>other</arg_key><arg_value>OTHER</arg_value></tool_call>",
    }
    answer = templates[family].replace("OTHER", json.dumps(other)).replace("CITY", city)
    ((_, found),) = parse(FORMATS[family], *answer).calls
    assert json.loads(found) == {"city": city, "other": other}


# ---- hostile texts --------------------------------------------------------------------------------------------------

HOSTILE = [
    "f(",
    "<tool_call>",
    "<",
    "{",
    "[",
    " ",
    "\n",
    "[now(",
    "[TOOL_CALLS]",
    "<think>",
    '{"a":',
    "<function=now>",
    "<parameter=a>1",
    "<|channel|>",
    "<|tool_call>call:now{",
    '<tool_call>{"name":"now","arguments":{"a":"',
    '<tool_call>{"arguments":[[',
    "\\u12",
    "`",
    '"',
    "1",
]
NUM_CHARS = 100_000
"""Of each hostile text."""
FEWER = 8
MAX_GROWTH = 32
"""Between linear growth from an eighth of a text to the whole, which is 8, and quadratic growth, which is 64."""
MIN_S = 0.005
"""Shorter times say nothing about growth."""


def cpu_s(fmt: OutputFormat, parts: Iterable[str]) -> float:
    """Time of the processor for this thread alone, whoever else there is on the machine."""
    started_at = time.thread_time()
    parse(fmt, *parts)
    return time.thread_time() - started_at


def grows_linearly(fmt: OutputFormat, parts: Callable[[int], Iterable[str]]) -> bool:
    limit_s = MAX_GROWTH * max(MIN_S, *(cpu_s(fmt, parts(NUM_CHARS // FEWER)) for _ in range(2)))
    return any(cpu_s(fmt, parts(NUM_CHARS)) <= limit_s for _ in range(2))


def whole_text(head: str, scrap: str, num_chars: int) -> list[str]:
    return [head + (scrap * num_chars)[:num_chars]]


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(FORMATS))
def test_hostile_texts_take_linear_time(family: str) -> None:
    fmt = FORMATS[family]
    tags = fmt.tools.tags
    opener = tags[0] if tags else "["
    heads = ["", opener, opener + '{"name":"now","arguments":{"a":' if tags else "[now(a=["]
    for scrap in HOSTILE:
        for head in heads:
            assert grows_linearly(fmt, partial(whole_text, head, scrap)), (scrap, head)


@pytest.mark.slow
@pytest.mark.parametrize("scrap", HOSTILE)
def test_hostile_texts_letter_by_letter_take_linear_time(scrap: str) -> None:
    for family in ("hermes", "qwen_coder", "gemma4", "pythonic", "harmony"):
        assert grows_linearly(FORMATS[family], lambda size: (scrap * size)[: size // 4]), family
