"""The table of tools, without the protocol."""

import tomllib
from pathlib import Path

import pytest

from router.cli.mcp.mcp import PACKAGE
from router.cli.mcp.tools import TOOLS, Allowance, RefusedError, Tool, tool_named


def test_what_changes_or_takes_the_machine_needs_more_than_reading() -> None:
    assert {tool.name for tool in TOOLS if tool.needs is not Allowance.READ} == {"run_benchmark", "set_engine"}
    assert {tool.name for tool in TOOLS if tool.changes} == {"set_engine"}


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_schemas_are_objects_that_allow_no_other_fields(tool: Tool) -> None:
    schema = tool.input_schema
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert len(tool.description) < 250


def test_each_allowance_holds_those_before() -> None:
    for tool in TOOLS:
        for allowed in Allowance:
            if allowed >= tool.needs:
                assert tool_named(tool.name, allowed) is tool
            else:
                with pytest.raises(RefusedError, match=f"mlxr mcp --allow {tool.needs.word}"):
                    tool_named(tool.name, allowed)


def test_the_package_that_is_said_is_that_of_the_extra() -> None:
    project = tomllib.loads((Path(__file__).parents[4] / "pyproject.toml").read_text())["project"]
    assert project["optional-dependencies"]["mcp"] == [PACKAGE]
