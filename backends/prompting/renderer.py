"""Chat prompts to text: what a request wants of the model's template, honoured or refused by name.

The template itself is rendered by `chat_template`; which parts of an answer are reasoning or tool calls is known to
`backends.output`.
"""

import contextlib
import functools
import json
from typing import Any, Final

import msgspec

from backends.errors import PromptError, TemplateError, UnsupportedByModelError
from backends.output.calls.harmony import HarmonySyntax
from backends.output.formats import OutputFormat, Thinking, detect_format
from backends.prompting.chat_template import RESERVED_VARIABLES, ChatTemplate, strftime_now
from backends.prompting.control_text import ControlTextMarker, Piece
from backends.prompting.turns import STRICTEST, TurnRules, arranged, probe
from backends.tokenizer import Tokenizer
from backends.wire.prompts import ChatPrompt, shown_content

_NO_EFFORT: Final = "none"
_THINKING_VARIABLES: Final = ("enable_thinking", "thinking")
"""How templates ask whether to think. Source: the templates of Qwen3 and GLM; of DeepSeek V3.1 and Granite."""
_EFFORT_VARIABLE: Final = "reasoning_effort"
_EARLIER: Final = "\ufdee\ufdef"
"""Stands for what was said before, in two messages that are cut off again. Noncharacters: no text has them."""


class Rendered(msgspec.Struct, frozen=True):
    """A rendered conversation.

    Attributes:
        pieces: The same in parts, by how control tokens in them count.
    """

    text: str
    pieces: list[Piece]


