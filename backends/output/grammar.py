"""Grammars that force valid tool calls in the format that the model writes, and allow what comes before an answer.

What a grammar admits, the format's parser turns into calls. Where a format writes JSON, arguments are held to the
tool's schema exactly. In tagged formats and Gemma's, the declared properties come in order, the required ones always;
values that are not strings are held to their schemas, strings to `enum` and `const` only.

No grammar is compiled here.
"""

import json
import re
from typing import Any, assert_never

from backends.errors import ConstraintError
from backends.output.calls.harmony import HarmonySyntax
from backends.output.calls.json_objects import JsonSyntax
from backends.output.calls.literal import GemmaSyntax, PythonicSyntax
from backends.output.calls.named import MistralSyntax, SectionSyntax
from backends.output.calls.tagged import TaggedSyntax
from backends.output.formats import OutputFormat, Thinking, ToolSyntax
from backends.output.gemma_grammar import GemmaValues
from backends.output.lark import Lark, one_of, separated
from backends.output.values import properties_of, resolved, string_values, types_of
from backends.wire.request import Tool, ToolUse

_STRING = frozenset(("string",))
_PYTHON_KEY = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_NOTHING = '""'
_BLANKS = "BLANKS: /[ \\t\\r\\n]{1,8}/"
_ANY_KEY = "/[A-Za-z_][A-Za-z0-9_]{0,63}/"


def tool_grammar(fmt: OutputFormat, tools: ToolUse) -> str:
    """Return the Lark text of a grammar whose answers call tools and say nothing else.

    Args:
        tools: Which may be called: all, or the named one; whether once, or at least once.

    Raises:
        ConstraintError: A tool's schema cannot be kept, one of its properties cannot be written in the format, or the
            named tool is not there.
    """
    lark = Lark(fmt.visible_control_ids)
    chosen = [tool for tool in tools.tools if tools.named in (None, tool.name)]
    if not chosen:
        raise ConstraintError(
            f"tool_choice names {tools.named!r}, which is not among the tools; name one of them", param="tool_choice"
        )
    lark.define("start", _ToolGrammar(lark, is_parallel=tools.is_parallel).calls(fmt.tools, chosen))
    return lark.text()


def answer_opening(fmt: OutputFormat, thinking: Thinking) -> str | None:
    """Return Lark rules for what comes before a constrained answer: its thinking, and the head of its message.

    A grammar that forbids it would make a model answer without the thinking that it was trained to begin with.

    Returns:
        The rules `opening`, before calls as well as before text, and `head`, after it and before text only; None where
        nothing comes before either.
    """
    lark = Lark(fmt.visible_control_ids)
    if isinstance(fmt.tools, HarmonySyntax):
        syntax = fmt.tools
        analysis = lark.literal(f"{syntax.channel}analysis{syntax.message}")
        lark.define("opening", f"({analysis} {lark.until(syntax.end)} {lark.literal(syntax.start + 'assistant')})?")
        lark.define("head", lark.literal(f"{syntax.channel}final{syntax.message}"))
        return lark.text()
    if fmt.reasoning is None or thinking is Thinking.OVER:
        return None
    thoughts = f"{lark.until(fmt.reasoning.close)} BLANKS?"
    if thinking is Thinking.POSSIBLE:
        thoughts = f"({lark.literal(fmt.reasoning.open)} {thoughts})?"
    lark.define("opening", thoughts)
    lark.define("head", _NOTHING)
    return f"{lark.text()}{_BLANKS}\n"


def answer_beginning(fmt: OutputFormat, thinking: Thinking) -> str:
    """Return what a model writes before an answer whose thinking is left out; "" where that is nothing."""
    if isinstance(fmt.tools, HarmonySyntax):
        return f"{fmt.tools.channel}final{fmt.tools.message}"
    is_open = fmt.reasoning is not None and thinking is Thinking.OPEN
    return f"\n{fmt.reasoning.close}\n\n" if fmt.reasoning is not None and is_open else ""


