"""Pictures named on the command line or in a conversation, as parts of a message; nobody looks at them here."""

import base64
import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from backends.wire.prompts import MAX_IMAGE_BYTES, image_too_large
from router.cli.client.errors import ServerAnswerError
from router.cli.terminal.context import CommandError
from router.cli.terminal.output import shown

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"})
"""Of files that are taken for pictures where nobody says that they are some."""

_WORD: Final = re.compile(r"""'[^']+'|"[^"]+"|(?:\\.|[^\s\\])+""")
"""How terminals write a file that is dropped on them: bare with escapes, or in quotes."""
_FILE_SCHEME: Final = "file://"


def data_uri(path: Path) -> str:
    """Read a file as what APIs take for a picture; the server finds out what it is.

    Raises:
        CommandError: It cannot be read, or is larger than the server takes.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_IMAGE_BYTES + 1)  # a device has no end
    except OSError as exc:
        raise CommandError(f"The image {shown(str(path))} cannot be read: {exc.strerror or exc}.", exit_code=2) from exc
    if len(data) > MAX_IMAGE_BYTES:
        raise CommandError(f"The image {shown(str(path))} cannot be used: {image_too_large()}.", exit_code=2)
    return f"data:image/*;base64,{base64.b64encode(data).decode()}"


def message_content(text: str, paths: Iterable[Path]) -> str | list[dict[str, Any]]:
    """Give a message's content: the text, behind its pictures where it has some."""
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": data_uri(path)}} for path in paths]
    return [*parts, {"type": "text", "text": text}] if parts else text


@contextlib.contextmanager
def naming_files(paths: Sequence[Path], place: str) -> Iterator[None]:
    """Name a picture that the server refuses by its file, and not by the request's field.

    Args:
        place: Path of the list that the pictures are the first of.
    """
    try:
        yield
    except ServerAnswerError as exc:
        field = re.match(re.escape(place) + r"\[(\d+)\][\w.]*: ", str(exc))
        if field is None or int(field[1]) >= len(paths):
            raise
        message = f"{paths[int(field[1])].name}: {str(exc)[field.end() :]}"
        raise ServerAnswerError(message, status=exc.status, code=exc.code) from exc


def split_paths(text: str) -> tuple[str, list[Path]]:
    """Take the pictures out of what was typed: words that are the path of a file with a picture's suffix.

    Returns:
        The text without them, and the files in their order.
    """
    paths: list[Path] = []

    def replaced(match: re.Match[str]) -> str:
        path = _image_path(match[0])
        if path is None:
            return match[0]
        paths.append(path)
        return ""

    rest = _WORD.sub(replaced, text)
    return (" ".join(rest.split()) if paths else text), paths


def _image_path(word: str) -> Path | None:
    """Give the picture that a word means, if there is one."""
    path = word[1:-1] if word[0] in "'\"" else re.sub(r"\\(.)", r"\1", word)
    if path.startswith(_FILE_SCHEME):
        path = unquote(path.removeprefix(_FILE_SCHEME))
    if Path(path).suffix.lower() not in SUFFIXES:
        return None
    try:
        found = Path(path).expanduser()
        return found if found.is_file() else None
    except (OSError, RuntimeError):  # a name too long, a home that nobody has
        return None
