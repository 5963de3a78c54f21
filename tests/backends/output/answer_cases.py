"""Answers as the families write them, and what is in them."""

# ruff: noqa: E501, RUF001 - answers stand as they are, and DeepSeek's tags have full-width bars
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from backends.output import formats
from backends.output.formats import OutputFormat, ReasoningTags, ToolSyntax
from backends.output.parser import OutputParser, create_parser
from backends.wire.output import Output, ToolCallDelta
from backends.wire.request import OutputSpec, Tool, ToolUse

WEATHER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "unit": {"enum": ["C", "F"]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "place": {"$ref": "#/$defs/Place"},
        "note": {"type": ["string", "null"]},
    },
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {
        "Place": {
            "type": "object",
            "properties": {"x": {"type": "number"}, "is_near": {"type": "boolean"}},
            "required": ["is_near"],
            "additionalProperties": False,
        }
    },
}
TOOLS = (
    Tool("weather", WEATHER_SCHEMA),
    Tool("now", {"type": "object", "properties": {}, "additionalProperties": False}),
    Tool("any-thing.v2", {}),
)
SCHEMAS: Mapping[str, Mapping[str, Any]] = {tool.name: {"type": "object", **tool.parameters} for tool in TOOLS}
THINK = ReasoningTags("<think>", "</think>")
CHANNEL = ReasoningTags("<|channel>thought", "<channel|>")


def format_of(tools: ToolSyntax, reasoning: ReasoningTags | None = THINK) -> OutputFormat:
    return OutputFormat(reasoning=reasoning, tools=tools, visible_control_ids={})


HERMES = format_of(formats.HERMES)
FORMATS = {
    "hermes": HERMES,
    "llama_json": format_of(formats.LLAMA_JSON),
    "nemotron": format_of(formats.NEMOTRON),
    "cohere": format_of(formats.COHERE, ReasoningTags("<|START_THINKING|>", "<|END_THINKING|>")),
    "phi": format_of(formats.PHI),
    "granite": format_of(formats.GRANITE),
    "mistral_list": format_of(formats.MISTRAL_LIST, None),
    "mistral": format_of(formats.MISTRAL, ReasoningTags("[THINK]", "[/THINK]")),
    "deepseek_v3": format_of(formats.DEEPSEEK_V3),
    "deepseek_v31": format_of(formats.DEEPSEEK_V31),
    "kimi": format_of(formats.KIMI),
    "qwen_coder": format_of(formats.QWEN_CODER),
    "seed": format_of(formats.SEED, ReasoningTags("<seed:think>", "</seed:think>")),
    "minimax": format_of(formats.MINIMAX),
    "glm_lines": format_of(formats.GLM_LINES),
    "glm": format_of(formats.GLM),
    "pythonic": format_of(formats.PYTHONIC, None),
    "lfm": format_of(formats.LFM),
    "function_gemma": format_of(formats.FUNCTION_GEMMA, None),
    "gemma4": format_of(formats.GEMMA4, CHANNEL),
    "harmony": format_of(formats.HARMONY, None),
}


class Parsed(NamedTuple):
    text: str
    reasoning: str
    calls: list[tuple[str, str]]
    ids: list[str]
    deltas: list[ToolCallDelta]


def parser_for(fmt: OutputFormat, *, starts_in_reasoning: bool = False, **use: Any) -> OutputParser:
    spec = OutputSpec(splits_reasoning=True, tools=ToolUse(TOOLS, **use))
    return create_parser(fmt, spec, starts_in_reasoning=starts_in_reasoning)


def joined(outputs: Iterable[Output]) -> Parsed:
    """Return outputs put together, after a check of what holds for the deltas of every stream."""
    outputs = list(outputs)
    names: list[str] = []
    arguments: list[str] = []
    ids: list[str] = []
    deltas = [delta for output in outputs for delta in output.tool_calls]
    for delta in deltas:
        if delta.name is not None:
            assert delta.call_id
            assert delta.index == len(names)
            assert not delta.arguments
            names.append(delta.name)
            arguments.append("")
            ids.append(delta.call_id)
        else:
            assert delta.call_id is None
            assert delta.index == len(names) - 1
            arguments[-1] += delta.arguments
    assert len(set(ids)) == len(ids)
    text = "".join(output.text for output in outputs)
    reasoning = "".join(output.reasoning for output in outputs)
    return Parsed(text, reasoning, list(zip(names, arguments, strict=True)), ids, deltas)


def parse_with(parser: OutputParser, pieces: Iterable[str]) -> Parsed:
    return joined([*[parser.push(piece) for piece in pieces], parser.flush()])


