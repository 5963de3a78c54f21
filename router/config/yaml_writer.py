"""Plain values -> YAML text that `yaml_text.parse` reads back unchanged. For files that people edit.

Texts of several lines become blocks, so that prompts and templates can be read. Not here: editing a file in place
(`edit.py`).
"""

import io
import re
from collections.abc import Mapping
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.representer import RoundTripRepresenter

_WORD: Final = re.compile(r"[a-z][A-Za-z0-9_]*", re.ASCII)
_BLOCK: Final = re.compile(
    r"[^\x00-\x09\x0b-\x1f\x7f-\xa0\u2028\u2029\ud800-\uf8ff\ufeff\ufffe\uffff\U00010000-\U0010ffff]+"
)
"""Text that may stand in a block as it is: line feeds and printable characters. Anything else is escaped in quotes."""


class _Representer(RoundTripRepresenter):
    """Chooses the style of a text itself: the library writes some texts in styles in which they read back otherwise."""

    def represent_text(self, text: str) -> Any:
        style = '"'
        if _WORD.fullmatch(text):
            style = ""  # quoted all the same where it would mean something else
        elif "\n" in text[:-1] and text.strip("\n") and _BLOCK.fullmatch(text):
            style = "|"
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    def represent_null(self, _value: None) -> Any:
        return self.represent_scalar("tag:yaml.org,2002:null", "null")


_Representer.add_representer(str, _Representer.represent_text)
_Representer.add_representer(type(None), _Representer.represent_null)


def dump(value: Mapping[str, Any]) -> str:
    """Write a mapping of text, numbers, booleans, None, and lists and mappings of these; keys are text."""
    yaml = YAML(typ="rt", pure=True)
    yaml.Representer = _Representer
    yaml.width = 1 << 30  # never wrap a line
    out = io.StringIO()
    yaml.dump(value, out)
    return out.getvalue()
