"""Messages as the text that a summariser reads: who said what. Pure.

Thoughts are not in it, pictures are mentions, and of long results the middle is missing.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from backends.wire.prompts import ContentPart, ImagePart, PromptMessage

_MAX_RESULT_CHARS: Final = 2000
"""Of a tool's result; files and logs say what they are at their beginning and their end."""
_MIN_PIECE_CHARS: Final = 200
_MARGIN: Final = 0.9
"""Of the room that is used: how many tokens a text has is worked out, not counted."""
_encode = msgspec.json.Encoder(order="sorted").encode


def transcripts_of(
    messages: Sequence[PromptMessage], told: Sequence[int], sizes: Sequence[int], max_tokens: int
) -> list[str]:
    """Return what is told in texts of at most so many tokens each, in order; a message that is longer alone is cut.

    Args:
        told: Indexes of the messages.
        sizes: Tokens of each message, by its index.
        max_tokens: >= 1.
    """
    texts: list[str] = []
    gathered, taken = "", 0.0
    for at in told:
        for text, tokens in _pieces(messages[at], sizes[at], max_tokens * _MARGIN):
            if gathered and taken + tokens > max_tokens * _MARGIN:
                texts.append(gathered)
                gathered, taken = "", 0.0
            gathered, taken = f"{gathered}\n{text}" if gathered else text, taken + tokens
    return [*texts, gathered] if gathered else texts


def transcript_of(message: PromptMessage) -> str:
    """Return one message."""
    text = mentioned(message["content"])
    if message["role"] == "tool":
        text = _without_middle(text)
    calls = [call.get("function", {}) for call in message.get("tool_calls") or []]
    told = [f"[calls {call.get('name')} {_encode(call.get('arguments')).decode()}]" for call in calls]
    return "\n".join(filter(None, [f"[{_speaker(message)}]", text, *(_without_middle(each) for each in told)]))


def mentioned(content: str | list[ContentPart] | None) -> str:
    """Return a message's texts with a mention in the place of each picture."""
    parts = content if isinstance(content, list) else [content or ""]
    return "\n".join(filter(None, map(_mention, parts)))


def _mention(part: str | ContentPart) -> str:
    if isinstance(part, ImagePart):
        return f"[image: {_image_kind(part.data)}, {max(1, len(part.data) >> 10)} KiB]"
    return part if isinstance(part, str) else part.text


def _image_kind(data: bytes) -> str:
    """Source: the signatures of the formats that requests may have."""
    if data[8:12] == b"WEBP":
        return "WEBP"
    kinds = {b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF8": "GIF", b"BM": "BMP"}
    return next((kind for begin, kind in kinds.items() if data.startswith(begin)), "picture")


def _speaker(message: PromptMessage) -> str:
    role = "result" if message["role"] == "tool" else message["role"]
    name = message.get("name")
    return f"{role} {name}" if name else role


def _without_middle(text: str) -> str:
    if len(text) <= _MAX_RESULT_CHARS:
        return text
    end = _MAX_RESULT_CHARS // 3
    begin = _MAX_RESULT_CHARS - end
    return f"{text[:begin]}\n[... {len(text) - _MAX_RESULT_CHARS} characters ...]\n{text[-end:]}"


def _pieces(message: PromptMessage, size: int, max_tokens: float) -> Iterator[tuple[str, float]]:
    """Yield a message in texts of at most so many tokens, each with how many that is."""
    text = transcript_of(message)
    rate = size / max(len(text), _num_chars(message))
    num_chars = max(int(max_tokens / rate) if rate else len(text), _MIN_PIECE_CHARS)
    for number, piece in enumerate(_cut(text, num_chars)):
        yield piece if not number else f"[{_speaker(message)}, going on]\n{piece}", len(piece) * rate


def _cut(text: str, num_chars: int) -> Iterator[str]:
    """Yield a text in parts of at most so many characters, cut between lines, sentences or words where it has them."""
    begin = 0
    while len(text) - begin > num_chars:
        end = begin + num_chars
        borders = ((border, text.rfind(border, begin + num_chars // 2, end)) for border in ("\n", ". ", " "))
        end = next((at + len(border) for border, at in borders if at >= 0), end)
        yield text[begin:end]
        begin = end
    yield text[begin:]


def _num_chars(message: PromptMessage) -> int:
    """Return how much of a message the model is shown, thoughts and whole results too."""
    calls = sum(len(_encode(call.get("function"))) for call in message.get("tool_calls") or [])
    return len(mentioned(message["content"])) + len(message.get("reasoning_content", "")) + calls