def parse(fmt: OutputFormat, *pieces: str, starts_in_reasoning: bool = False, **use: Any) -> Parsed:
    return parse_with(parser_for(fmt, starts_in_reasoning=starts_in_reasoning, **use), pieces)


class Case(NamedTuple):
    family: str
    answer: str
    text: str
    reasoning: str
    calls: list[tuple[str, str]]


BERLIN = '{"city": "Berlin"}'

CASES = [
    Case(
        "hermes",
        "<think>\nhm, weather\n</think>\n\nLet me look.\n"
        '<tool_call>\n{"name": "weather", "arguments": {"city": "K\u00f6ln \\"\u4e2d\\" \\u00e9\\n", "place": {"x": -1.5e3, "is_near": true}}}\n'
        '</tool_call>\n<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>\n',
        "Let me look.",
        "hm, weather",
        [
            ("weather", '{"city": "K\u00f6ln \\"\u4e2d\\" \\u00e9\\n", "place": {"x": -1.5e3, "is_near": true}}'),
            ("now", "{}"),
        ],
    ),
    Case(
        "hermes",
        '<tool_call>{"arguments":"{\\"city\\":\\"Berlin\\"}","name":"weather","extra":[1,{"a":2}]}</tool_call>\nDone.',
        "Done.",
        "",
        [("weather", '{"city":"Berlin"}')],
    ),
    Case(
        "hermes",
        '<tool_call>{"type": "function", "function": {"name": "now"}}</tool_call>',
        "",
        "",
        [("now", "{}")],
    ),
    Case("hermes", "<think>\n\n</think>\n\nHello, 2 < 3 and <b>!\n", "Hello, 2 < 3 and <b>!\n", "", []),
    Case(
        "llama_json",
        '{"name": "weather", "parameters": {"city": "Berlin"}}; {"name": "now", "parameters": {}}',
        "",
        "",
        [("weather", BERLIN), ("now", "{}")],
    ),
    Case(
        "llama_json",
        'Yes: <|python_tag|>{"name": "weather", "parameters": {"city": "a;b"}}',
        "Yes:",
        "",
        [("weather", '{"city": "a;b"}')],
    ),
    Case(
        "nemotron",
        '<think>ok</think><TOOLCALL>[{"name": "weather", "arguments": {"city": "Berlin"}}, {"name": "now", "arguments": {}}]'
        "</TOOLCALL>",
        "",
        "ok",
        [("weather", BERLIN), ("now", "{}")],
    ),
    Case(
        "cohere",
        "<|START_THINKING|>I look.<|END_THINKING|><|START_ACTION|>[\n"
        '    {"tool_call_id": "0", "tool_name": "weather", "parameters": {"city": "Berlin"}}\n]<|END_ACTION|>',
        "",
        "I look.",
        [("weather", BERLIN)],
    ),
    Case(
        "phi",
        '<|tool_call|>[{"name": "weather", "arguments": {"city": "Berlin"}}]<|/tool_call|>',
        "",
        "",
        [("weather", BERLIN)],
    ),
    Case("granite", '<|tool_call|>[{"name": "now", "arguments": {}}]', "", "", [("now", "{}")]),
    Case(
        "mistral_list",
        'Sure.[TOOL_CALLS][{"name": "weather", "arguments": {"city": "Berlin"}, "id": "abcdef123"}, '
        '{"name": "now", "arguments": {}}]',
        "Sure.",
        "",
        [("weather", BERLIN), ("now", "{}")],
    ),
    Case(
        "mistral",
        '[THINK]I call.[/THINK]Now:[TOOL_CALLS]weather[CALL_ID]abcdef123[ARGS]{"city": "Berlin"}[TOOL_CALLS]now[ARGS]{}',
        "Now:",
        "I call.",
        [("weather", BERLIN), ("now", "{}")],
    ),
    Case(
        "deepseek_v3",
        "Wait.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n"
        '```json\n{"city": "Berlin"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n'
        "```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "Wait.",
        "",
        [("weather", BERLIN), ("now", "{}")],
    ),
    Case(
        "deepseek_v31",
        '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>{"city": "Berlin"}<｜tool▁call▁end｜>'
        "<｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "",
        "",
        [("weather", BERLIN), ("now", "{}")],
    ),
    Case(
        "kimi",
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0<|tool_call_argument_begin|>"
        '{"city": "Berlin"}<|tool_call_end|><|tool_call_begin|>functions.now:1<|tool_call_argument_begin|>{}'
        "<|tool_call_end|><|tool_calls_section_end|>",
        "",
        "",
        [("weather", BERLIN), ("now", "{}")],
    ),
    Case(
        "qwen_coder",
        'I will.\n<tool_call>\n<function=weather>\n<parameter=city>\n\n two "lines"\n\u4e2d </b>\n\n</parameter>\n'
        '<parameter=days>\n3\n</parameter>\n<parameter=tags>\n["</parameter>", "b"]\n</parameter>\n'
        "<parameter=note>\nnull\n</parameter>\n</function>\n</tool_call>\n"
        "<tool_call>\n<function=now>\n</function>\n</tool_call>",
        "I will.",
        "",
        [
            (
                "weather",
                '{"city": "\\n two \\"lines\\"\\n\u4e2d </b>\\n", "days": 3, "tags": ["</parameter>", "b"], "note": null}',
            ),
            ("now", "{}"),
        ],
    ),
    Case(
        "qwen_coder",
        "<function=any-thing.v2>\n<parameter=a>\nTrue\n</parameter>\n<parameter=b>\n{'x': 1}\n</parameter>\n</function>",
        "",
        "",
        [("any-thing.v2", '{"a": true, "b": "{\'x\': 1}"}')],
    ),
    Case(
        "seed",
        "<seed:think>so</seed:think><seed:tool_call>\n<function=weather>\n<parameter=city>12</parameter>\n"
        "<parameter=days>12</parameter>\n</function>\n</seed:tool_call>",
        "",
        "so",
        [("weather", '{"city": "12", "days": 12}')],
    ),
    Case(
        "minimax",
        '<minimax:tool_call>\n<invoke name="weather">\n<parameter name="city">Berlin</parameter>\n</invoke>\n'
        '<invoke name="now">\n</invoke>\n</minimax:tool_call>',
        "",
        "",
        [("weather", BERLIN), ("now", "{}")],
    ),
    Case(
        "glm_lines",
        "\n<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Berlin</arg_value>\n<arg_key>place</arg_key>\n"
        '<arg_value>{"is_near": false}</arg_value>\n</tool_call>\n<tool_call>now\n</tool_call>',
        "",
        "",
        [("weather", '{"city": "Berlin", "place": {"is_near": false}}'), ("now", "{}")],
    ),
    Case(
        "glm",
        "<tool_call>weather<arg_key>city</arg_key><arg_value>Berlin</arg_value></tool_call><tool_call>now</tool_call>",
        "",
        "",
        [("weather", BERLIN), ("now", "{}")],
    ),
    Case(
        "pythonic",
        '[weather(city="it\'s \\u00e9", days=3, tags=[\'say \\"hi\\"\', "b",], place={"is_near": True, \'x\': None}), now()]',
        "",
        "",
        [
            (
                "weather",
                '{"city": "it\'s \\u00e9", "days": 3, "tags": ["say \\"hi\\"", "b"], "place": {"is_near": true, "x": null}}',
            ),
            ("now", "{}"),
        ],
    ),
    Case(
        "lfm",
        "Checking. <|tool_call_start|>[any-thing.v2(a=-0.5, b='\\x41\\'')]<|tool_call_end|>Done.",
        "Checking.Done.",
        "",
        [("any-thing.v2", '{"a": -0.5, "b": "A\'"}')],
    ),
    Case(
        "function_gemma",
        '<start_function_call>call:weather{city:<escape>say "hi", {ok}<escape>,days:2}<end_function_call>'
        "<start_function_call>call:now{}<end_function_call>",
        "",
        "",
        [("weather", '{"city": "say \\"hi\\", {ok}", "days": 2}'), ("now", "{}")],
    ),
    Case(
        "gemma4",
        '<|channel>thought\nI look.\n<channel|><|tool_call>call:weather{city:<|"|>a\nb<|"|>,place:{is_near:true},'
        'tags:[<|"|>x<|"|>,<|"|>y<|"|>]}<tool_call|><|tool_call>call:now{}<tool_call|>',
        "",
        "I look.",
        [("weather", '{"city": "a\\nb", "place": {"is_near": true}, "tags": ["x", "y"]}'), ("now", "{}")],
    ),
    Case(
        "harmony",
        "<|channel|>analysis<|message|>I look.<|end|><|start|>assistant<|channel|>commentary<|message|>Wait.<|end|>"
        "<|start|>assistant<|channel|>commentary to=functions.weather <|constrain|>json<|message|>"
        '{"city": "Berlin"}',
        "Wait.",
        "I look.",
        [("weather", BERLIN)],
    ),
    Case(
        "harmony",
        ' to=functions.weather<|channel|>commentary json<|message|>{"city": "Berlin"}<|call|>',
        "",
        "",
        [("weather", BERLIN)],
    ),
    Case(
        "harmony",
        "<|channel|>analysis<|message|>Easy.<|end|><|start|>assistant<|channel|>final<|message|>Hello <b>.",
        "Hello <b>.",
        "Easy.",
        [],
    ),
]
CASE_IDS = [f"{case.family}-{number}" for number, case in enumerate(CASES)]