class _ToolGrammar:
    """Writes the rules of calls."""

    def __init__(self, lark: Lark, *, is_parallel: bool) -> None:
        self._lark = lark
        self._is_parallel = is_parallel

    def calls(self, syntax: ToolSyntax, tools: list[Tool]) -> str:
        """Return the expression of one call, or of at least one."""
        match syntax:
            case JsonSyntax():
                calls = self._json_calls(syntax, tools)
            case MistralSyntax():
                calls = self._repeated(self._mistral(syntax, tools), "")
            case SectionSyntax():
                calls = self._section(syntax, tools)
            case TaggedSyntax():
                calls = self._repeated(self._tagged(syntax, tools), "\n")
            case PythonicSyntax():
                calls = self._pythonic(syntax, tools)
            case GemmaSyntax():
                calls = self._repeated(self._gemma(syntax, tools), "")
            case HarmonySyntax():
                calls = self._harmony(syntax, tools)
            case _:
                assert_never(syntax)
        return calls

    def _repeated(self, calls: list[str], separator: str) -> str:
        call = self._lark.rule(" | ".join(calls), "call")
        if not self._is_parallel:
            return call
        return f"{call} ({self._lark.literal(separator)} {call})*"

    def _arguments(self, tool: Tool) -> str:
        return self._lark.schema({"type": "object", **tool.parameters})

    # ---- JSON arguments ---------------------------------------------------------------------------------------------

    def _json_calls(self, syntax: JsonSyntax, tools: list[Tool]) -> str:
        lark = self._lark
        objects = []
        for tool in tools:
            head = f'{{"{syntax.name_key}": {json.dumps(tool.name)}, "{syntax.arguments_key}": '
            objects.append(f'{lark.literal(head)} {self._arguments(tool)} "}}"')
        opener = "" if syntax.can_be_bare else lark.literal(syntax.openers[0])
        closer = lark.literal(syntax.closer)
        if syntax.is_list:
            items = self._repeated(objects, ", ")
            return f'{opener} "[" {items} "]" {closer}'
        if syntax.can_be_bare:
            return self._repeated(objects, syntax.separator)
        line = '"\\n"' if syntax.has_newlines else ""
        calls = [f"{opener} {line} {one_of(objects)} {line} {closer}"]
        return self._repeated(calls, syntax.separator)

    def _mistral(self, syntax: MistralSyntax, tools: list[Tool]) -> list[str]:
        return [
            f"{self._lark.literal(syntax.opener + tool.name + syntax.arguments_mark)} {self._arguments(tool)}"
            for tool in tools
        ]

    def _section(self, syntax: SectionSyntax, tools: list[Tool]) -> str:
        lark = self._lark
        calls = []
        for tool in tools:
            kind = f"function{syntax.arguments_mark}" if syntax.has_type else ""
            head = lark.literal(f"{syntax.call_open}{kind}{syntax.name_prefix}{tool.name}")
            if syntax.has_index:
                head += ' ":" /[0-9]{1,3}/'
            mark = lark.literal("\n```json\n" if syntax.has_type else syntax.arguments_mark)
            close = lark.literal(("\n```" if syntax.has_type else "") + syntax.call_close)
            calls.append(f"{head} {mark} {self._arguments(tool)} {close}")
        separator = "\n" if syntax.has_type else ""
        body = self._repeated(calls, separator)
        return f"{lark.literal(syntax.section_open)} {body} {lark.literal(syntax.section_close)}"

    def _harmony(self, syntax: HarmonySyntax, tools: list[Tool]) -> str:
        """Return one call: `<|call|>`, which ends it, ends the answer."""
        calls = []
        for tool in tools:
            head = f"{syntax.channel}commentary to=functions.{tool.name} {syntax.constrain}json{syntax.message}"
            calls.append(f"{self._lark.literal(head)} {self._arguments(tool)}")
        return one_of(calls)

    # ---- other arguments --------------------------------------------------------------------------------------------

    def _tagged(self, syntax: TaggedSyntax, tools: list[Tool]) -> list[str]:
        lark = self._lark
        gap = syntax.separator
        open_block = syntax.block_open + (gap if syntax.call_open else "") + syntax.call_open
        close_call = syntax.call_close + gap if syntax.call_close else ""
        calls = []
        for tool in tools:
            head = lark.literal(f"{open_block}{tool.name}{syntax.name_end}{gap}")
            tail = lark.literal(close_call + syntax.block_close)
            calls.append(f"{head} {self._tagged_parameters(syntax, tool)} {tail}")
        return calls

    def _tagged_parameters(self, syntax: TaggedSyntax, tool: Tool) -> str:
        root = resolved(tool.parameters, tool.parameters)
        properties = properties_of(tool.parameters)
        required = root.get("required", [])
        if not properties and root.get("additionalProperties") is not False:
            return f"({self._tagged_parameter(syntax, None, self._lark.until(syntax.value_close))})*"
        parts = []
        for key, schema in properties.items():
            if syntax.param_name_end[0] in key or key != key.strip() or "\n" in key or not key:
                raise _unwritable(key, tool)
            value = self._tagged_value(syntax, schema, tool)
            parameter = self._lark.rule(self._tagged_parameter(syntax, key, value), "param")
            parts.append(parameter if key in required else f"{parameter}?")
        return " ".join(parts)

    def _tagged_parameter(self, syntax: TaggedSyntax, key: str | None, value: str) -> str:
        name = _ANY_KEY if key is None else self._lark.literal(key)
        gap = syntax.separator if syntax.value_open else ""
        line = "\n" if syntax.has_newlines else ""
        opening = self._lark.literal(syntax.param_name_end + gap + syntax.value_open + line)
        return (
            f"{self._lark.literal(syntax.param_open)} {name} {opening} {value} {self._lark.literal(syntax.separator)}"
        )

    def _tagged_value(self, syntax: TaggedSyntax, schema: Any, tool: Tool) -> str:
        """Return the expression of a value and its closing tag."""
        line = "\n" if syntax.has_newlines else ""
        close = self._lark.literal(line + syntax.value_close)
        types = types_of(schema, tool.parameters)
        if types is None or "string" not in types:
            value = schema if isinstance(schema, dict) else {}
            return f"{self._lark.schema(value, tool.parameters)} {close}"
        # What is no value of other types that the schema may allow beside strings is read as a string.
        texts = string_values(schema, tool.parameters) if types == _STRING else None
        if texts is not None:
            return f"{one_of(map(self._lark.literal, texts))} {close}"
        return self._lark.until(syntax.value_close)

    def _pythonic(self, syntax: PythonicSyntax, tools: list[Tool]) -> str:
        lark = self._lark
        calls = []
        for tool in tools:
            root = resolved(tool.parameters, tool.parameters)
            required = root.get("required", [])
            items = []
            for key, schema in properties_of(tool.parameters).items():
                if not _PYTHON_KEY.fullmatch(key):
                    raise _unwritable(key, tool)
                value = lark.schema(schema if isinstance(schema, dict) else {}, tool.parameters)
                items.append((f"{lark.literal(key + '=')} {value}", key in required))
            if not items and root.get("additionalProperties") is not False:
                pair = f'{_ANY_KEY} "=" {lark.schema({})}'
                arguments = f'({pair} (", " {pair})*)?'
            else:
                arguments = separated(lark, items, '", "')
            calls.append(f'{lark.literal(tool.name + "(")} {arguments} ")"')
        body = self._repeated(calls, ", ")
        return f'{lark.literal(syntax.opener)} "[" {body} "]" {lark.literal(syntax.closer)}'

    def _gemma(self, syntax: GemmaSyntax, tools: list[Tool]) -> list[str]:
        lark = self._lark
        calls = []
        for tool in tools:
            values = GemmaValues(lark, syntax.mark, tool.parameters)
            body = values.value({"type": "object", **resolved(tool.parameters, tool.parameters)})
            calls.append(f"{lark.literal(f'{syntax.opener}call:{tool.name}')} {body} {lark.literal(syntax.closer)}")
        return calls


def _unwritable(key: str, tool: Tool) -> ConstraintError:
    return ConstraintError(
        f"the property {key!r} of the tool {tool.name!r} cannot be written in this model's format of calls; "
        "rename it, or let the model choose (tool_choice: auto)",
        param="tools",
    )
