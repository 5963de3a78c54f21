"""Chat prompts to text: what a request wants of the model's template, honoured or refused by name.

The template itself is rendered by `chat_template`; which parts of an answer are reasoning or tool calls is known to
`backends.output`.
"""

import contextlib
import functools
import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from backends.errors import PromptError, TemplateError, UnsupportedByModelError
from backends.images.prompt_image import ImageFacts, PromptImage
from backends.output.calls.harmony import HarmonySyntax
from backends.output.formats import OutputFormat, Thinking, detect_format
from backends.prompting.chat_template import RESERVED_VARIABLES, ChatTemplate, strftime_now
from backends.prompting.control_text import ControlTextMarker, Piece, unused_mark
from backends.prompting.image_places import ContentForms, ImagePlaces, no_images, probe_forms, runs_with
from backends.prompting.turns import STRICTEST, TurnRules, arranged, probe
from backends.sequence import Tile
from backends.tokenizer import Tokenizer
from backends.wire.prompts import ChatPrompt, ImagePart, images_in, shown_content

_NO_EFFORT: Final = "none"
_THINKING_VARIABLES: Final = ("enable_thinking", "thinking")
"""How templates ask whether to think. Source: the templates of Qwen3 and GLM; of DeepSeek V3.1 and Granite."""
_EFFORT_VARIABLE: Final = "reasoning_effort"
_EARLIER: Final = "\ufdee\ufdef"
"""Stands for what was said before, in two messages that are cut off again. Noncharacters: no text has them."""


class Rendered(msgspec.Struct, frozen=True):
    """A rendered conversation.

    Attributes:
        text: Pictures in it as the template writes them.
        pieces: The same in parts, by how control tokens in them count; tiles where their rows are to stand.
        images: The pictures that are shown, in order.
    """

    text: str
    pieces: list[Piece | Tile]
    images: tuple[PromptImage, ...] = ()


class ChatRenderer:
    """Renders chats with the loaded model's template.

    Args:
        tokenizer: Has the template and the control tokens.
        image_facts: Of the pictures in prompts; None = the model sees none.
    """

    def __init__(self, tokenizer: Tokenizer, image_facts: ImageFacts | None = None) -> None:
        self._tokenizer = tokenizer
        self._image_facts = image_facts

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

    def render(self, prompt: ChatPrompt, images: Mapping[ImagePart, PromptImage] | None = None) -> Rendered:
        """Return the prompt text, ending where the assistant is to speak, or to go on.

        Where tokens of an earlier exchange come before it, it begins behind the text of the assistant's last message,
        with whatever the template closes that with.

        Args:
            images: What stands for the pictures; None = what the template writes, for people to look at.

        Raises:
            TemplateError: The template failed.
            UnsupportedByModelError: There is no template, or it has no place for something that was asked for.
            PromptError: The template refuses the messages, in its own words.
        """
        try:
            return self._render(prompt, images, self._turn_rules, has_tools="tools" in self._template.variables)
        except (TemplateError, UnsupportedByModelError):
            raise
        except PromptError:
            with contextlib.suppress(PromptError):
                return self._render(prompt, images, STRICTEST, has_tools=False)
            raise

    @functools.cached_property
    def _turn_rules(self) -> TurnRules:
        plain = ImagePlaces(None, self._content_forms)
        return probe(lambda messages: self._template.render(plain.shaped(messages)[0]))

    @functools.cached_property
    def _content_forms(self) -> ContentForms:
        return probe_forms(self._template.render, None if self._image_facts is None else self._image_facts.written)

    def _render(
        self,
        prompt: ChatPrompt,
        images: Mapping[ImagePart, PromptImage] | None,
        rules: TurnRules,
        *,
        has_tools: bool,
    ) -> Rendered:
        parts, tools = images_in(prompt.messages), prompt.tools
        if parts and self._image_facts is None:
            raise no_images(parts[0])
        places = ImagePlaces(unused_mark(_texts_of(prompt)) if parts else None, self._content_forms)
        messages = places.contents(prompt.messages)
        if not has_tools:
            messages, tools = _without_tools(messages, tools), []
        if prompt.context_ids:
            messages = [*({"role": role, "content": _EARLIER} for role in ("user", "assistant")), *messages]
        messages = arranged(messages, rules)
        values = [messages, tools, self._variables(prompt, self._template), prompt.continuation or ""]
        marker = ControlTextMarker(self._literal_texts(prompt), values)
        texts, numbers = self._written(prompt, places, marker.mark(values))
        if sorted(numbers) != list(range(len(parts))):
            texts, numbers = self._written(prompt, places.untyped, marker.mark(values))
        if sorted(numbers) != list(range(len(parts))):
            raise _hidden(next(part for number, part in enumerate(parts) if numbers.count(number) != 1))
        shown = [parts[number] for number in numbers]
        if images is None:
            return self._rendered(prompt, marker, [self._image_written.join(texts)], [])
        return self._rendered(prompt, marker, texts, [images[part] for part in shown])

    def _written(self, prompt: ChatPrompt, places: ImagePlaces, values: list[Any]) -> tuple[list[str], list[int]]:
        """Have the template write a conversation; return the texts around its pictures, and their numbers."""
        messages, tools, variables, beginning = values
        shaped, typed = places.shaped(messages)
        text = self._template.render(shaped, tools, variables, opens_turn=prompt.opens_turn)
        text = self._continued(_from_turn(text, prompt), beginning)
        return places.split(text, typed, self._image_written)

    def _rendered(
        self, prompt: ChatPrompt, marker: ControlTextMarker, texts: list[str], images: list[PromptImage]
    ) -> Rendered:
        """Put what stands for pictures in their places; texts around rows are one with the template's beside them."""
        runs = runs_with(texts, images)
        pieces: list[Piece | Tile] = []
        for run in runs:
            if isinstance(run, Tile):
                pieces.append(run)
            elif prompt.allows_control_tokens:
                pieces.append(Piece(marker.plain(run), is_literal=False))
            else:
                pieces += marker.split(run)
        return Rendered(marker.plain(self._image_written.join(texts)), pieces, tuple(images))

    @property
    def _image_written(self) -> str:
        return "" if self._image_facts is None else self._image_facts.written

    def _literal_texts(self, prompt: ChatPrompt) -> list[str]:
        """Return the texts of tokens that are to be told apart, as users' or as the template's."""
        control = () if prompt.allows_control_tokens else self._tokenizer.control_ids
        reserved = () if self._image_facts is None else self._image_facts.reserved
        return list(dict.fromkeys([*control, *reserved]))

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


def _texts_of(prompt: ChatPrompt) -> list[Any]:
    """Return all that is shown beside what the server itself writes."""
    texts = [prompt.continuation, *map(shown_content, prompt.messages)]
    return [texts, list(prompt.messages), prompt.tools, prompt.template_kwargs]


def _hidden(part: ImagePart) -> UnsupportedByModelError:
    return UnsupportedByModelError(
        f"{part.param}: this model's chat template does not show pictures there; send it in a message of the user",
        param=part.param,
    )


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
