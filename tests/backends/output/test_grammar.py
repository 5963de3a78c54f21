"""What the grammars admit is generated at random, byte by byte, and read by the parsers."""

import json
import random
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

from backends.errors import ConstraintError
from backends.output.formats import OutputFormat
from backends.output.grammar import tool_grammar
from backends.wire.request import Tool, ToolChoice, ToolUse
from tests.backends.output.answer_cases import FORMATS, SCHEMAS, TOOLS, format_of, joined, parse, parser_for

END_ID = 256
FIRST_CONTROL_ID = 257
MAX_STEPS = 3000
NUM_ANSWERS = 4
CLOSERS = (b"</parameter>", b"</arg_value>", b'<|"|>', b"<escape>", b"</think>", b"<channel|>", b"<|end|>")
LIKELY = frozenset(b'"<}])>/|')


class ByteTokenizer:
    """256 bytes, an end token, and control tokens."""

    eos_token_id = END_ID
    bos_token_id = None

    def __init__(self, controls: list[str]) -> None:
        self.tokens = [bytes([byte]) for byte in range(256)] + [b"<end>"] + [text.encode() for text in controls]
        self.special_token_ids = list(range(END_ID, len(self.tokens)))

    def __call__(self, text: str | bytes) -> list[int]:
        return list(text if isinstance(text, bytes) else text.encode())