class ChatRenderer:
    """Renders chats with the loaded model's template.

    Args:
        tokenizer: Has the template and the control tokens.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    @functools.cached_property
    def format(self) -> OutputFormat:
        """How this model writes reasoning and tool calls."""
        return detect_format(self._tokenizer.chat_template, self._tokenizer.control_ids)

    @functools.cached_property
    def _template(self) -> ChatTemplate:
        source = self._tokenizer.chat_template
        if source is None:
            raise UnsupportedByModelError(
                "this model has no chat template; use /v1/completions, a model made for chat, or give it one "
                "(mlxr models set NAME template=@FILE)",
                param="messages",
            )
        return ChatTemplate(source, bos_text=self._tokenizer.bos_text, eos_text=self._tokenizer.eos_text)

    @property
    def _has_reasoning(self) -> bool:
        return self.format.reasoning is not None or isinstance(self.format.tools, HarmonySyntax)

    def render(self, prompt: ChatPrompt) -> Rendered:
        """Return the prompt text, ending where the assistant is to speak, or to go on.

        Where tokens of an earlier exchange come before it, it begins behind the text of the assistant's last message,
        with whatever the template closes that with.

        Raises:
            TemplateError: The template failed.
            UnsupportedByModelError: There is no template, or it has no place for something that was asked for.
            PromptError: The template refuses the messages, in its own words.
        """
        try:
            return self._render(prompt, self._turn_rules, has_tools="tools" in self._template.variables)
        except (TemplateError, UnsupportedByModelError):
            raise
        except PromptError:
            with contextlib.suppress(PromptError):
                return self._render(prompt, STRICTEST, has_tools=False)
            raise

    @functools.cached_property
    def _turn_rules(self) -> TurnRules:
        return probe(self._template.render)

    def _render(self, prompt: ChatPrompt, rules: TurnRules, *, has_tools: bool) -> Rendered:
        template, tools = self._template, prompt.tools
        variables = self._variables(prompt, template)
        messages: list[dict[str, Any]] = [{**message, "content": shown_content(message)} for message in prompt.messages]
        if not has_tools:
            messages, tools = _without_tools(messages, tools), []
        if prompt.context_ids:
            messages = [*({"role": role, "content": _EARLIER} for role in ("user", "assistant")), *messages]
        messages = arranged(messages, rules)
        beginning = prompt.continuation or ""
        if prompt.allows_control_tokens:
            text = template.render(messages, tools, variables, opens_turn=prompt.opens_turn)
            text = self._continued(_from_turn(text, prompt), beginning)
            return Rendered(text, [Piece(text, is_literal=False)])
        marker = ControlTextMarker(self._tokenizer.control_ids, [messages, tools, variables, beginning])
        marked = (marker.mark(messages), marker.mark(tools), marker.mark(variables))
        text = _from_turn(template.render(*marked, opens_turn=prompt.opens_turn), prompt)
        pieces = marker.split(self._continued(text, marker.mark(beginning)))
        return Rendered("".join(piece.text for piece in pieces), pieces)

    def _continued(self, text: str, beginning: str) -> str:
        """Return a rendered prompt with the beginning of the answer behind it."""
        if not beginning:
            return text
        if isinstance(self.format.tools, HarmonySyntax):
            raise UnsupportedByModelError(
                "messages: this model writes its answers in channels, and cannot go on with one that was begun for it; "
                "end with a message of the user",
                param="messages",
            )
        if self.format.thinking_after(text) is Thinking.OPEN:
            raise UnsupportedByModelError(
                "messages: this model's template begins every answer with thinking, so none can be begun for it; end "
                "with a message of the user, or switch thinking off where the model can",
                param="messages",
            )
        return text + beginning

    def _variables(self, prompt: ChatPrompt, template: ChatTemplate) -> dict[str, Any]:
        variables = dict(prompt.template_kwargs)
        for name in variables:
            param = f"chat_template_kwargs.{name}"
            if name in RESERVED_VARIABLES:
                raise PromptError(f"{param}: {name} is set by the server; leave it out", param=param)
            if name not in template.variables:
                raise UnsupportedByModelError(f"{param}: this model's chat template does not use it", param=param)
        if prompt.reasoning_effort is not None:
            variables |= self._effort(prompt, prompt.reasoning_effort, template)
        if prompt.enable_thinking is not None:
            wish = prompt.enable_thinking
            variables |= self._thinking(wish, template, "enable_thinking", is_optional=prompt.is_thinking_optional)
        return _usual_variables(template) | variables

    def _effort(self, prompt: ChatPrompt, effort: str, template: ChatTemplate) -> dict[str, Any]:
        """Honour an effort by the template's own variable, or as on and off where it knows only these.

        An effort is a hint: a model that does not think answers without.
        """
        if _EFFORT_VARIABLE in template.variables and effort != _NO_EFFORT:
            return {_EFFORT_VARIABLE: effort}
        if prompt.is_thinking_optional:
            return {}
        is_wanted = effort != _NO_EFFORT
        return self._thinking(is_wanted, template, _EFFORT_VARIABLE, is_optional=is_wanted)

    def _thinking(
        self,
        is_wanted: bool,  # noqa: FBT001 - its value
        template: ChatTemplate,
        param: str,
        *,
        is_optional: bool = False,
    ) -> dict[str, Any]:
        for name in _THINKING_VARIABLES:
            if name in template.variables:
                return {name: is_wanted}
        if is_optional or (not is_wanted and not self._has_reasoning):
            return {}  # in the second case it does not think anyway
        what = "always thinks" if self._has_reasoning else "does not think"
        raise UnsupportedByModelError(
            f"{param}: this model's chat template has no switch for thinking; it {what}", param=param
        )


def _usual_variables(template: ChatTemplate) -> dict[str, Any]:
    """Return what templates are given without being asked for it, as llama-server gives it to them.

    A template that only looks whether `enable_thinking` is false, or not set, thinks either way. Source: llama.cpp,
    common/chat.cpp, `common_chat_templates_apply`.
    """
    usual: dict[str, Any] = {"enable_thinking": True, "date_string": strftime_now("%d %b %Y")}
    return {name: value for name, value in usual.items() if name in template.variables}


def _from_turn(text: str, prompt: ChatPrompt) -> str:
    """Return a rendered prompt without what stands for the earlier exchange."""
    if not prompt.context_ids:
        return text
    parts = text.split(_EARLIER, 2)
    if len(parts) < 3:  # noqa: PLR2004 - behind the second of the two messages
        raise UnsupportedByModelError(
            "context: this model's chat template does not show every message as it is; send the whole conversation",
            param="context",
        )
    return parts[2]


def _without_tools(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a conversation for a template that knows no tools: calls and results as text, the tools explained."""
    plain = [_as_text(message) for message in messages]
    if not tools:
        return plain
    instructions = tool_instructions(tools)
    if plain and plain[0]["role"] == "system":
        first = {**plain[0], "content": f"{plain[0]['content']}\n\n{instructions}"}
        return [first, *plain[1:]]
    return [{"role": "system", "content": instructions}, *plain]


def _as_text(message: dict[str, Any]) -> dict[str, Any]:
    if message["role"] == "tool":
        return {"role": "user", "content": f"<tool_response>\n{message['content']}\n</tool_response>"}
    calls = message.get("tool_calls")
    if not calls:
        return message
    texts = [f"<tool_call>\n{json.dumps(call['function'], ensure_ascii=False)}\n</tool_call>" for call in calls]
    content = "\n".join([message["content"], *texts] if message.get("content") else texts)
    return {key: value for key, value in message.items() if key != "tool_calls"} | {"content": content}


def tool_instructions(tools: list[dict[str, Any]]) -> str:
    """Return what a system message has to say about tools whose calls are expected in Hermes' format."""
    lines = "\n".join(msgspec.json.encode(tool).decode() for tool in tools)
    return (
        "You can call functions to help with the user's request. These are their signatures, one JSON object a line, "
        f"between <tools> and </tools>:\n<tools>\n{lines}\n</tools>\n\n"
        "To call a function, write a JSON object with its name and its arguments between <tool_call> and "
        "</tool_call>, once for each call:\n"
        '<tool_call>\n{"name": "function-name", "arguments": {"argument-name": "value"}}\n</tool_call>\n'
        "Call a function only where it helps; otherwise answer in words."
    )
