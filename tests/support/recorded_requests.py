"""Requests of coding agents as they were recorded: long texts are replaced by their lengths, ids by zeros.

`make agents` records them: the first of a task, and the third, behind a file read and another written.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

RECORDED: Final = Path(__file__).parents[1] / "router" / "protocols" / "recorded"
_LENGTH: Final = re.compile(r"<(\d+) characters>")


class RecordedRequest(NamedTuple):
    """One request.

    Attributes:
        name: Of the client, its version, and `-third` where it is that one.
    """

    name: str
    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def client(self) -> str:
        """Whose it is."""
        return re.split(r"-\d", self.name)[0]


def recorded_requests() -> Iterator[RecordedRequest]:
    """Read all of them, as they lie."""
    for path in sorted(RECORDED.glob("*.json")):
        yield RecordedRequest(path.stem, **msgspec.json.decode(path.read_bytes()))


def restored(value: Any, most_characters: int | None = None) -> Any:
    """Return a recorded value with texts of the lengths that it had, or of so many characters at most."""
    match value:
        case str():
            found = _LENGTH.fullmatch(value)
            if found is None:
                return value
            length = int(found[1]) if most_characters is None else min(int(found[1]), most_characters)
            return ("word " * length)[:length]
        case dict():
            return {key: restored(item, most_characters) for key, item in value.items()}
        case list():
            return [restored(item, most_characters) for item in value]
        case _:
            return value
