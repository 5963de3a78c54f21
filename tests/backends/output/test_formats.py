"""Detection by what templates say; the excerpts are the decisive words of published templates, not whole ones."""

# ruff: noqa: RUF001 - DeepSeek's tags have full-width bars
import time

import pytest

from backends.output import formats
from backends.output.formats import HERMES, Thinking, ToolSyntax, detect_format
from backends.prompting.renderer import tool_instructions
from tests.backends.output.answer_cases import TOOLS, parse

SHOWS_TOOLS = "{%- if tools %}{{ tools | tojson }}{% endif %}"

TEMPLATES: list[tuple[str, ToolSyntax, str | None]] = [
    ("<tool_call>\\n{\"name\": ' + tool_call.name + '}\\n</tool_call>", HERMES, None),
    ("<tool_call> {{ tool_call.name }} '<think>\\n' + reasoning + '</think>'", HERMES, "<think>"),
    ("<tool_call>\n<function=example>\n<parameter=key>\nvalue\n</parameter>", formats.QWEN_CODER, None),
    ("toolcall_begin = '<seed:tool_call>' <function=f> <parameter=p> '</seed:think>'", formats.SEED, "<seed:think>"),
    ("'<minimax:tool_call>' <invoke name=\"f\"> </think>", formats.MINIMAX, "<think>"),
    ("<tool_call>{name}\n<arg_key>{k}</arg_key>\n<arg_value>{v}</arg_value> </think>", formats.GLM_LINES, "<think>"),
    ("<tool_call>{name}<arg_key>{k}</arg_key><arg_value>{v}</arg_value>", formats.GLM, None),
    ("{{ '[TOOL_CALLS]' + name + '[ARGS]' + arguments }} '[THINK]' + x + '[/THINK]'", formats.MISTRAL, "[THINK]"),
    ("{{ '[TOOL_CALLS] [' + calls + ']' }}", formats.MISTRAL_LIST, None),
    ('Respond in the format {"name": function name, "parameters": dictionary}', formats.LLAMA_JSON, None),
    ("{{- '<|python_tag|>' + tool_call.name }}", formats.LLAMA_JSON, None),
    ("put it in the format of [func_name1(params_name1=params_value1...), func_name2(params)]", formats.PYTHONIC, None),
    ("'<|tool_call_start|>[' + call + ']<|tool_call_end|>'", formats.LFM, None),
    ("'<start_function_call>call:' + name + '{' k ':<escape>' v '<escape>'", formats.FUNCTION_GEMMA, None),
    ("'<|tool_call>call:' + name '}<tool_call|>' text.split('<channel|>')", formats.GEMMA4, "<|channel>thought"),
    ("'<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>' + type + '<｜tool▁sep｜>' + '```json'", formats.DEEPSEEK_V3, None),
    (
        "'<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>' + name + '<｜tool▁sep｜>' </think>",
        formats.DEEPSEEK_V31,
        "<think>",
    ),
    ("<|tool_calls_section_begin|> <|tool_call_begin|>{{ id }}", formats.KIMI, None),
    ("<|START_ACTION|>[ <|START_THINKING|>{{ x }}<|END_THINKING|>", formats.COHERE, "<|START_THINKING|>"),
    ("<TOOLCALL>[ ... ]</TOOLCALL>", formats.NEMOTRON, None),
    ("'<|tool_call|>' + calls + '<|/tool_call|>'", formats.PHI, None),
    ("write <|tool_call|> followed by a JSON list", formats.GRANITE, None),
    ("'<|start|>assistant<|channel|>analysis<|message|>' + x + '<|end|>'", formats.HARMONY, None),
    ("no word of a syntax", HERMES, None),
]


@pytest.mark.parametrize(("template", "tools", "reasoning"), TEMPLATES)
def test_the_templates_own_words_tell_the_format(template: str, tools: ToolSyntax, reasoning: str | None) -> None:
    fmt = detect_format(SHOWS_TOOLS + template, {})
    assert fmt.tools is tools
    assert (fmt.reasoning.open if fmt.reasoning else None) == reasoning


@pytest.mark.parametrize(
    "template", [None, "", "{{ messages }} with tools in prose", "{{ '<tool_call>' + '[TOOL_CALLS]' }}"]
)
def test_without_a_template_that_shows_tools_the_format_is_hermes(template: str | None) -> None:
    fmt = detect_format(template, {})
    assert fmt.tools is HERMES


def test_control_tokens_tell_what_a_template_leaves_out() -> None:
    fmt = detect_format(SHOWS_TOOLS, {"<think>": 7, "</think>": 8, "<|tool_call_start|>": 9})
    assert fmt.reasoning == formats.ReasoningTags("<think>", "</think>")
    assert fmt.tools is formats.LFM


def test_only_the_formats_own_control_tokens_are_visible() -> None:
    control_ids = {
        "<|im_end|>": 1,
        "<tool_call>": 2,
        "</tool_call>": 3,
        "<think>": 4,
        "</think>": 5,
        "<": 6,
        "[INST]": 7,
    }
    fmt = detect_format(SHOWS_TOOLS + "<tool_call> </think>", control_ids)
    assert fmt.visible_control_ids.keys() == {"<tool_call>", "</tool_call>", "<think>", "</think>"}


def test_a_control_token_that_only_begins_a_tag_is_visible() -> None:
    fmt = detect_format(
        SHOWS_TOOLS + "<|tool_call> <channel|>", {"<|channel>": 1, "<channel|>": 2, '<|"|>': 3, "<|turn>": 4}
    )
    assert fmt.visible_control_ids.keys() == {"<|channel>", "<channel|>", '<|"|>'}


@pytest.mark.parametrize(
    ("prompt", "thinking"),
    [
        ("<|im_start|>assistant\n<think>\n", Thinking.OPEN),
        ("<|Assistant|><think>", Thinking.OPEN),
        ("<|im_start|>assistant\n<think>\n\n</think>\n\n", Thinking.OVER),
        ("<|im_start|>assistant\n", Thinking.POSSIBLE),
        ("user: what is <think>?\nassistant:", Thinking.POSSIBLE),
        ("", Thinking.POSSIBLE),
    ],
)
def test_the_end_of_a_prompt_tells_how_it_leaves_the_thinking(prompt: str, thinking: Thinking) -> None:
    assert detect_format("</think>", {}).thinking_after(prompt) is thinking
    assert detect_format(None, {}).thinking_after(prompt) is Thinking.OVER


def test_hostile_templates_are_read_in_linear_time() -> None:
    for scrap in ("{% ", "[TOOL_CALLS]", "{{ tool ", "<tool_call><function=", "</arg_key>\n"):
        started_at = time.thread_time()
        detect_format(scrap * 100_000, {})
        assert time.thread_time() - started_at < 5, scrap  # quadratic, it would be minutes


def test_the_instructions_show_the_tools_and_the_format_that_is_read() -> None:
    tools = [{"type": "function", "function": {"name": tool.name, "parameters": tool.parameters}} for tool in TOOLS]
    text = tool_instructions(tools)
    assert all(f'"name":"{tool.name}"' in text for tool in TOOLS)
    example = text[text.index("<tool_call>\n") : text.rindex("</tool_call>")].replace("function-name", "now")
    fmt = detect_format(None, {})
    assert parse(fmt, example + "</tool_call>").calls == [("now", '{"argument-name": "value"}')]
