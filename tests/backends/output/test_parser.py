import json
import re

import pytest

from backends.output.formats import OutputFormat
from backends.output.parser import create_parser
from backends.wire.request import OutputSpec, ToolChoice, ToolUse
from tests.backends.output.answer_cases import (
    CASE_IDS,
    CASES,
    CHANNEL,
    FORMATS,
    HERMES,
    TOOLS,
    Case,
    format_of,
    joined,
    parse,
    parse_with,
    parser_for,
)


@pytest.mark.parametrize("case", CASES, ids=CASE_IDS)
def test_the_parts_of_a_familys_answer_come_out_apart(case: Case) -> None:
    parsed = parse(FORMATS[case.family], case.answer)
    assert (parsed.text, parsed.reasoning, parsed.calls) == (case.text, case.reasoning, case.calls)
    for _, arguments in parsed.calls:
        assert isinstance(json.loads(arguments), dict)


def test_every_family_has_a_case() -> None:
    assert {case.family for case in CASES} == set(FORMATS)


# ---- ids and fragments ----------------------------------------------------------------------------------------------


def test_ids_have_the_interfaces_form_and_never_repeat() -> None:
    answer = '<tool_call>{"name": "now", "arguments": {}}</tool_call>' * 50
    ids = parse(HERMES, answer).ids
    assert len(set(ids)) == 50
    assert all(re.fullmatch(r"call_[A-Za-z0-9]{24}", call_id) for call_id in ids)


def test_an_id_that_mistral_gives_is_used_once() -> None:
    answer = "[TOOL_CALLS]now[CALL_ID]abcdef123[ARGS]{}" * 2
    first, second = parse(FORMATS["mistral"], answer).ids
    assert first == "abcdef123"
    assert second.startswith("call_")


def test_an_id_before_the_arguments_is_used() -> None:
    answer = '[TOOL_CALLS][{"id": "abcdef123", "name": "now", "arguments": {}}]'
    assert parse(FORMATS["mistral_list"], answer).ids == ["abcdef123"]


def test_arguments_come_out_as_they_come_in() -> None:
    parser = parser_for(HERMES)
    first = parser.push('<tool_call>\n{"name": "weather", "arguments": {"city": "Ber')
    assert [(delta.name, delta.arguments) for delta in first.tool_calls] == [("weather", ""), (None, '{"city": "Ber')]
    assert parser.push("lin").tool_calls[0].arguments == "lin"
    assert parser.has_tool_calls


@pytest.mark.parametrize(
    ("family", "head"),
    [
        ("qwen_coder", "<tool_call>\n<function=weather>\n<parameter=city>\n"),
        ("seed", "<seed:tool_call><function=weather><parameter=city>"),
        ("minimax", '<minimax:tool_call><invoke name="weather"><parameter name="city">'),
        ("glm", "<tool_call>weather<arg_key>city</arg_key><arg_value>"),
        ("pythonic", "[weather(city='"),
        ("function_gemma", "<start_function_call>call:weather{city:<escape>"),
        ("gemma4", '<|tool_call>call:weather{city:<|"|>'),
    ],
)
def test_strings_of_other_formats_come_out_as_they_come_in(family: str, head: str) -> None:
    parser = parser_for(FORMATS[family])
    opening = joined([parser.push(head)])
    assert opening.calls == [("weather", '{"city": "')]
    assert [parser.push(char).tool_calls[0].arguments for char in 'Be"r'] == ["B", "e", '\\"', "r"]


# ---- reasoning ------------------------------------------------------------------------------------------------------


def test_reasoning_that_the_prompt_opened_goes_on_until_the_close_tag() -> None:
    parsed = parse(HERMES, "so it is \n\n</think>\n\nYes.", starts_in_reasoning=True)
    assert (parsed.text, parsed.reasoning) == ("Yes.", "so it is")


def test_reasoning_that_never_ends_is_reasoning() -> None:
    parsed = parse(HERMES, "<think>one </thin", starts_in_reasoning=False)
    assert (parsed.text, parsed.reasoning) == ("", "one </thin")


def test_reasoning_and_its_tags_stay_in_the_text_when_they_are_not_split() -> None:
    answer = "<think>\nhm \n</think>\n\nYes."
    parser = create_parser(HERMES, OutputSpec(splits_reasoning=False), starts_in_reasoning=False)
    assert parse_with(parser, [answer]).text == answer
    parser = create_parser(HERMES, OutputSpec(splits_reasoning=False), starts_in_reasoning=True)
    assert parse_with(parser, ["hm </think>\nYes."]).text == "hm </think>\nYes."


def test_harmonys_analysis_stays_in_the_text_when_it_is_not_split() -> None:
    answer = "<|channel|>analysis<|message|>Easy.<|end|>"
    parser = create_parser(FORMATS["harmony"], OutputSpec(splits_reasoning=False), starts_in_reasoning=False)
    assert parse_with(parser, [answer]).text == answer


def test_a_think_tag_in_the_middle_of_content_is_content() -> None:
    answer = "Write <think>…</think> around it."
    assert parse(HERMES, answer).text == answer


