"""Which scenarios there are, and finding them: by name here, or a changed copy by its path."""

import importlib.util
from importlib import import_module
from pathlib import Path
from typing import Final

from examples.stage.scenario import Scenario

NAMES: Final = (
    *("single-shot", "multi-turn", "burst", "latency"),
    *("dag-burst", "dag-multi-turn"),
    *("script-review", "script-review-parallel", "script-review-adversarial", "script-review-fail"),
    *("report-folder", "document-questions", "long-talk", "ab-prompts"),
)
"""In the order in which they are listed."""

FOLDER: Final = Path(__file__).parent


class UnknownScenarioError(Exception):
    """There is no such scenario; the text says which there are, or what is wrong with the file."""


def module_file(name: str) -> Path:
    """Return where the program of a scenario lies."""
    return FOLDER / f"{_module(name)}.py"


def scenario_of(name: str) -> Scenario:
    """Return a scenario of this folder.

    Args:
        name: One of `NAMES`.
    """
    found = import_module(f"examples.{_module(name)}").SCENARIO
    assert isinstance(found, Scenario)
    return found


def find_scenario(wanted: str) -> Scenario:
    """Return the scenario that a user means: a name, or the path of a program like those here, which is imported.

    Raises:
        UnknownScenarioError: There is none.
    """
    if wanted in NAMES:
        return scenario_of(wanted)
    path = Path(wanted)
    if path.suffix != ".py":
        known = ", ".join(NAMES)
        raise UnknownScenarioError(f"There is no scenario {wanted!r:.60}; there are {known}, or give a .py file.")
    spec = importlib.util.spec_from_file_location(f"scenario_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UnknownScenarioError(f"{path}: there is no such file.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = getattr(module, "SCENARIO", None)
    if not isinstance(found, Scenario):
        raise UnknownScenarioError(f"{path}: has no SCENARIO; {module_file(NAMES[0])} shows what one looks like.")
    return found


def _module(name: str) -> str:
    return name.replace("-", "_")
