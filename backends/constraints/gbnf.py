"""llama.cpp's grammar notation (GBNF) turned into the Lark dialect that llguidance compiles.

Not llguidance's own converter: that one recurses, renames rules into each other and reads escapes in classes wrongly.
This one is linear in the text, has no recursion, and names the line at fault.

Source: llama.cpp, grammars/README.md and src/llama-grammar.cpp (`llama_grammar_parser`).
"""

import contextlib
import dataclasses
import graphlib
import itertools
import json
import re
import sys
from collections.abc import Iterator
from typing import NamedTuple

from backends.constraints.limits import MAX_PAREN_DEPTH, MAX_REPETITION, check_size
from backends.errors import ConstraintError

_TOKEN = re.compile(
    r"""(?P<skip>(?:[ \t\r\n]+|\#[^\r\n]*)+)
    |(?P<define>::=)
    |(?P<name>[A-Za-z0-9_-]+)
    |(?P<literal>"(?:[^"\\]|\\.)*")
    |(?P<class>\[(?:[^\]\\]|\\.)*\])
    |(?P<any>\.)
    |(?P<repeat>[*+?]|\{[ \t\r\n]*\d{1,20}[ \t\r\n]*(?:,[ \t\r\n]*(?:\d{1,20})?[ \t\r\n]*)?\})
    |(?P<mark>[()|])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))|([^\\])", re.DOTALL)
_SIMPLE_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "[": "[", "]": "]"}
_LEVELS_IN_A_RULE = 8
_SURROGATES = range(0xD800, 0xE000)


class _Token(NamedTuple):
    kind: str
    text: str
    offset: int


class _Ref(NamedTuple):
    name: str
    offset: int


_Tree = list["str | _Ref | _Tree"]
"""Text of a rule's right side, in order; nested so that wrapping something never copies it."""


@dataclasses.dataclass(slots=True)
class _Group:
    """An open parenthesis, or a whole rule."""

    alternatives: list[_Tree] = dataclasses.field(default_factory=lambda: [[]])
    depths: list[int] = dataclasses.field(default_factory=lambda: [0])

    def add(self, item: _Tree, depth: int) -> None:
        self.alternatives[-1].append(item)
        self.depths.append(depth)

    def tree(self) -> _Tree:
        result: _Tree = []
        for index, alternative in enumerate(self.alternatives):
            if index:
                result.append(" | ")
            result.append(alternative or '""')
        return result


def lark_from_gbnf(text: str, *, param: str) -> str:
    """Return the same grammar in Lark's notation, with the start rule `start`.

    Rules that need no recursion become terminals, so that a grammar without any is matched exactly like a regular
    expression.

    Args:
        text: GBNF with a rule `root`.
    """
    check_size(text, param=param)
    return _Converter(text, param).lark()


class _Converter:
    def __init__(self, text: str, param: str) -> None:
        self._text = text
        self._param = param
        self._parts: dict[str, _Tree] = {}

    def lark(self) -> str:
        trees = self._rules()
        rules = {name: list(_flat(tree)) for name, tree in (trees | self._parts).items()}
        if "root" not in rules:
            raise ConstraintError(f"{self._param} has no rule named root", param=self._param)
        refs = {name: [part for part in parts if isinstance(part, _Ref)] for name, parts in rules.items()}
        for ref in (ref for found in refs.values() for ref in found):
            if ref.name not in rules:
                raise self._error(f"rule {ref.name!r} is not defined", ref.offset)
        terminals = _without_recursion({name: {ref.name for ref in found} for name, found in refs.items()})
        new_names = {name: f"{'T' if name in terminals else 'r'}{index}" for index, name in enumerate(rules)}
        lines = [f"start: {new_names['root']}"]
        for name, parts in rules.items():
            body = "".join(new_names[part.name] if isinstance(part, _Ref) else part for part in parts)
            lines.append(f"{new_names[name]}: {body}")
        return "\n".join(lines) + "\n"

    def _rules(self) -> dict[str, _Tree]:
        rules: dict[str, _Tree] = {}
        tokens = list(self._tokens())
        starts = [i for i, token in enumerate(tokens[:-1]) if token.kind == "name" and tokens[i + 1].kind == "define"]
        if tokens and (not starts or starts[0] != 0):
            raise self._error("expected `name ::=`", tokens[0].offset)
        for start, end in itertools.pairwise([*starts, len(tokens)]):
            name = tokens[start].text
            if name in rules:
                raise self._error(f"rule {name!r} is defined twice", tokens[start].offset)
            rules[name] = self._alternatives(tokens[start + 2 : end], tokens[start].offset)
        return rules

    def _tokens(self) -> Iterator[_Token]:
        offset = 0
        while offset < len(self._text):
            match = _TOKEN.match(self._text, offset)
            if match is None:
                raise self._error("cannot be read", offset)
            if match.lastgroup != "skip":
                yield _Token(match.lastgroup or "", match.group(), offset)
            offset = match.end()

    def _alternatives(self, tokens: list[_Token], start: int) -> _Tree:
        open_groups = [_Group()]
        for token in tokens:
            group = open_groups[-1]
            if token.text == "(":
                if len(open_groups) > MAX_PAREN_DEPTH:
                    raise self._too_deep(token.offset)
                open_groups.append(_Group())
            elif token.text == ")":
                if len(open_groups) == 1:
                    raise self._error("`)` without `(`", token.offset)
                open_groups.pop()
                depth = max(group.depths) + 1
                open_groups[-1].add(self._apart([" (", group.tree(), ")"], depth, token.offset), depth)
            elif token.text == "|":
                group.alternatives.append([])
            elif token.kind == "repeat":
                self._repeat(group, token)
            else:
                group.add(self._item(token), 0)
        if len(open_groups) > 1:
            raise self._error("`(` is not closed in the rule that begins here", start)
        return open_groups[0].tree()

    def _repeat(self, group: _Group, token: _Token) -> None:
        sequence = group.alternatives[-1]
        if not sequence:
            raise self._error(f"nothing stands before {token.text!r}", token.offset)
        depth = group.depths[-1] + 1
        if depth > MAX_PAREN_DEPTH:
            raise self._too_deep(token.offset)
        group.depths.append(depth)
        sequence[-1] = self._apart([" (", sequence[-1], f"){self._bounds(token)}"], depth, token.offset)

    def _apart(self, item: _Tree, depth: int, offset: int) -> _Tree:
        """Make a rule of an item now and then, because llguidance reads only some thirty levels of parentheses."""
        if depth % _LEVELS_IN_A_RULE:
            return item
        name = f"({len(self._parts)})"  # no name that a grammar can have
        self._parts[name] = item
        return [" ", _Ref(name, offset)]

    def _bounds(self, token: _Token) -> str:
        if token.text in "*+?":
            return token.text
        low_text, comma, high_text = (part.strip() for part in token.text[1:-1].partition(","))
        low = int(low_text)
        high = int(high_text) if high_text else low
        if max(low, high) > MAX_REPETITION:
            raise self._error(
                f"repeats something {max(low, high)} times; 0 to {MAX_REPETITION} are allowed", token.offset
            )
        if low > high:
            raise self._error(f"the repetition {token.text} is empty: {low} is more than {high}", token.offset)
        return f"{{{low},}}" if comma and not high_text else f"{{{low},{high}}}"

    def _item(self, token: _Token) -> _Tree:
        match token.kind:
            case "name":
                return [" ", _Ref(token.text, token.offset)]
            case "literal":
                return [" ", json.dumps("".join(char for char, _ in self._characters(token)))]
            case "class":
                return [" ", self._class(token)]
            case "any":
                return [" /(?s:.)/"]
        raise self._error(f"{token.text!r} is not expected", token.offset)

    def _characters(self, token: _Token) -> Iterator[tuple[str, bool]]:
        """Yield the characters between a token's delimiters, and whether each was escaped."""
        body = token.text[1:-1]
        for match in _ESCAPE.finditer(body):
            short, four, eight, simple, plain = match.groups()
            if plain is not None:
                yield plain, False
            elif simple is not None:
                if simple not in _SIMPLE_ESCAPES:
                    raise self._error(f"unknown escape \\{simple}", token.offset)
                yield _SIMPLE_ESCAPES[simple], True
            else:
                yield self._character(int(short or four or eight, 16), match.group(), token), True

    def _character(self, code: int, escape: str, token: _Token) -> str:
        if code > sys.maxunicode or code in _SURROGATES:
            raise self._error(f"{escape} is no character", token.offset)
        return chr(code)

    def _class(self, token: _Token) -> str:
        chars = list(self._characters(token))
        is_negated = bool(chars) and chars[0] == ("^", False)
        chars = chars[1:] if is_negated else chars
        ranges = []
        index = 0
        while index < len(chars):
            low = high = chars[index][0]
            if index + 2 < len(chars) and chars[index + 1] == ("-", False):
                high = chars[index + 2][0]
                index += 2
            index += 1
            if low > high:
                raise self._error(f"the range {low!r}-{high!r} is empty", token.offset)
            ranges.append(f"\\x{{{ord(low):x}}}-\\x{{{ord(high):x}}}")
        if not ranges:
            raise self._error("a class must have at least one character", token.offset)
        return f"/[{'^' if is_negated else ''}{''.join(ranges)}]/"

    def _too_deep(self, offset: int) -> ConstraintError:
        return self._error(f"nests too deep; at most {MAX_PAREN_DEPTH} levels are allowed", offset)

    def _error(self, message: str, offset: int) -> ConstraintError:
        line = self._text.count("\n", 0, offset) + 1
        excerpt = self._text[offset : offset + 30]
        return ConstraintError(f"{self._param}, line {line}: {message} (at {excerpt!r})", param=self._param)


def _flat(tree: _Tree) -> Iterator[str | _Ref]:
    stack = [iter(tree)]
    while stack:
        for part in stack[-1]:
            if isinstance(part, list):
                stack.append(iter(part))
                break
            yield part
        else:
            stack.pop()


def _without_recursion(refs: dict[str, set[str]]) -> set[str]:
    """Return the rules that refer to no rule that refers back to itself, however far."""
    sorter = graphlib.TopologicalSorter(refs)
    with contextlib.suppress(graphlib.CycleError):  # what does not depend on the circle is given out all the same
        sorter.prepare()
    done: set[str] = set()
    while ready := sorter.get_ready():
        done.update(ready)
        sorter.done(*ready)
    return done
