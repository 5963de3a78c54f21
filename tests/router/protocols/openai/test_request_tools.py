from typing import Any

import pytest

from backends.wire.prompts import ChatPrompt
from backends.wire.request import Tool, ToolChoice, ToolUse
from router.errors import InvalidRequestError
from tests.router.protocols.openai.test_request import chat

SCHEMA = {"type": "object", "properties": {"x": {"type": "string"}}}


def tool(name: str = "f", **function: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **function}}


def use(**body: Any) -> ToolUse | None:
    output = chat(**body).spec.output
    assert output is not None
    return output.tools


def shown(**body: Any) -> list[dict[str, Any]]:
    (prompt,) = chat(**body).prompts
    assert isinstance(prompt, ChatPrompt)
    return prompt.tools


def test_tools_reach_the_template_and_the_answer() -> None:
    body = {"tools": [tool("f", description="does", parameters=SCHEMA, strict=True), tool("g")]}
    empty = {"type": "object", "properties": {}, "additionalProperties": False}
    assert use(**body) == ToolUse((Tool("f", SCHEMA), Tool("g", empty)))
    assert shown(**body) == [
        {"type": "function", "function": {"name": "f", "description": "does", "strict": True, "parameters": SCHEMA}},
        {"type": "function", "function": {"name": "g", "parameters": empty}},
    ]


def test_without_tools_there_is_nothing_to_choose() -> None:
    bodies: list[dict[str, Any]] = [{}, {"tools": []}, {"tool_choice": "none"}, {"parallel_tool_calls": False}]
    for body in bodies:
        assert use(**body) is None
        assert shown(**body) == []


def test_the_choice_decides_what_is_called_and_what_is_seen() -> None:
    both = [tool("f"), tool("g")]
    auto = use(tools=both, tool_choice="auto")
    assert auto is not None
    assert (auto.choice, auto.named, len(auto.tools)) == (ToolChoice.AUTO, None, 2)
    required = use(tools=both, tool_choice="required", parallel_tool_calls=False)
    assert required is not None
    assert (required.choice, required.is_parallel) == (ToolChoice.REQUIRED, False)
    named = use(tools=both, tool_choice={"type": "function", "function": {"name": "g"}})
    assert named is not None
    assert (named.choice, named.named, [each.name for each in named.tools]) == (ToolChoice.REQUIRED, "g", ["g"])
    assert use(tools=both, tool_choice="none") is None
    assert shown(tools=both, tool_choice="none") == []


def test_allowed_tools_leave_the_others_out() -> None:
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [tool("g")]}}
    wanted = use(tools=[tool("f"), tool("g")], tool_choice=choice)
    assert wanted is not None
    assert (wanted.choice, wanted.named, [each.name for each in wanted.tools]) == (ToolChoice.REQUIRED, None, ["g"])
    assert [each["function"]["name"] for each in shown(tools=[tool("f"), tool("g")], tool_choice=choice)] == ["g"]


def allowed(mode: str, *names: str) -> dict[str, Any]:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [tool(name) for name in names]}}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tools": [tool("f"), tool("f")]}, "tools[1].function.name"),
        ({"tools": [tool("")]}, "tools[0].function.name"),
        ({"tools": [tool("a b")]}, "tools[0].function.name"),
        ({"tools": [tool("é")]}, "tools[0].function.name"),
        ({"tools": [tool("f\n")]}, "tools[0].function.name"),
        ({"tools": [tool("x" * 129)]}, "tools[0].function.name"),
        ({"tools": [tool("f", parameters={"type": "array"})]}, "tools[0].function.parameters.type"),
        ({"tools": [tool("f", parameters={"type": ["object"]})]}, "tools[0].function.parameters.type"),
        ({"tools": [tool("f", parameters=[])]}, "tools[0].function.parameters"),
        ({"tools": [tool("f", parameters={"title": "x" * 65_536})]}, "tools[0].function.parameters"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"function": {"name": "f"}}]}, "tools[0].type"),
        ({"tools": [tool(f"f{i}") for i in range(129)]}, "tools"),
        ({"tools": [tool("f", extra=1)]}, "tools[0].function.extra"),
        ({"tools": "f"}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [tool()], "tool_choice": "any"}, "tool_choice"),
        ({"tools": [tool()], "tool_choice": 3}, "tool_choice"),
        ({"tools": [tool()], "tool_choice": {}}, "tool_choice"),
        ({"tools": [tool()], "tool_choice": {"type": "function"}}, "tool_choice"),
        (
            {"tools": [tool()], "tool_choice": {"type": "function", "function": {"name": "g"}}},
            "tool_choice.function.name",
        ),
        ({"tool_choice": {"type": "function", "function": {"name": "g"}}}, "tool_choice.function.name"),
        ({"tools": [tool()], "tool_choice": allowed("none", "f")}, "tool_choice.allowed_tools.mode"),
        ({"tools": [tool()], "tool_choice": allowed("auto", "g")}, "tool_choice.allowed_tools.tools"),
        ({"tools": [tool()], "tool_choice": allowed("auto")}, "tool_choice.allowed_tools.tools"),
    ],
)
def test_tools_that_do_not_fit_are_refused_by_name(body: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        chat(**body)
    assert caught.value.param == param
    assert param in str(caught.value)
    assert len(str(caught.value)) < 500
