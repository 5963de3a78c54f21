"""Lines of a batch, and what is known of them once they have ended. Pure. Not here: running a batch (`running.py`).

Source of the fields: docs/batches.md.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

ENDPOINT: Final = "/v1/chat/completions"
NOT_ANSWERED: Final = "not answered"


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One request of a batch.

    Attributes:
        session: The conversation that it belongs to, which one worker has; None = any worker.
        depends_on: Lines that must have been answered before; `{{NAME.output}}` in a text stands for their answers.
        fields: Others of POST /v1/chat/completions.
    """

    name: str
    messages: tuple[dict[str, str], ...]
    max_tokens: int
    session: str | None = None
    depends_on: tuple[str, ...] = ()
    fields: dict[str, Any] = {}

    def json(self, model: str) -> bytes:
        """Return it as the line of a file, without the line's end."""
        body = {"model": model, "messages": self.messages, "max_tokens": self.max_tokens, "temperature": 0}
        body |= {} if self.session is None else {"prompt_cache_key": self.session}
        line: dict[str, Any] = {"custom_id": self.name, "method": "POST", "url": ENDPOINT, "body": body | self.fields}
        line |= {"depends_on": self.depends_on} if self.depends_on else {}
        return msgspec.json.encode(line)


class LineEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a line ended.

    Attributes:
        place: In the order of the ends, from 1.
        took_s: From its start to its end, by the server; 0 = it never started.
        code: Why it was not answered; None = it was.
        pid: Of the worker that answered.
    """

    name: str
    place: int
    took_s: float
    code: str | None = None
    text: str = ""
    pid: int | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0


Ends = Mapping[str, LineEnd]


def answered_end(name: str, place: int, took_s: float, body: Mapping[str, Any]) -> LineEnd:
    """Return the end of a line that was answered.

    Args:
        body: Of the answer.
    """
    usage, timings = body["usage"], body["timings"]
    return LineEnd(
        name=name,
        place=place,
        took_s=took_s,
        text=body["choices"][0]["message"]["content"] or "",
        pid=(timings["worker"] or {}).get("pid"),
        prompt_tokens=usage["prompt_tokens"],
        cached_tokens=timings["cache_n"],
        output_tokens=usage["completion_tokens"],
    )


def critical_path(lines: Sequence[Line], ends: Ends) -> tuple[float, tuple[str, ...]]:
    """Return how long the longest chain of lines that wait for each other took, in seconds, and its lines.

    No batch can be done sooner, however many workers there are. Lines that never started are none of it.

    Args:
        lines: Without circles, in any order.
    """
    by_name = {line.name: line for line in lines}
    longest: dict[str, tuple[float, tuple[str, ...]]] = {}

    def path_to(name: str) -> tuple[float, tuple[str, ...]]:
        if name not in longest:
            took_s = ends[name].took_s if name in ends else 0.0
            before_s, before = max((path_to(other) for other in by_name[name].depends_on), default=(0.0, ()))
            longest[name] = (before_s + took_s, (*before, name)) if took_s else (before_s, before)
        return longest[name]

    return max((path_to(line.name) for line in lines), default=(0.0, ()))


def too_early(lines: Sequence[Line], ends: Ends) -> list[str]:
    """Return the lines that were answered before one that they depend on.

    One that is given up waits for nobody any more.
    """
    answered = [(line, ends[line.name]) for line in lines if line.name in ends and ends[line.name].code is None]
    return [
        line.name
        for line, end in answered
        if any(other not in ends or ends[other].place > end.place for other in line.depends_on)
    ]