class Walk:
    """Draws an answer that a grammar admits; with a liking for what ends things, so that it does end."""

    def __init__(self, grammar: str, controls: list[str], seed: int, closers: tuple[bytes, ...] = CLOSERS) -> None:
        self._closers = closers
        self._random = random.Random(seed)
        self._bytes = ByteTokenizer(controls)
        tokenizer = LLTokenizer(TokenizerWrapper(self._bytes), n_vocab=len(self._bytes.tokens))
        self._matcher = LLMatcher(tokenizer, LLMatcher.grammar_from_lark(grammar))
        assert not self._matcher.is_error(), self._matcher.get_error()

    def answer(self) -> str | None:
        """Return the answer; None = it found no end."""
        parts: list[bytes] = []
        for _ in range(MAX_STEPS):
            closer = list(self._random.choice(self._closers))
            if self._random.random() < 0.1 and self._matcher.validate_tokens(closer) == len(closer):
                token_ids = closer
            else:
                token_id = self._drawn()
                if token_id == END_ID:
                    return b"".join(parts).decode()
                token_ids = [token_id]
            assert self._matcher.consume_tokens(token_ids), self._matcher.get_error()
            parts.extend(self._bytes.tokens[token_id] for token_id in token_ids)
        return None

    def _drawn(self) -> int:
        mask = self._matcher.compute_bitmask()
        allowed = [token_id for token_id in range(len(self._bytes.tokens)) if mask[token_id // 8] >> (token_id % 8) & 1]
        assert allowed
        if END_ID in allowed and (self._random.random() < 0.5 or len(allowed) == 1):
            return END_ID
        allowed = [token_id for token_id in allowed if token_id != END_ID]
        likely = [token_id for token_id in allowed if token_id > END_ID or token_id in LIKELY]
        if likely and self._random.random() < 0.4:
            return self._random.choice(likely)
        plain = [token_id for token_id in allowed if 31 < token_id < 127]
        return self._random.choice(plain if plain and self._random.random() < 0.9 else allowed)


def control_ids_of(fmt: OutputFormat) -> dict[str, int]:
    """Return made-up ids for the tags that are control tokens in real vocabularies."""
    tags = [tag for tag in fmt.tools.tags if tag[0] in "<[" and tag[-1] in ">]"]
    return {tag: FIRST_CONTROL_ID + number for number, tag in enumerate(dict.fromkeys(tags))}


def with_visible(fmt: OutputFormat, control_ids: dict[str, int]) -> OutputFormat:
    return OutputFormat(
        reasoning=fmt.reasoning,
        tools=fmt.tools,
        visible_control_ids=control_ids,
    )


def answers(fmt: OutputFormat, use: ToolUse, *, has_controls: bool) -> list[str]:
    control_ids = control_ids_of(fmt) if has_controls else {}
    grammar = tool_grammar(with_visible(fmt, control_ids), use)
    closers = CLOSERS + ((fmt.reasoning.close.encode(),) if fmt.reasoning else ())
    found = [Walk(grammar, list(control_ids), seed, closers).answer() for seed in range(NUM_ANSWERS)]
    ended = [answer for answer in found if answer is not None]
    assert len(ended) * 2 >= len(found)
    return ended


@pytest.mark.parametrize("has_controls", [False, True], ids=["text", "controls"])
@pytest.mark.parametrize("family", sorted(FORMATS))
def test_every_answer_of_a_grammar_is_read_as_valid_calls(family: str, has_controls: bool) -> None:  # noqa: FBT001
    fmt = FORMATS[family]
    use = ToolUse(TOOLS, choice=ToolChoice.REQUIRED)
    for answer in answers(fmt, use, has_controls=has_controls):
        for pieces in ((answer,), tuple(answer)):
            parsed = parse(fmt, *pieces)
            assert parsed.calls
            assert not parsed.text
            assert not parsed.reasoning
            for name, arguments in parsed.calls:
                jsonschema.validate(json.loads(arguments), SCHEMAS[name])


@pytest.mark.parametrize("family", sorted(FORMATS))
def test_a_named_tool_is_called_once_where_calls_are_not_parallel(family: str) -> None:
    use = ToolUse(TOOLS, choice=ToolChoice.REQUIRED, named="weather", is_parallel=False)
    for answer in answers(FORMATS[family], use, has_controls=False):
        parser = parser_for(FORMATS[family])
        parsed = joined([parser.push(answer), parser.flush()])
        assert [name for name, _ in parsed.calls] == ["weather"]
        assert not parsed.text


def is_admitted(grammar: str, text: str) -> bool:
    tokenizer = LLTokenizer(TokenizerWrapper(ByteTokenizer([])), n_vocab=FIRST_CONTROL_ID)
    matcher = LLMatcher(tokenizer, LLMatcher.grammar_from_lark(grammar))
    return bool(matcher.try_consume_tokens(list(text.encode())) == len(text.encode()) and matcher.is_accepting())


@pytest.mark.parametrize(
    ("family", "answer", "expected"),
    [
        ("hermes", '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>', True),
        ("hermes", '<tool_call>\n{"name": "weather", "arguments": {}}\n</tool_call>', False),
        ("hermes", '<tool_call>\n{"name": "weather", "arguments": {"city": "a", "unit": "K"}}\n</tool_call>', False),
        ("hermes", "Hello", False),
        ("hermes", "", False),
        ("qwen_coder", "<tool_call>\n<function=weather>\n</function>\n</tool_call>", False),
        (
            "qwen_coder",
            "<tool_call>\n<function=weather>\n<parameter=city>\nB\n</parameter>\n</function>\n</tool_call>",
            True,
        ),
        (
            "glm",
            (
                "<tool_call>weather<arg_key>city</arg_key><arg_value>B</arg_value>"
                "<arg_key>unit</arg_key><arg_value>K</arg_value></tool_call>"
            ),
            False,
        ),
        ("pythonic", '[weather(city="B", days=3), now()]', True),
        ("pythonic", "[weather(days=3)]", False),
        ("gemma4", '<|tool_call>call:weather{city:<|"|>B<|"|>,unit:<|"|>C<|"|>}<tool_call|>', True),
        ("gemma4", '<|tool_call>call:weather{city:<|"|>B<|"|>,unit:<|"|>K<|"|>}<tool_call|>', False),
        ("gemma4", "<|tool_call>call:weather{days:1}<tool_call|>", False),
        ("mistral", "[TOOL_CALLS]now[ARGS]{}[TOOL_CALLS]now[ARGS]{}", True),
        ("mistral", "[TOOL_CALLS]never[ARGS]{}", False),
    ],
)
def test_a_grammar_admits_what_the_schema_allows_and_nothing_else(family: str, answer: str, *, expected: bool) -> None:
    grammar = tool_grammar(FORMATS[family], ToolUse(TOOLS, choice=ToolChoice.REQUIRED))
    assert is_admitted(grammar, answer) is expected


def test_schemas_that_refer_to_themselves_are_followed() -> None:
    node: dict[str, Any] = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}}},
        "required": ["name"],
        "additionalProperties": False,
    }
    tool = Tool("now", {"type": "object", "properties": {"root": {"$ref": "#/$defs/Node"}}, "$defs": {"Node": node}})
    use = ToolUse((tool,), choice=ToolChoice.REQUIRED)
    for family in ("hermes", "gemma4", "pythonic", "glm"):
        tool_grammar(FORMATS[family], use)
    answer = '<|tool_call>call:now{root:{name:<|"|>a<|"|>,children:[{name:<|"|>b<|"|>}]}}<tool_call|>'
    assert is_admitted(tool_grammar(FORMATS["gemma4"], use), answer)


@pytest.mark.parametrize(("family", "key"), [("qwen_coder", "a>b"), ("glm", "a<b"), ("pythonic", "a b"), ("glm", "")])
def test_a_property_that_the_format_cannot_write_is_refused_by_name(family: str, key: str) -> None:
    tool = Tool("now", {"type": "object", "properties": {key: {"type": "string"}}})
    with pytest.raises(ConstraintError, match="now"):
        tool_grammar(format_of(FORMATS[family].tools), ToolUse((tool,), choice=ToolChoice.REQUIRED))


def test_a_name_that_is_not_among_the_tools_is_refused() -> None:
    with pytest.raises(ConstraintError, match="nothing") as caught:
        tool_grammar(FORMATS["hermes"], ToolUse(TOOLS, choice=ToolChoice.REQUIRED, named="nothing"))
    assert caught.value.param == "tool_choice"
