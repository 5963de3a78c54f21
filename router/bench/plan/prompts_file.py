"""The user's own prompts, from a file: one prompt a line as JSON, or one text. Pure but for reading the file.

A file whose name ends in `.jsonl` or `.ndjson` has one JSON value a line: a text, or an object with `prompt` (a text)
or `messages` (a conversation), and perhaps `max_tokens`. Any other file is one prompt, or several that lines of `---`
part.
"""

import json
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from router.errors import BenchError

MAX_FILE_BYTES: Final = 4 << 20
MAX_PROMPTS: Final = 64
_JSON_SUFFIXES: Final = frozenset({".jsonl", ".ndjson"})


class UserPrompt(msgspec.Struct, frozen=True, kw_only=True):
    """One prompt of the user's.

    Attributes:
        max_tokens: Of its answer; None = as the command says.
    """

    messages: tuple[dict[str, str], ...]
    max_tokens: int | None = None


class _Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    role: Literal["system", "user", "assistant"]
    content: Annotated[str, Meta(min_length=1)]


class _Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    prompt: Annotated[str, Meta(min_length=1)] | None = None
    messages: Annotated[tuple[_Message, ...], Meta(min_length=1)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=100_000)] | None = None


def read_prompts(path: Path) -> tuple[UserPrompt, ...]:
    """Read a file of prompts.

    Raises:
        BenchError: It cannot be read, has none or too many, or a line is not understood; the text names the line.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise BenchError(f"{path}: cannot be read: {exc.strerror}.") from exc
    if len(raw) > MAX_FILE_BYTES:
        raise BenchError(f"{path}: has more than {MAX_FILE_BYTES >> 20} MiB; give a smaller file of prompts.")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise BenchError(f"{path}: is no UTF-8 text (byte {exc.start}).") from exc
    prompts = _of_lines(path, text) if path.suffix.lower() in _JSON_SUFFIXES else _of_text(text)
    if not prompts:
        raise BenchError(f"{path}: there is no prompt in it.")
    if len(prompts) > MAX_PROMPTS:
        raise BenchError(f"{path}: has {len(prompts)} prompts; the limit is {MAX_PROMPTS}.")
    return prompts


def _of_text(text: str) -> tuple[UserPrompt, ...]:
    parts: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.strip() == "---":
            parts.append([])
        else:
            parts[-1].append(line)
    texts = ["\n".join(part).strip() for part in parts]
    return tuple(_asked(text) for text in texts if text)


def _of_lines(path: Path, text: str) -> tuple[UserPrompt, ...]:
    lines = enumerate(text.split("\n"), start=1)
    return tuple(_of_line(path, number, line) for number, line in lines if line.strip())


def _of_line(path: Path, number: int, text: str) -> UserPrompt:
    where = f"{path}, line {number}"
    try:
        value = json.loads(text)
    except ValueError as exc:
        raise BenchError(f"{where}: no JSON ({exc}).") from exc
    if isinstance(value, str) and value.strip():
        return _asked(value)
    try:
        line = msgspec.convert(value, _Line)
    except msgspec.ValidationError as exc:
        raise BenchError(f"{where}: {exc}; give a text, or an object with `prompt` or `messages`.") from exc
    if (line.prompt is None) == (line.messages is None):
        raise BenchError(f"{where}: give either `prompt` or `messages`.")
    if line.prompt is not None:
        return msgspec.structs.replace(_asked(line.prompt), max_tokens=line.max_tokens)
    assert line.messages is not None
    if line.messages[-1].role != "user":
        raise BenchError(f"{where}: the last message must be the user's.")
    messages = tuple({"role": message.role, "content": message.content} for message in line.messages)
    return UserPrompt(messages=messages, max_tokens=line.max_tokens)


def _asked(text: str) -> UserPrompt:
    return UserPrompt(messages=({"role": "user", "content": text},))
