"""All scenarios there are: each is found, says what it is, and lies where an installed mlxr has it."""

import ast
import tomllib
from pathlib import Path

import pytest

from examples.catalogue import FOLDER, NAMES, module_file, scenario_of

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", NAMES)
def test_each_scenario_is_found_by_its_name_and_says_what_it_shows(name: str) -> None:
    scenario = scenario_of(name)
    assert scenario.name == name
    assert scenario.summary.endswith(".")
    docstring = ast.get_docstring(ast.parse(module_file(name).read_text()))
    assert docstring is not None
    assert docstring.startswith(f"{name}: ")


def test_each_program_of_the_folder_is_listed() -> None:
    programs = {path.stem.replace("_", "-") for path in FOLDER.glob("*.py")} - {"--init--", "catalogue"}
    assert programs == set(NAMES)


def test_the_wheel_has_the_programs() -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert "examples*" in packages
    folders = {path.parent for path in FOLDER.rglob("*.py")}
    assert all((folder / "__init__.py").exists() for folder in folders)


@pytest.mark.parametrize("name", NAMES)
def test_each_scenario_has_its_place_in_the_docs(name: str) -> None:
    assert f"\n## {name}\n" in (ROOT / "docs" / "scenarios.md").read_text()