def test_thinking_goes_on_behind_a_call() -> None:
    answer = "<|tool_call>call:now{}<tool_call|><|channel>thought\nagain<channel|>Done"
    parsed = parse(FORMATS["gemma4"], answer)
    assert (parsed.text, parsed.reasoning, parsed.calls) == ("Done", "again", [("now", "{}")])


def test_calls_inside_of_thinking_are_thinking() -> None:
    answer = '<think>I write <tool_call>{"name": "now", "arguments": {}}</tool_call></think>'
    parsed = parse(HERMES, answer)
    assert not parsed.calls
    assert "<tool_call>" in parsed.reasoning


def test_a_model_without_tags_has_content_only() -> None:
    fmt = format_of(HERMES.tools, None)
    parser = create_parser(fmt, OutputSpec(), starts_in_reasoning=False)
    assert parse_with(parser, [" \n<think>x</think> "]).text == " \n<think>x</think> "


# ---- what is no call ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [case for case in CASES if case.calls], ids=lambda case: case.family)
def test_without_tools_calls_are_content(case: Case) -> None:
    fmt = FORMATS[case.family]
    for spec in (OutputSpec(), OutputSpec(tools=ToolUse(TOOLS, choice=ToolChoice.NONE))):
        parsed = parse_with(create_parser(fmt, spec, starts_in_reasoning=False), [case.answer])
        assert not parsed.calls
        assert case.calls[0][0] in parsed.text


@pytest.mark.parametrize("case", [case for case in CASES if case.calls], ids=lambda case: case.family)
def test_a_call_of_an_unknown_function_is_content_as_it_stands(case: Case) -> None:
    answer = case.answer
    for name, _ in case.calls:
        answer = answer.replace(name, f"un{name}")
    fmt = format_of(FORMATS[case.family].tools, None)
    parsed = parse(fmt, answer)
    assert not parsed.calls
    if case.family == "harmony":
        assert "unweather" in parsed.text
    else:
        assert (parsed.text + parsed.reasoning) == answer


