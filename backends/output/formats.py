"""Which format a model's answers have: its way to mark reasoning and its way to write tool calls.

Told from what the model's chat template says and from its control tokens, never from the model's name. Reading the
answers is not done here.

Source: the chat templates that the models are published with; a sample of each is in llama.cpp's `models/templates`.
"""
# ruff: noqa: RUF001 - DeepSeek's tags have full-width bars

import enum
import itertools
import re
from collections.abc import Mapping
from typing import Final

import msgspec

from backends.output.calls.harmony import HarmonySyntax
from backends.output.calls.json_objects import JsonSyntax
from backends.output.calls.literal import GemmaSyntax, PythonicSyntax
from backends.output.calls.named import MistralSyntax, SectionSyntax
from backends.output.calls.tagged import TaggedSyntax


class ReasoningTags(msgspec.Struct, frozen=True):
    """What thinking stands between."""

    open: str
    close: str


ToolSyntax = JsonSyntax | MistralSyntax | SectionSyntax | TaggedSyntax | PythonicSyntax | GemmaSyntax | HarmonySyntax

_REASONING: Final = (
    ReasoningTags("<|channel>thought", "<channel|>"),
    ReasoningTags("[THINK]", "[/THINK]"),
    ReasoningTags("<|START_THINKING|>", "<|END_THINKING|>"),
    ReasoningTags("<seed:think>", "</seed:think>"),
    ReasoningTags("<longcat_think>", "</longcat_think>"),
    ReasoningTags("<|inner_prefix|>", "<|inner_suffix|>"),
    ReasoningTags("<reasoning>", "</reasoning>"),
    ReasoningTags("<think>", "</think>"),
)
"""In the order in which they are looked for: what is rarer comes first."""

HERMES: Final = JsonSyntax(openers=("<tool_call>",), closer="</tool_call>", has_newlines=True)
LLAMA_JSON: Final = JsonSyntax(
    openers=("<|python_tag|>",), arguments_key="parameters", separator="; ", can_be_bare=True
)
NEMOTRON: Final = JsonSyntax(openers=("<TOOLCALL>",), closer="</TOOLCALL>", is_list=True)
COHERE: Final = JsonSyntax(
    openers=("<|START_ACTION|>",),
    closer="<|END_ACTION|>",
    name_key="tool_name",
    arguments_key="parameters",
    is_list=True,
)
PHI: Final = JsonSyntax(openers=("<|tool_call|>",), closer="<|/tool_call|>", is_list=True)
GRANITE: Final = JsonSyntax(openers=("<|tool_call|>",), is_list=True)
MISTRAL_LIST: Final = JsonSyntax(openers=("[TOOL_CALLS]",), is_list=True)
MISTRAL: Final = MistralSyntax()
DEEPSEEK_V3: Final = SectionSyntax(
    section_open="<｜tool▁calls▁begin｜>",
    section_close="<｜tool▁calls▁end｜>",
    call_open="<｜tool▁call▁begin｜>",
    call_close="<｜tool▁call▁end｜>",
    arguments_mark="<｜tool▁sep｜>",
    has_type=True,
)
DEEPSEEK_V31: Final = msgspec.structs.replace(DEEPSEEK_V3, has_type=False)
KIMI: Final = SectionSyntax(
    section_open="<|tool_calls_section_begin|>",
    section_close="<|tool_calls_section_end|>",
    call_open="<|tool_call_begin|>",
    call_close="<|tool_call_end|>",
    arguments_mark="<|tool_call_argument_begin|>",
    name_prefix="functions.",
    has_index=True,
)
QWEN_CODER: Final = TaggedSyntax(
    block_open="<tool_call>",
    block_close="</tool_call>",
    call_open="<function=",
    name_end=">",
    call_close="</function>",
    param_open="<parameter=",
    param_name_end=">",
    value_close="</parameter>",
    has_newlines=True,
)
SEED: Final = msgspec.structs.replace(
    QWEN_CODER, block_open="<seed:tool_call>", block_close="</seed:tool_call>", has_newlines=False
)
MINIMAX: Final = TaggedSyntax(
    block_open="<minimax:tool_call>",
    block_close="</minimax:tool_call>",
    call_open='<invoke name="',
    name_end='">',
    call_close="</invoke>",
    param_open='<parameter name="',
    param_name_end='">',
    value_close="</parameter>",
)
GLM_LINES: Final = TaggedSyntax(
    block_open="<tool_call>",
    block_close="</tool_call>",
    param_open="<arg_key>",
    param_name_end="</arg_key>",
    value_open="<arg_value>",
    value_close="</arg_value>",
)
GLM: Final = msgspec.structs.replace(GLM_LINES, separator="")
PYTHONIC: Final = PythonicSyntax()
LFM: Final = PythonicSyntax(opener="<|tool_call_start|>", closer="<|tool_call_end|>")
FUNCTION_GEMMA: Final = GemmaSyntax(opener="<start_function_call>", closer="<end_function_call>", mark="<escape>")
GEMMA4: Final = GemmaSyntax(opener="<|tool_call>", closer="<tool_call|>", mark='<|"|>')
HARMONY: Final = HarmonySyntax()

