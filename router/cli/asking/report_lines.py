"""Reports as lines of JSON: printed, or added to a file with which an interrupted work goes on."""

import contextlib
import os
from pathlib import Path
from typing import BinaryIO, Self

import msgspec

from router.cli.terminal.context import CommandError
from router.cli.terminal.output import shown
from router.protocols.answers import SeenImage
from router.protocols.fields.json_types import JSONValue


class ReportLine(msgspec.Struct, frozen=True, kw_only=True):
    """The report of one picture.

    Attributes:
        images: What the model was shown.
        sha256: Of the picture's file.
        asked: Hash of the question: schema, prompt, model and sizes.
    """

    file: str
    report: JSONValue
    images: list[SeenImage]
    model: str
    sha256: str
    asked: str


class ReportLines:
    """Where the lines go; used in a `with`.

    Args:
        path: The file that they are added to; None = they are printed.
        asked: Hash of the question that they answer.

    Raises:
        CommandError: The file cannot be used, or has answers to another question.
    """

    def __init__(self, path: Path | None, asked: str) -> None:
        self._path = path
        self._asked = asked
        self._file: BinaryIO | None = None
        self._known: set[tuple[str, str]] = set()

    def __enter__(self) -> Self:
        if self._path is None:
            return self
        with contextlib.ExitStack() as stack:
            try:
                self._file = stack.enter_context(self._path.open("a+b"))
            except OSError as exc:
                problem = f"{shown(self._path)} cannot be written: {exc.strerror or exc}."
                raise CommandError(problem, exit_code=2) from exc
            self._take_up(self._file, self._path)
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def has(self, name: str, sha256: str) -> bool:
        """Tell whether there is a report of a picture, as it is now."""
        return (name, sha256) in self._known

    def add(self, line: ReportLine) -> None:
        """Write a line; in a file it is safe when this returns."""
        data = msgspec.json.encode(line) + b"\n"
        if self._file is None:
            print(data.decode(), end="", flush=True)
            return
        self._file.write(data)
        self._file.flush()
        os.fsync(self._file.fileno())

    def _take_up(self, file: BinaryIO, path: Path) -> None:
        """Read what is there; a last line that was cut in the middle goes."""
        file.seek(0)
        end = 0
        for data in file:
            if not data.endswith(b"\n"):
                break
            try:
                line = msgspec.json.decode(data, type=ReportLine)
            except msgspec.DecodeError as exc:
                problem = f"{shown(path)} has a line that is no report ({exc}); name another file."
                raise CommandError(problem, exit_code=2) from exc
            if line.asked != self._asked:
                problem = f"{shown(path)} has reports of another schema, prompt, model or size; name another file."
                raise CommandError(problem, exit_code=2)
            end += len(data)
            self._known.add((line.file, line.sha256))
        file.truncate(end)
