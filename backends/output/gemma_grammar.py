"""Grammar rules for values as Gemma's calls write them: bare keys, strings between marks."""

import json
import re
from collections.abc import Mapping
from typing import Any

from backends.output.lark import Lark, one_of, separated
from backends.output.values import resolved

_BARE_KEY = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_JSON_TYPES = ("integer", "number", "boolean", "null")


class GemmaValues:
    """Writes rules for values of one tool's schema."""

    def __init__(self, lark: Lark, mark: str, root: Mapping[str, Any]) -> None:
        self._lark = lark
        self._mark = mark
        self._root = root
        self._rules: dict[int, tuple[str, dict[str, Any]]] = {}
        self._any: str | None = None

    def value(self, schema: Any) -> str:
        """Return the expression of a value that `schema` allows; schemas may refer to themselves."""
        schema = resolved(schema, self._root)
        known = self._rules.get(id(schema))
        if known is not None:
            return known[0]
        name = self._lark.new_name("value")
        # The schema is kept, or its id could become another one's.
        self._rules[id(schema)] = (name, schema)
        return self._lark.define(name, self._expression(schema))

    def _expression(self, schema: dict[str, Any]) -> str:
        if "const" in schema:
            return self._lark.literal(self._shown(schema["const"]))
        if isinstance(schema.get("enum"), list):
            return one_of(self._lark.literal(self._shown(value)) for value in schema["enum"])
        for keyword in ("anyOf", "oneOf"):
            if schema.get(keyword):
                return one_of([self.value(part) for part in schema[keyword]])
        declared = schema.get("type")
        if isinstance(declared, list):
            return one_of([self._typed(kind, schema) for kind in declared])
        return self._typed(declared, schema)

    def _typed(self, kind: object, schema: dict[str, Any]) -> str:
        if kind == "string":
            return self._string()
        if kind in _JSON_TYPES:
            return self._lark.schema({**schema, "type": kind})
        if kind == "array":
            return self._array(schema)
        if kind == "object":
            return self._object(schema)
        return self._any_value()

    def _string(self) -> str:
        return f"{self._lark.literal(self._mark)} {self._lark.until(self._mark)}"

    def _array(self, schema: dict[str, Any]) -> str:
        item = self.value(schema["items"]) if isinstance(schema.get("items"), dict) else self._any_value()
        low = schema.get("minItems", 0)
        high = schema.get("maxItems")
        if high == 0:
            return '"[" "]"'
        more = f'("," {item}){{{max(0, low - 1)},{"" if high is None else max(0, high - 1)}}}'
        items = f"{item} {more}"
        return f'"[" {items if low else f"({items})?"} "]"'

    def _object(self, schema: dict[str, Any]) -> str:
        properties = schema.get("properties")
        if not isinstance(properties, dict) or not properties:
            return '"{" "}"' if schema.get("additionalProperties") is False else self._any_object()
        required = schema.get("required", [])
        items = [
            (f"{self._lark.literal(_shown_key(key) + ':')} {self.value(part)}", key in required)
            for key, part in properties.items()
        ]
        return f'"{{" {separated(self._lark, items, chr(34) + "," + chr(34))} "}}"'

    def _any_value(self) -> str:
        if self._any is None:
            name = self._any = self._lark.new_name("any")
            number = "/-?(0|[1-9][0-9]{0,15})(\\.[0-9]{1,15})?/"
            array = f'"[" ({name} ("," {name})*)? "]"'
            self._lark.define(
                name, f'{self._string()} | {number} | "true" | "false" | "null" | {array} | {self._any_object()}'
            )
        return self._any

    def _any_object(self) -> str:
        value = self._any_value()
        pair = f'/[A-Za-z_][A-Za-z0-9_]{{0,63}}/ ":" {value}'
        return f'"{{" ({pair} ("," {pair})*)? "}}"'

    def _shown(self, value: Any) -> str:
        """Return a fixed value as it is written."""
        if isinstance(value, str):
            return f"{self._mark}{value}{self._mark}"
        if isinstance(value, list):
            return f"[{','.join(map(self._shown, value))}]"
        if isinstance(value, dict):
            return "{" + ",".join(f"{_shown_key(key)}:{self._shown(item)}" for key, item in value.items()) + "}"
        return json.dumps(value)


def _shown_key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)
