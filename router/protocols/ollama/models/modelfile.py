"""Ollama's recipe for a model, read and written: FROM, PARAMETER, SYSTEM, TEMPLATE, ADAPTER, MESSAGE, LICENSE. Pure.

Not here: what becomes of it (`recipe`); nothing that a line names is opened.

Source: ollama, `docs/modelfile.md` ("Format") and `parser/parser.go` (quotes, comments, which lines may repeat).
"""

import json
from typing import Any, Final

from registry.catalogue import Artifact, Model
from registry.hub.ollama.parameters import SETTINGS
from registry.settings import ModelSettings
from router.errors import InvalidRequestError
from router.protocols.ollama.models.schemas import CreateMessage, RecipeParts
from router.protocols.ollama.names import display_name

MAX_MODELFILE_BYTES: Final = 1 << 20
"""Texts of its parts are held to the limits of settings, which are smaller."""

_ROLES: Final = ("system", "user", "assistant")
_REPEATED: Final = frozenset({"stop"})
_MOST_SOURCES: Final = 2
_MULTILINE: Final = '"""'


class Modelfile(RecipeParts, frozen=True, kw_only=True):
    """What the lines say: of several SYSTEM and TEMPLATE the last one, of the others all of them, in order.

    Attributes:
        source: FROM: a model's name, a path or `@sha256:DIGEST`.
        projector: A second FROM: the vision projector beside a GGUF file, a path or `@sha256:DIGEST`.
    """

    source: str
    projector: str | None = None


def parse_modelfile(text: str) -> Modelfile:
    """Read a recipe.

    Raises:
        InvalidRequestError: A line is none of a Modelfile; the message has its number.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_MODELFILE_BYTES:
        raise _error(1, f"the Modelfile is larger than {MAX_MODELFILE_BYTES} bytes")
    reader = _Reader(text)
    while (line := reader.next_command()) is not None:
        reader.take(*line)
    return reader.result()


def parameters_of(settings: ModelSettings) -> list[tuple[str, str]]:
    """Return a model's settings as parameters: name and value, texts in quotes."""
    pairs = []
    for name, setting in SETTINGS.items():
        value = getattr(settings, setting)
        values = value if isinstance(value, tuple) else () if value is None else (value,)
        pairs += [(name, json.dumps(each, ensure_ascii=False)) for each in values]
    return pairs


def modelfile_of(model: Model, artifact: Artifact) -> str:
    """Return a Modelfile that makes this model of its file."""
    settings = model.settings
    lines = [
        "# Modelfile written by mlxr",
        "# To build a new one on this, replace FROM with:",
        f"# FROM {display_name(model.name)}",
        "",
        f"FROM {artifact.path}",
        *([] if artifact.mmproj_path is None else [f"FROM {artifact.mmproj_path}"]),
    ]
    for keyword, text in (("TEMPLATE", settings.template), ("SYSTEM", settings.system)):
        lines += [] if text is None else [f"{keyword} {_quoted(text)}"]
    lines += [f"PARAMETER {name} {value}" for name, value in parameters_of(settings)]
    lines += [f"MESSAGE {message.role} {_quoted(message.content)}" for message in settings.messages or ()]
    lines += [] if settings.license is None else [f"LICENSE {_quoted(settings.license)}"]
    return "\n".join(lines) + "\n"


class _Reader:
    """Goes through the lines once."""

    def __init__(self, text: str) -> None:
        # Other ends of lines, such as form feeds, belong to the texts.
        self._lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
        self._at = 0
        self._sources: list[str] = []
        self._parts: dict[str, Any] = {"parameters": {}, "adapters": {}, "messages": [], "license": []}

    def next_command(self) -> tuple[int, str, str] | None:
        """Give number, command and the rest of the next line that has one."""
        while self._at < len(self._lines):
            # What ends the line may belong to a text of several lines.
            line = self._lines[self._at].lstrip()
            self._at += 1
            if line and not line.startswith("#"):
                command, rest = _split(line)
                return self._at, command.lower(), rest
        return None

    def take(self, number: int, command: str, rest: str) -> None:
        """Take in a command with its value, which may go on over further lines."""
        match command:
            case "from":
                if len(self._sources) == _MOST_SOURCES:
                    raise _error(
                        number, "there is a third FROM; a GGUF file, perhaps with its projector, is what is read"
                    )
                self._sources.append(self._value(number, rest))
            case "parameter":
                name, value = _split(rest)
                self._take_parameter(number, name.lower(), self._value(number, value))
            case "system" | "template":
                self._parts[command] = self._value(number, rest)
            case "adapter":
                adapters = self._parts["adapters"]
                adapters[str(len(adapters))] = self._value(number, rest)
            case "message":
                role, content = _split(rest)
                if role.lower() not in _ROLES:
                    raise _error(number, f"MESSAGE needs a role of {', '.join(_ROLES)}; there is {role[:40]!a}")
                self._parts["messages"].append(CreateMessage(role=role.lower(), content=self._value(number, content)))
            case "license":
                self._parts["license"].append(self._value(number, rest))
            case _:
                raise _error(
                    number,
                    f"{command[:40]!a} is no command; there are FROM, PARAMETER, SYSTEM, TEMPLATE, ADAPTER, MESSAGE "
                    "and LICENSE. A text over several lines stands between three quotation marks",
                )

    def result(self) -> Modelfile:
        """Give what was read."""
        if not self._sources:
            raise InvalidRequestError("The Modelfile has no FROM line: write FROM and a model's name.", "modelfile")
        source, *projector = self._sources
        return Modelfile(source=source, projector=next(iter(projector), None), **self._parts)

    def _take_parameter(self, number: int, name: str, value: str) -> None:
        if not name:
            raise _error(number, "PARAMETER needs a name and a value")
        if name in _REPEATED:
            self._parts["parameters"].setdefault(name, []).append(value)
        else:
            self._parts["parameters"][name] = value

    def _value(self, number: int, first: str) -> str:
        """Read a value to its closing quotes, which may stand some lines further down."""
        mark = next((mark for mark in (_MULTILINE, '"') if first.startswith(mark)), None)
        if mark is None:
            if not first:
                raise _error(number, "the value is missing")
            return first.rstrip()
        lines = [first[len(mark) :]]
        while not lines[-1].rstrip().endswith(mark):
            if self._at == len(self._lines):
                raise _error(number, f"the text that begins with {mark} does not end")
            lines.append(self._lines[self._at])
            self._at += 1
        lines[-1] = lines[-1].rstrip().removesuffix(mark)
        return "\n".join(lines)


def _split(text: str) -> tuple[str, str]:
    parts = text.split(maxsplit=1)
    return (parts[0] if parts else "", parts[1] if len(parts) > 1 else "")


def _error(number: int, problem: str) -> InvalidRequestError:
    return InvalidRequestError(f"Modelfile, line {number}: {problem}.", "modelfile")


def _quoted(text: str) -> str:
    return f'"""{text}"""' if '"' in text or "\n" in text else f'"{text}"'
