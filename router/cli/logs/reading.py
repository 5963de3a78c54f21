"""`mlxr logs`: the server's log, its last lines and what comes. Not here: how it is written (`writing`)."""

import os
import time
from collections import deque
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO, Final

import click
import msgspec

from router.cli.terminal.context import CommandError, current_paths
from router.cli.terminal.output import shown
from router.cli.terminal.verbs import option, verb

POLL_S: Final = 0.25
_MAX_LINES: Final = 1_000_000
_BLOCK_BYTES: Final = 1 << 16


@verb
@option("--follow", "-f", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@option("--json", "as_json", is_flag=True, help="One JSON object a line, whatever logging.format says.")
@option("--lines", "-n", type=click.IntRange(0, _MAX_LINES), default=50, help="How many of the last lines.")
def logs(follow: bool, as_json: bool, lines: int) -> None:
    """Show the server's log.

    Examples: `mlxr logs`, `mlxr logs -f`, `mlxr logs --json -n 1000`.
    """
    path = current_paths().log_file
    if not path.exists() and not follow:
        raise CommandError(f"There is no log yet: {path}. `mlxr serve` writes it, where logging.file is true.")
    end = 0
    if path.exists():
        last, end = last_lines(path, lines)
        for line in last:
            _print(line, as_json=as_json)
    if follow:
        for line in following(path, end):
            _print(line, as_json=as_json)


def last_lines(path: Path, num_lines: int) -> tuple[list[str], int]:
    """Return the last lines that are complete, also of files that were put aside; and where they end in the file."""
    with path.open("rb") as file:
        found, end = _tail(file, num_lines)
    number = 1
    while len(found) < num_lines and (older := path.with_name(f"{path.name}.{number}")).exists():
        with older.open("rb") as file:
            found = _tail(file, num_lines - len(found))[0] + found
        number += 1
    return [line.decode("utf-8", "backslashreplace") for line in found], end


def _tail(file: IO[bytes], num_lines: int) -> tuple[list[bytes], int]:
    """Read from the end, block by block, as much as has the lines."""
    position = size = file.seek(0, os.SEEK_END)
    blocks: deque[bytes] = deque()
    num_ends = 0
    while position > 0 and num_ends <= num_lines:
        num_bytes = min(position, _BLOCK_BYTES)
        position -= num_bytes
        file.seek(position)
        blocks.appendleft(file.read(num_bytes))
        num_ends += blocks[0].count(b"\n")
    whole, ending, rest = b"".join(blocks).rpartition(b"\n")
    lines = whole.split(b"\n") if ending else []
    return lines[len(lines) - num_lines :] if num_lines < len(lines) else lines, size - len(rest)


def following(path: Path, position: int) -> Generator[str, None, None]:
    """Yield the lines that come after a position, also into the file that takes its place; for ever."""
    while True:
        if path.exists():
            with path.open("rb") as file:
                file.seek(position)
                yield from _lines_until_changed(path, file)
            position = 0
        else:
            time.sleep(POLL_S)


def _lines_until_changed(path: Path, file: IO[bytes]) -> Iterator[str]:
    rest = b""
    while True:
        data = file.read()
        if data:
            *lines, rest = (rest + data).split(b"\n")
            yield from (line.decode("utf-8", "backslashreplace") for line in lines)
        elif _has_changed(path, file):
            return
        else:
            time.sleep(POLL_S)


def _has_changed(path: Path, file: IO[bytes]) -> bool:
    """Tell whether the name means another file by now, or the same one was cut."""
    opened = os.fstat(file.fileno())
    try:
        named = path.stat()
    except FileNotFoundError:
        return False  # it may come again: what the old one still gets is shown until then
    return (named.st_dev, named.st_ino) != (opened.st_dev, opened.st_ino) or named.st_size < file.tell()


def _print(line: str, *, as_json: bool) -> None:
    entry = _entry(line)
    if as_json:
        text = msgspec.json.encode({"message": line} if entry is None else entry).decode()
        print(text, flush=True)
    else:
        print(shown(line if entry is None else _sentence(entry)), flush=True)


def _entry(line: str) -> dict[str, object] | None:
    """Return what a line of JSON says; None where it is text."""
    try:
        return msgspec.json.decode(line, type=dict[str, object])
    except (msgspec.DecodeError, ValueError):
        return None


def _sentence(entry: dict[str, object]) -> str:
    """Write an entry of JSON as the text form of the log has it."""
    at = entry.get("time")
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at)) if isinstance(at, int | float) else "-"
    head = f"{stamp} {str(entry.get('level', '-')).upper()} {entry.get('logger', '-')}: "
    about = f"[{entry['request_id']}] " if "request_id" in entry and "http" not in entry else ""
    tail = f" | {entry['exception']}".replace("\n", " | ") if "exception" in entry else ""
    return f"{head}{about}{entry.get('message', '')}{tail}"
