"""Builds the text of an llguidance grammar, rule by rule.

Source: llguidance, docs/syntax.md: rules are lower case, terminals upper case; `<[ID]>` is a token by its id.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from backends.constraints.grammar import inline_schema

_PARAM = "tools"


class Lark:
    """Collects rules; expressions are texts of the grammar's language.

    Args:
        control_ids: Texts of control tokens that are to be written as such -> their ids.
    """

    def __init__(self, control_ids: Mapping[str, int]) -> None:
        self._control_ids = control_ids
        controls = sorted(control_ids, key=len, reverse=True)
        self._controls = re.compile(f"({'|'.join(map(re.escape, controls))})") if controls else None
        self._rules: list[str] = []
        self._num_named = 0

    def text(self) -> str:
        """Return the grammar."""
        return "\n".join(self._rules) + "\n"

    def define(self, name: str, expression: str) -> str:
        """Add a rule; return its name."""
        self._rules.append(f"{name}: {expression}")
        return name

    def new_name(self, stem: str) -> str:
        """Return a rule's name that is not taken."""
        self._num_named += 1
        return f"{stem}_{self._num_named}"

    def rule(self, expression: str, stem: str = "r") -> str:
        """Add a rule with a name of its own; return the name."""
        return self.define(self.new_name(stem), expression)

    def literal(self, text: str) -> str:
        """Return the expression of `text`, in which control tokens stand by their ids."""
        parts = self._controls.split(text) if self._controls else [text]
        shown = (
            f"<[{self._control_ids[part]}]>" if part in self._control_ids else json.dumps(part, ensure_ascii=False)
            for part in parts
            if part
        )
        return " ".join(shown)

    def schema(self, schema: Mapping[str, Any], root: Mapping[str, Any] | None = None) -> str:
        """Return the expression of JSON that `schema` allows.

        Args:
            schema: All of it, or a part of `root`.
        """
        whole = dict(schema)
        for key in ("$defs", "definitions"):
            if root is not None and key in root and key not in whole:
                whole[key] = root[key]
        return self.rule(inline_schema(whole, param=_PARAM), "json")

    def until(self, close: str) -> str:
        """Return the expression of any text that ends with its first `close`."""
        if close in self._control_ids:
            # The characters of a tag are not the tag's token: neither may stand in the text.
            terminal = self.new_name("TEXT").upper()
            pattern = "".join(f"\\x{{{ord(char):x}}}" for char in close)
            self.define(terminal, f"/(?s:.*)/ & ~/(?s:.*){pattern}(?s:.*)/")
            return f"{terminal} {self.literal(close)}"
        name = self.new_name("text")
        self.define(f"{name}[lazy]", f"/(?s:.)*/ {json.dumps(close, ensure_ascii=False)}")
        return name


def one_of(expressions: Iterable[str]) -> str:
    """Return the expression of one of several."""
    return f"({' | '.join(expressions)})"


def separated(lark: Lark, items: list[tuple[str, bool]], separator: str) -> str:
    """Return the expression of items in order with a separator between those that are there.

    Args:
        lark: Gets rules, twice as many as there are items.
        items: Expression of each, and whether it must be there.
    """
    first, rest = '""', '""'
    for expression, is_required in reversed(items):
        following = f"{separator} {expression} {rest}"
        leading = f"{expression} {rest}"
        first = lark.rule(leading if is_required else f"{leading} | {first}", "first")
        rest = lark.rule(following if is_required else f"{following} | {rest}", "rest")
    return first