@pytest.mark.parametrize(
    ("family", "answer"),
    [
        ("hermes", "<tool_call>"),
        ("hermes", "a \n<tool_call>\n x"),
        ("hermes", '<tool_call>{"name": 1, "arguments": {}}</tool_call>'),
        ("hermes", '<tool_call>{"arguments": {"name": "now"}}</tool_call>'),
        ("hermes", '<tool_call>{"name": "now", "arguments": [1]}</tool_call>'),
        ("hermes", '<tool_call>{"name": "now", "arguments": "no json"}</tool_call>'),
        ("hermes", '<tool_call>{"name" "now"}</tool_call>'),
        ("hermes", '<tool_call>{"arguments": {"a": "\nraw"}, "name": "nothing"}'),
        ("llama_json", '{"name": "John", "parameters": 3}'),
        ("llama_json", ' {"answer": 42}'),
        ("llama_json", "<|python_tag|>print(1)"),
        ("pythonic", "[1, 2, 3]"),
        ("pythonic", "[now]"),
        ("pythonic", " [weather city]"),
        ("mistral", "[TOOL_CALLS]now{}"),
        ("mistral", "[TOOL_CALLS]now[ARGS]3"),
        ("glm", "<tool_call>unknown<arg_key>"),
        ("gemma4", "<|tool_call>call:now("),
        ("kimi", "<|tool_calls_section_begin|>nothing"),
        ("deepseek_v3", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>now and"),  # noqa: RUF001
        ("harmony", "<|channel|>commentary to=functions.nothing <|message|>{}"),
        ("harmony", "plain text"),
    ],
)
def test_what_is_not_recognised_is_content_as_it_stands(family: str, answer: str) -> None:
    parsed = parse(FORMATS[family], answer)
    assert parsed.text == answer
    assert not parsed.calls
    assert parse(FORMATS[family], *answer).text == answer


@pytest.mark.parametrize(
    ("family", "answer", "arguments", "text"),
    [
        ("hermes", '<tool_call>{"name":"now","arguments":{"a":1,oops}}</tool_call>', '{"a":1}', ",oops}}</tool_call>"),
        ("hermes", '<tool_call>{"name":"now","arguments":{"a" 1}}', '{"a": null}', "1}}"),
        ("hermes", '<tool_call>{"name":"now","arguments":{"a":[{"b":tru}]}}', '{"a": null}', None),
        ("hermes", '<tool_call>{"name":"now","arguments":{"a":[[1}', '{"a":[[1]]}', "}"),
        ("pythonic", "[now(a=1, b=x)]", '{"a": 1, "b": null}', None),
        ("pythonic", "[now(a=(1, 2))]", '{"a": null}', None),
        ("qwen_coder", "<tool_call>\n<function=now>\noops</function>", "{}", "oops</function>"),
        ("gemma4", "<|tool_call>call:now{a:1 ]", '{"a": 1}', "]"),
    ],
)
def test_a_call_that_breaks_ends_as_a_json_object_and_the_text_goes_on(
    family: str, answer: str, arguments: str, text: str | None
) -> None:
    parsed = parse(FORMATS[family], answer)
    ((_, found),) = parsed.calls
    json.loads(found)
    if text is not None:
        assert found == arguments
        assert parsed.text.strip() == text
    assert parse(FORMATS[family], *answer)[:3] == parsed[:3]


def test_slips_that_leave_the_meaning_clear_are_mended() -> None:
    answer = '<tool_call>{"name":"weather","arguments":{"city":"two\nlines \\d",}}</tool_call>'
    ((_, arguments),) = parse(HERMES, answer).calls
    assert json.loads(arguments) == {"city": "two\nlines \\d"}


def test_brackets_deeper_than_the_bound_end_the_call() -> None:
    parsed = parse(HERMES, '<tool_call>{"name":"now","arguments":{"a":' + "[" * 2000)
    ((_, arguments),) = parsed.calls
    json.loads(arguments)
    assert arguments.count("[") + parsed.text.count("[") == 2000


# ---- the only call --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [case for case in CASES if len(case.calls) > 1], ids=lambda case: case.family)
def test_the_answer_is_done_behind_the_only_call_that_is_allowed(case: Case) -> None:
    parser = parser_for(FORMATS[case.family], is_parallel=False)
    outputs = []
    for char in case.answer:
        outputs.append(parser.push(char))
        if parser.is_done:
            break
    parsed = joined([*outputs, parser.flush()])
    assert parser.is_done
    assert parsed.calls == case.calls[:1]
    assert parse(FORMATS[case.family], case.answer, is_parallel=False).calls == case.calls[:1]


def test_an_answer_without_calls_is_never_done_early() -> None:
    parser = parser_for(HERMES, is_parallel=False)
    parser.push("Nothing to call.")
    assert not parser.is_done
    assert not parser.has_tool_calls


def test_what_follows_the_only_call_after_it_broke_is_content() -> None:
    answer = '<tool_call>{"name":"now","arguments":{oops <tool_call>{"name":"now","arguments":{}}'
    parsed = parse(HERMES, answer, is_parallel=False)
    assert parsed.calls == [("now", "{}")]
    assert parsed.text == 'oops <tool_call>{"name":"now","arguments":{}}'


# ---- types of plain values ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("city", "12", "12"),
        ("city", '"quoted"', '"quoted"'),
        ("days", "12", 12),
        ("days", "twelve", "twelve"),
        ("unit", "C", "C"),
        ("tags", '["a", "b"]', ["a", "b"]),
        ("tags", "[oops", "[oops"),
        ("place", '{"is_near": True}', '{"is_near": True}'),
        ("note", "null", None),
        ("note", "12", "12"),
        ("note", '"12"', "12"),
        ("undeclared", "[1]", [1]),
        ("undeclared", "False", False),
        ("undeclared", "words", "words"),
    ],
)
def test_plain_values_get_the_types_of_the_schema(key: str, value: str, expected: object) -> None:
    answer = f"<tool_call>weather<arg_key>{key}</arg_key><arg_value>{value}</arg_value></tool_call>"
    ((_, arguments),) = parse(FORMATS["glm"], answer).calls
    assert json.loads(arguments) == {key: expected}


# ---- white space ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["<", "<tool", " <thi", " ", "\n", "x"])
def test_what_looks_like_a_tag_at_the_end_of_an_answer_is_content(end: str) -> None:
    assert parse(HERMES, end).text == end
    assert parse(HERMES, *f"a{end}").text == f"a{end}"
    call = '<tool_call>{"name": "now", "arguments": {}}</tool_call>'
    assert parse(HERMES, *f"{call}{end}").text == ("" if end in {"<", "<tool"} else end.strip())


def test_white_space_around_calls_belongs_to_them() -> None:
    call = '<tool_call>{"name": "now", "arguments": {}}</tool_call>'
    assert parse(HERMES, f"a \n\n{call}\n{call}\n\n b \n").text == "ab \n"
    assert parse(HERMES, f" \n{call}\n").text == ""


def test_more_white_space_than_is_held_goes_out_as_content() -> None:
    call = '<tool_call>{"name": "now", "arguments": {}}</tool_call>'
    answer = "a" + " " * 100 + call
    assert parse(HERMES, answer).text == "a" + " " * 68
    assert parse(HERMES, *answer).text == "a" + " " * 68


def test_reasoning_of_gemma_without_a_call() -> None:
    fmt: OutputFormat = format_of(FORMATS["gemma4"].tools, CHANNEL)
    parsed = parse(fmt, "<|channel>thought\na\n<channel|>b")
    assert (parsed.text, parsed.reasoning) == ("b", "a")


def test_the_tag_of_a_further_call_that_the_end_cuts_is_left_out() -> None:
    call = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
    for rest in ("", "\n", "\n<", "\n<tool_call"):
        parsed = parse(HERMES, call + rest)
        assert (parsed.text, parsed.calls) == ("", [("now", "{}")])
    assert parse(HERMES, "<tool_call").text == "<tool_call"
    assert parse(HERMES, call + "\n<b>").text == "<b>"
