"""Where pictures stand in a conversation, from its messages to the text that a template makes of them.

In a message's content each picture is first a short text that occurs nowhere else, its place, so that whatever is done
with texts (joining, folding into other messages) is done with pictures too. A template that walks typed content is
given parts at the end, and what it writes for a picture is found; one that wants strings shows the places themselves.
Which of both is seen by asking it once, never by the model's name.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from backends.errors import PromptError, UnsupportedByModelError
from backends.images.prompt_image import PromptImage
from backends.sequence import Tile
from backends.wire.prompts import ImagePart, PromptMessage

Message = dict[str, Any]
Render = Callable[[list[Message]], str]

_BEFORE, _BEHIND = "probe before", "probe behind"
_PLAIN: Final = "probe"
_CALL_ID: Final = "call00000"
_CALL: Final = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"id": _CALL_ID, "type": "function", "function": {"name": "probe", "arguments": {}}}],
}


class ContentForms(NamedTuple):
    """What a template makes of messages' content.

    Attributes:
        takes_strings: It shows contents that are one text; else only lists of parts.
        typed_roles: Roles of whose lists of parts it shows every text and every picture.
    """

    takes_strings: bool = True
    typed_roles: frozenset[str] = frozenset()


def probe_forms(render: Render, written: str | None) -> ContentForms:
    """Ask a template what it takes; one that fails on a plain message is asked no further, and given texts.

    Args:
        render: Returns the text of a conversation, or raises PromptError.
        written: What it writes for a picture; None = its model sees none.
    """
    user: Message = {"role": "user", "content": _PLAIN}
    takes_strings = _shows(render, [user], _PLAIN)
    if not takes_strings:
        user = {**user, "content": [_text_part(_PLAIN)]}
        if not _shows(render, [user], _PLAIN):
            return ContentForms()
    if written is None:
        return ContentForms(takes_strings)
    content = [_text_part(_BEFORE), {"type": "image"}, _text_part(_BEHIND)]
    around: dict[str, tuple[list[Message], list[Message]]] = {
        "system": ([], [user]),
        "user": ([], []),
        "assistant": ([user], [user]),
        "tool": ([user, _CALL], []),
    }
    typed_roles = frozenset(
        role
        for role, (before, behind) in around.items()
        if _shows(
            render,
            [*before, {"role": role, "content": content, "tool_call_id": _CALL_ID}, *behind],
            *(_BEFORE, _BEHIND, written),
        )
    )
    return ContentForms(takes_strings, typed_roles)


def _shows(render: Render, messages: list[Message], *texts: str) -> bool:
    try:
        shown = render(messages)
    except PromptError:
        return False
    return all(shown.count(text) == 1 for text in texts)


def _text_part(text: str) -> Message:
    return {"type": "text", "text": text}


class ImagePlaces:
    """The places of one conversation's pictures, which are numbered from 0 in the order of its messages.

    Args:
        mark: A character that occurs nowhere in the conversation; None = it has no picture.
        forms: What the template takes.
    """

    def __init__(self, mark: str | None, forms: ContentForms) -> None:
        self._place = re.compile(r"(?!)()" if mark is None else f"{mark}([0-9]+){mark}")
        self._mark = mark
        self._forms = forms

    @property
    def untyped(self) -> "ImagePlaces":
        """The same for a template that is given no picture as a part."""
        return ImagePlaces(self._mark, self._forms._replace(typed_roles=frozenset()))

    def contents(self, messages: list[PromptMessage]) -> list[Message]:
        """Return messages whose content is one text or None."""
        numbers = itertools.count()
        return [{**message, "content": self._content(message["content"], numbers)} for message in messages]

    def _content(self, content: Any, numbers: Iterator[int]) -> str | None:
        """Join texts by line ends; beside a picture there is none yet, as its template may have another custom."""
        if not isinstance(content, list):
            return content  # type: ignore[no-any-return]  # a text, or None
        shown = ""
        is_behind_text = False
        for part in content:
            if isinstance(part, ImagePart):
                shown += f"{self._mark}{next(numbers)}{self._mark}"
            else:
                shown += "\n" + part.text if is_behind_text else part.text
            is_behind_text = not isinstance(part, ImagePart)
        return shown

    def shaped(self, messages: list[Message]) -> tuple[list[Message], list[int]]:
        """Return messages whose contents are of the form that the template takes.

        Returns:
            Them, and the numbers of the pictures that the template is given as parts.
        """
        typed: list[int] = []
        shaped = []
        for message in messages:
            content = message["content"]
            texts = [] if content is None else self._place.split(content)  # between them the numbers
            numbers = [int(text) for text in texts[1::2]]
            if numbers and message["role"] in self._forms.typed_roles:
                typed += numbers
                content = list(_parts(texts))
            else:
                content = self._joined(texts) if numbers else content
                content = content if self._forms.takes_strings else [_text_part(content or "")]
            shaped.append({**message, "content": content})
        return shaped, typed

    def _joined(self, texts: list[str]) -> str:
        """Return a content as one text: pictures before all its words, or behind them, on lines of their own.

        One in the midst of words stays where it was sent, also in the middle of a line.
        """
        pieces = [f"{self._mark}{text}{self._mark}" if index % 2 else text for index, text in enumerate(texts)]
        words = [index for index, text in enumerate(texts) if text and index % 2 == 0]
        start, end = (words[0], words[-1] + 1) if words else (0, 0)
        shown = ""
        for line in filter(None, [*pieces[:start], "".join(pieces[start:end]), *pieces[end:]]):
            is_apart = not shown or shown.endswith("\n") or line.startswith("\n")
            shown += line if is_apart else "\n" + line
        return shown

    def split(self, rendered: str, typed: list[int], written: str) -> tuple[list[str], list[int]]:
        """Return the texts before, between and behind the pictures, and these pictures' numbers.

        Args:
            typed: Numbers of the pictures that the template was given as parts, and has written in its own way.
        """
        if self._mark is None:
            return [rendered], []
        texts, numbers, start = [], [], 0
        remaining = iter(typed)
        for found in re.finditer(f"{self._place.pattern}|{re.escape(written)}", rendered):
            number = int(found[1]) if found[1] else next(remaining, None)
            if number is None:
                continue  # not for a picture, the template's own words
            texts.append(rendered[start : found.start()])
            numbers.append(number)
            start = found.end()
        return [*texts, rendered[start:]], numbers


def runs_with(texts: list[str], images: Sequence[PromptImage]) -> list[str | Tile]:
    """Return a prompt of texts and the pictures between them as tiles and as texts of more than nothing."""
    runs: list[str | Tile] = []
    before = texts[0]
    for image, text in zip(images, texts[1:], strict=True):
        for piece in image.pieces:
            if isinstance(piece, str):
                before += piece
            else:
                runs += [before, piece]
                before = ""
        before += text
    return [run for run in [*runs, before] if run != ""]


def no_images(part: ImagePart) -> UnsupportedByModelError:
    """Return the refusal of a picture by a model that sees none."""
    return UnsupportedByModelError(
        f"{part.param}: the loaded model does not see pictures; leave it out, or use a model that does",
        param=part.param,
    )


def _parts(texts: list[str]) -> Iterator[Message]:
    for index, text in enumerate(texts):
        if index % 2:
            yield {"type": "image"}
        elif text:
            yield _text_part(text)
