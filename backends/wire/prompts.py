"""What a sequence continues: a conversation, a text, token ids, or the prompt of another sequence."""

from typing import Any, Final, NotRequired, TypedDict

import msgspec

from backends.errors import ImageError

MAX_IMAGE_BYTES: Final = 20 * 2**20
"""Length of a picture's file, not of its base64."""


class TextPart(msgspec.Struct, frozen=True, tag="text"):
    """A text in a message's content."""

    text: str


class ImagePart(msgspec.Struct, frozen=True, tag="image"):
    """A picture in a message's content, as the client sent it; it is looked at in the worker only.

    Attributes:
        data: The file's bytes, at most `MAX_IMAGE_BYTES`.
        param: The request's field that carries it, for errors.
        max_side: Pixels of its longer side that the model is shown at most; None = as many as the model takes.
    """

    data: bytes
    param: str
    max_side: int | None = None


def image_too_large() -> ImageError:
    """Return the refusal of a picture's file that is too long."""
    return ImageError(f"the image is larger than {MAX_IMAGE_BYTES >> 20} MiB; shrink it or save it as JPEG")


ContentPart = TextPart | ImagePart
"""What a message's content is made of where it is not one text."""


class PromptMessage(TypedDict):
    """One message, in OpenAI's words, as templates know them."""

    role: str
    content: str | list[ContentPart] | None
    name: NotRequired[str]
    reasoning_content: NotRequired[str]
    tool_calls: NotRequired[list[dict[str, Any]]]
    tool_call_id: NotRequired[str]


def shown_content(message: PromptMessage) -> str | None:
    """Return a message's texts, joined by line ends, without its pictures."""
    content = message["content"]
    if not isinstance(content, list):
        return content
    return "\n".join(part.text for part in content if isinstance(part, TextPart))


def images_in(messages: list[PromptMessage]) -> list[ImagePart]:
    """Return all pictures of a conversation, in order."""
    contents = (message["content"] for message in messages)
    parts = (part for content in contents if isinstance(content, list) for part in content)
    return [part for part in parts if isinstance(part, ImagePart)]


class ChatPrompt(msgspec.Struct, frozen=True, tag=True):
    """A conversation, rendered in the worker with the model's own template.

    Attributes:
        messages: Their content is None beside tool calls and thoughts only; the `arguments` of tool calls are JSON
            objects here, not texts.
        tools: OpenAI-shaped tools that the template is to show to the model; empty = none.
        template_kwargs: Further variables of the template, from `chat_template_kwargs`.
        enable_thinking: Wish of the request; None = as the template has it.
        reasoning_effort: Wish of the request (none, minimal, low, medium, high, xhigh); None = as the template has it.
        allows_control_tokens: Whether control tokens written in messages and tools count as such, instead of as text.
        is_thinking_optional: Whether a model that cannot follow the wishes for thinking and effort is asked without
            them, instead of not at all.
        continuation: How the assistant's answer begins; what is generated goes on from there. None = from its start.
        context_ids: Tokens of an earlier exchange that the messages go on from, as `Finished.token_ids` tells them;
            empty = the messages are all there is.
        truncates: Whether the oldest turns are left out where the context does not hold all of them.
        opens_turn: Whether the template begins the assistant's turn behind the messages, as templates do for an answer.
    """

    messages: list[PromptMessage]
    tools: list[dict[str, Any]] = []
    template_kwargs: dict[str, Any] = {}
    enable_thinking: bool | None = None
    reasoning_effort: str | None = None
    allows_control_tokens: bool = False
    is_thinking_optional: bool = False
    continuation: str | None = None
    context_ids: list[int] = []
    truncates: bool = False
    opens_turn: bool = True


class TextPrompt(msgspec.Struct, frozen=True, tag=True):
    """Plain text, tokenized as it stands (BOS added where the model wants it).

    Attributes:
        text: What to continue; control tokens written in it count as such.
        suffix: What is to come after the answer; None = nothing. Only for models that can infill.
        images: Pictures, one for each place where `image_marker` stands in the text, in order.
    """

    text: str
    suffix: str | None = None
    images: list[ImagePart] = []
    image_marker: str = ""


class InfillFile(msgspec.Struct, frozen=True, array_like=True):
    """A file that stands before the one that is to be filled in."""

    name: str
    text: str


class InfillPrompt(msgspec.Struct, frozen=True, tag=True):
    """A gap in a file, with what stands before and behind it; what the context does not hold is left out of it.

    First the beginnings of the other files go, then what is farthest from the gap. Only for models that can infill.

    Attributes:
        files: Of the same project, the most important last.
    """

    prefix: str
    suffix: str
    files: list[InfillFile] = []


class TokenPrompt(msgspec.Struct, frozen=True, tag=True):
    """Token ids, used as they are."""

    token_ids: list[int]


class ForkPrompt(msgspec.Struct, frozen=True, tag=True):
    """The prompt of another sequence of the same worker, whose cache is shared where the model's memory allows it.

    Attributes:
        source_id: A sequence whose `Generate` was sent earlier on the channel.
    """

    source_id: int


Prompt = ChatPrompt | TextPrompt | InfillPrompt | TokenPrompt | ForkPrompt


def images_of(prompt: Prompt) -> list[ImagePart]:
    """Return all pictures of a prompt, in order; a fork has none of its own."""
    match prompt:
        case ChatPrompt():
            return images_in(prompt.messages)
        case TextPrompt():
            return prompt.images
        case _:
            return []
