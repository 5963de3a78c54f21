"""Scripts that a model wrote: found in its answer, parsed, and held against clauses. Nothing is executed. Pure."""

import ast
import re
import warnings
from collections.abc import Callable, Collection, Iterator
from typing import Final, NamedTuple

import msgspec

_FENCE: Final = re.compile(r"```[ \t]*(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)
_BANNED_CALLS: Final = frozenset({"eval", "exec", "compile", "__import__", "system", "popen"})

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Finding(msgspec.Struct, frozen=True):
    """What is wrong with a script, and where; line 0 = with all of it."""

    clause: str
    line: int
    message: str


class Clause(NamedTuple):
    """Something that a script can be held to.

    Attributes:
        words: What it is to do, for whoever writes it.
        look: Finds what is wrong.
    """

    words: str
    look: Callable[[ast.Module], Iterator[tuple[int, str]]]


def code_in(text: str) -> str:
    """Return the script in an answer: what stands in its first fence, also one that is not closed, or all of it."""
    found = _FENCE.search(text)
    return (text if found is None else found[1]).strip("\n")


def lint(source: str, clauses: Collection[str] = ()) -> list[Finding]:
    """Return what is wrong with a script, by lines. What does not parse is held to nothing else.

    Args:
        clauses: Of `CLAUSES`; `ALWAYS` counts in any case.
    """
    tree = _parsed(source)
    if isinstance(tree, Finding):
        return [tree]
    found = [
        Finding(name, line, message)
        for name, clause in CLAUSES.items()
        if name in clauses or name in ALWAYS
        for line, message in clause.look(tree)
    ]
    return sorted(found, key=lambda finding: finding.line)


def _parsed(source: str) -> ast.Module | Finding:
    try:
        with warnings.catch_warnings(action="ignore"):  # of a script's own escapes and comparisons
            return ast.parse(source)
    except SyntaxError as exc:
        return Finding("parses", exc.lineno or 0, f"it is no Python: {exc.msg}")
    except (ValueError, RecursionError, MemoryError) as exc:  # null bytes; brackets nested too deeply
        return Finding("parses", 0, f"it cannot be parsed: {exc}")


def _functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def _without_function(tree: ast.Module) -> Iterator[tuple[int, str]]:
    if not any(_functions(tree)):
        yield 0, "no function is defined"


def _banned(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in _BANNED_CALLS:
                yield node.lineno, f"{name}() runs what somebody else says"


def _without_docstring(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for function in _functions(tree):
        if ast.get_docstring(function) is None:
            yield function.lineno, f"{function.name} has no docstring"


def _without_annotations(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for function in _functions(tree):
        named = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        bare = [each.arg for each in named if each.annotation is None and each.arg not in {"self", "cls"}]
        if bare or function.returns is None:
            yield function.lineno, f"{function.name}: {', '.join([*bare, *['return'] * (function.returns is None)])}"


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node.lineno, "something is imported"


def _prints(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield node.lineno, "something is printed"


def _without_return(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for function in _functions(tree):
        if not any(isinstance(node, ast.Return) and node.value is not None for node in ast.walk(function)):
            yield function.lineno, f"{function.name} returns nothing"


def _bare_except(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield node.lineno, "all exceptions are caught, also KeyboardInterrupt"


CLAUSES: Final = {
    "function": Clause("define a function", _without_function),
    "no_eval": Clause("never run text as code", _banned),
    "docstring": Clause("give each function a docstring", _without_docstring),
    "annotations": Clause("annotate all arguments and the return value", _without_annotations),
    "no_imports": Clause("import nothing", _imports),
    "no_print": Clause("print nothing", _prints),
    "returns": Clause("return the result", _without_return),
    "no_bare_except": Clause("catch only named exceptions", _bare_except),
}
"""By their names."""

ALWAYS: Final = frozenset({"function", "no_eval"})
"""Hold for any script; `parses` comes before all of them."""
