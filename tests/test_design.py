"""The answers that docs/design.md gives to a newcomer's questions are where it says."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NUM_QUESTIONS = 13
_PLACE = re.compile(r"`([\w/]+\.py)::([\w.]+)`")


def questions() -> dict[str, list[tuple[str, str]]]:
    text = (ROOT / "docs" / "design.md").read_text().partition("### Where is it?")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ") and "?" in line]
    return {question.strip(): _PLACE.findall(answer) for question, answer in rows}


def names_in(body: list[ast.stmt]) -> dict[str, list[ast.stmt]]:
    """The names that are defined in a body, each with the body of its own."""
    found: dict[str, list[ast.stmt]] = {}
    for node in body:
        match node:
            case ast.ClassDef(name=name, body=inner) | ast.FunctionDef(name=name, body=inner):
                found[name] = inner
            case ast.AsyncFunctionDef(name=name, body=inner):
                found[name] = inner
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                found[name] = []
    return found


def is_defined(path: str, symbol: str) -> bool:
    body = ast.parse((ROOT / path).read_text()).body
    for name in symbol.split("."):
        names = names_in(body)
        if name not in names:
            return _is_attribute(body, name)
        body = names[name]
    return True


def _is_attribute(body: list[ast.stmt], name: str) -> bool:
    """Tell whether a class's body sets an attribute of its instances."""
    return any(
        isinstance(node, ast.Attribute) and node.attr == name and isinstance(node.ctx, ast.Store)
        for statement in body
        for node in ast.walk(statement)
    )


def test_a_newcomers_questions_are_answered() -> None:
    assert len(questions()) == NUM_QUESTIONS
    assert all(questions().values())


@pytest.mark.parametrize(("path", "symbol"), [place for places in questions().values() for place in places])
def test_each_answer_is_where_the_design_says(path: str, symbol: str) -> None:
    assert is_defined(path, symbol)


def test_what_is_not_there_is_noticed() -> None:
    assert not is_defined("router/placement/decision.py", "undecide")
    assert not is_defined("router/workers/fleet.py", "Fleet.sweeps")
