"""What workers are asked about scripts, and how a script is shown with what the linter found. Pure."""

from collections.abc import Collection
from typing import Final

from examples.review.scripts import CLAUSES, Finding, code_in, lint

TASKS: Final = ("returns the largest of a list of numbers", "counts how often each word occurs in a text")
MAX_SHOWN_CHARS: Final = 1200
"""Of a script in a prompt: what is longer is cut, so that a small context holds it."""

SCRIPT_TOKENS: Final = 96
REVIEW_TOKENS: Final = 64


def write_prompt(task: str, clauses: Collection[str] = ()) -> str:
    """Ask for a script."""
    rules = "".join(f"\n- {CLAUSES[name].words}" for name in CLAUSES if name in clauses)
    return f"Write a Python function that {task}. Answer with the code alone, in a ```python block." + (
        f" Keep to this contract:{rules}" if rules else ""
    )


def review_prompt(text: str, clauses: Collection[str] = ()) -> str:
    """Ask for a review of the script in an answer; what the linter found is told with it."""
    source = code_in(text)[:MAX_SHOWN_CHARS]
    found = "\n".join(f"- {words_of(finding)}" for finding in lint(source, clauses)) or "- nothing"
    return (
        f"Review this script. What is wrong with it, and what would break it?\n```python\n{source}\n```\n"
        f"A linter found:\n{found}\nAnswer in three sentences."
    )


def words_of(finding: Finding) -> str:
    """Write a finding as one line."""
    where = f"line {finding.line}: " if finding.line else ""
    return f"{where}{finding.message} [{finding.clause}]"


def shown_script(name: str, text: str, findings: Collection[Finding]) -> str:
    """Write a script for people, with what the linter found."""
    lines = [f"--- {name} (parsed and linted, not executed)", code_in(text)]
    return "\n".join([*lines, *(f"[Lint] {words_of(finding)}" for finding in findings or ())])
