"""Reads a systemd unit by systemd's own rules of quoting, for tests. Source: systemd.syntax(7), systemd.service(5)."""

import dataclasses
import re
import shlex
from pathlib import Path
from typing import Self

_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
_NAMED = {"n": "\n", "t": "\t", "r": "\r", "s": " ", "\\": "\\", '"': '"', "'": "'"}
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|\'((?:[^\'\\]|\\.)*)\'|(\S+)', re.DOTALL)


@dataclasses.dataclass(frozen=True)
class UnitFile:
    """A unit's settings, as they are written."""

    settings: dict[str, list[str]]

    @classmethod
    def read(cls, path: Path) -> Self:
        settings: dict[str, list[str]] = {}
        for line in path.read_text(encoding="utf-8").splitlines():
            if line and line[0] not in "#;[":
                name, _, value = line.partition("=")
                settings.setdefault(name, []).append(value)
        return cls(settings)

    def text(self, name: str, default: str = "") -> str:
        return self.settings.get(name, [default])[-1]

    def seconds(self, name: str) -> float:
        return float(self.text(name, "0"))

    def command(self, name: str = "ExecStart", **specials: str) -> list[str]:
        """Give a command's words; `$NAME` stands for a special, as `$MAINPID`."""
        words = [_specified(word) for word in _words(self.text(name))]
        known = {f"${key}": value for key, value in specials.items()}
        return [known.get(word, word).replace("$$", "$") for word in words]

    def environment(self) -> dict[str, str]:
        pairs = [_specified(word) for value in self.settings.get("Environment", []) for word in _words(value)]
        found = dict(pair.split("=", 1) for pair in pairs)
        for value in self.settings.get("EnvironmentFile", []):
            file = Path(_specified(value.removeprefix("-")))
            assert file.exists() or value.startswith("-")
            lines = file.read_text().splitlines() if file.exists() else []
            found |= dict(shlex.split(line)[0].split("=", 1) for line in lines if line and line[0] not in "#;")
        return found


def _words(value: str) -> list[str]:
    words = []
    for double, single, bare in _WORD.findall(value):
        quoted = double or single
        words.append(_ESCAPE.sub(_unescaped, quoted) if quoted or not bare else bare)
    return words


def _unescaped(found: re.Match[str]) -> str:
    code = found.group(1)
    return chr(int(code[1:], 16)) if len(code) > 1 else _NAMED[code]


def _specified(word: str) -> str:
    assert not re.search(r"(?<!%)%(%%)*(?!%)", word), f"a specifier in {word}"
    return word.replace("%%", "%")