_BY_MARKS: Final[tuple[tuple[tuple[str, ...], ToolSyntax], ...]] = (
    # Texts that the template has, all of them, and the syntax they tell; the first that fits counts.
    (("<|channel|>", "<|message|>"), HARMONY),
    (("<start_function_call>",), FUNCTION_GEMMA),
    (("<|tool_call>",), GEMMA4),
    (("[TOOL_CALLS]", "[ARGS]"), MISTRAL),
    (("[TOOL_CALLS]",), MISTRAL_LIST),
    (("<｜tool▁calls▁begin｜>", "```json"), DEEPSEEK_V3),
    (("<｜tool▁calls▁begin｜>",), DEEPSEEK_V31),
    (("<|tool_calls_section_begin|>",), KIMI),
    (("<|START_ACTION|>",), COHERE),
    (("</arg_key>\n<arg_value>",), GLM_LINES),
    (("</arg_key>\\n<arg_value>",), GLM_LINES),
    (("<arg_key>",), GLM),
    (("<minimax:tool_call>",), MINIMAX),
    (("<seed:tool_call>",), SEED),
    (("<tool_call>", "<function=", "<parameter="), QWEN_CODER),
    (("<|tool_call_start|>",), LFM),
    (("<|tool_list_start|>",), LFM),
    (("<TOOLCALL>",), NEMOTRON),
    (("<|/tool_call|>",), PHI),
    (("<|tool_call|>",), GRANITE),
    (("<tool_call>",), HERMES),
    (("[func_name1(",), PYTHONIC),
    (("[func_name(",), PYTHONIC),
    (("[function_name(",), PYTHONIC),
    (("<|python_tag|>",), LLAMA_JSON),
    (('{"name": function name, "parameters":',), LLAMA_JSON),
)
_BY_CONTROL_TOKEN: Final[tuple[tuple[str, ToolSyntax], ...]] = (
    ("<|tool_call_start|>", LFM),
    ("<start_function_call>", FUNCTION_GEMMA),
    ("<|tool_call>", GEMMA4),
)
"""Asked for templates that name no syntax: some conversions have lost the tools' part of it."""

_TOOLS = re.compile(r"\{[{%][^{}]*\btools\b")
"""`tools` in a statement or an expression; stops at the next bracket, so that the search is linear."""


class Thinking(enum.Enum):
    """How a rendered prompt has left the model's thinking: open, for the model to begin, or done with."""

    OPEN = "open"
    POSSIBLE = "possible"
    OVER = "over"


class OutputFormat(msgspec.Struct, frozen=True, kw_only=True):
    """How a model marks reasoning and writes tool calls.

    Attributes:
        reasoning: Its tags; None = it marks none, or harmony's channels do.
        tools: Its syntax of calls; Hermes' where the template shows no tools or names none.
        visible_control_ids: Ids, by their texts, of control tokens that the parser has to see; all others add nothing.
    """

    reasoning: ReasoningTags | None
    tools: ToolSyntax
    visible_control_ids: Mapping[str, int]

    def thinking_after(self, prompt_text: str) -> Thinking:
        """Return how a prompt that was rendered by the template has left the thinking."""
        if self.reasoning is None:
            return Thinking.POSSIBLE if isinstance(self.tools, HarmonySyntax) else Thinking.OVER
        end = prompt_text[-256:].rstrip()
        if end.endswith(self.reasoning.open):
            return Thinking.OPEN
        return Thinking.OVER if end.endswith(self.reasoning.close) else Thinking.POSSIBLE


def detect_format(chat_template: str | None, control_ids: Mapping[str, int]) -> OutputFormat:
    """Return the format of a model's answers.

    Args:
        chat_template: The template's source; None = the model has none.
        control_ids: Text of each control token -> its id.
    """
    template = chat_template or ""
    # A template that shows no tools leaves it to us to say how to call them: `tool_instructions` says Hermes' way.
    tools = _tool_syntax(template, control_ids) if _TOOLS.search(template) else HERMES
    reasoning = None if isinstance(tools, HarmonySyntax) else _reasoning_tags(template, control_ids)
    tags = tools.tags + ((reasoning.open, reasoning.close) if reasoning else ())
    return OutputFormat(
        reasoning=reasoning,
        tools=tools,
        visible_control_ids={text: number for text, number in control_ids.items() if _is_part(text, tags)},
    )


def _is_part(text: str, tags: tuple[str, ...]) -> bool:
    """Return whether the control token `text` is one of the tags, or begins one that goes on with plain text."""
    return any(tag == text or (len(text) > 1 and tag.startswith(text)) for tag in tags)


def _tool_syntax(template: str, control_ids: Mapping[str, int]) -> ToolSyntax:
    by_marks = (syntax for marks, syntax in _BY_MARKS if all(mark in template for mark in marks))
    by_token = (syntax for text, syntax in _BY_CONTROL_TOKEN if text in control_ids)
    return next(itertools.chain(by_marks, by_token), HERMES)


def _reasoning_tags(template: str, control_ids: Mapping[str, int]) -> ReasoningTags | None:
    by_mark = (tags for tags in _REASONING if tags.close in template)
    by_tokens = (tags for tags in _REASONING if tags.open in control_ids and tags.close in control_ids)
    return next(itertools.chain(by_mark, by_tokens), None)
