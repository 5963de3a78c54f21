"""Tools of Anthropic requests, and the choice among them."""

from typing import Any

import msgspec
import pytest

from backends.wire.request import ToolChoice
from router.errors import InvalidRequestError, UnsupportedFieldError
from router.protocols.anthropic.request import request_tools
from router.protocols.anthropic.schemas import MessagesRequest
from router.protocols.fields.tools import RequestTools

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"town": {"type": "string"}}}
WEATHER = {"name": "weather", "description": "Tell it.", "input_schema": SCHEMA}
TIME = {"name": "time", "input_schema": {"type": "object"}}


def tools_of(*tools: Any, choice: Any = None) -> RequestTools:
    body = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}], "tools": list(tools)}
    return request_tools(msgspec.convert(body | {"tool_choice": choice}, MessagesRequest))


def refused(*tools: Any, choice: Any = None, kind: type[InvalidRequestError] = InvalidRequestError) -> str:
    with pytest.raises(kind) as caught:
        tools_of(*tools, choice=choice)
    assert caught.value.param is not None
    assert caught.value.param in str(caught.value)
    return caught.value.param


def test_templates_see_openais_form() -> None:
    tools = tools_of(WEATHER | {"cache_control": {"type": "ephemeral"}, "type": "custom"})
    assert tools.shown == [
        {"type": "function", "function": {"name": "weather", "description": "Tell it.", "parameters": SCHEMA}}
    ]
    assert tools.use is not None
    assert (tools.use.choice, tools.use.is_parallel) == (ToolChoice.AUTO, True)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, (ToolChoice.AUTO, None, True)),
        ({"type": "auto", "disable_parallel_tool_use": True}, (ToolChoice.AUTO, None, False)),
        ({"type": "any"}, (ToolChoice.REQUIRED, None, True)),
        ({"type": "any", "disable_parallel_tool_use": True}, (ToolChoice.REQUIRED, None, False)),
        ({"type": "tool", "name": "time"}, (ToolChoice.REQUIRED, "time", True)),
    ],
)
def test_the_choice_is_held_to(choice: Any, expected: tuple[ToolChoice, str | None, bool]) -> None:
    use = tools_of(WEATHER, TIME, choice=choice).use
    assert use is not None
    assert (use.choice, use.named, use.is_parallel) == expected


def test_no_choice_takes_the_tools_away() -> None:
    assert tools_of(WEATHER, choice={"type": "none"}) == tools_of() == RequestTools([], None)


def test_examples_are_shown_with_the_schema() -> None:
    tools = tools_of(WEATHER | {"input_examples": [{"town": "Bern"}]})
    assert tools.shown[0]["function"]["parameters"] == {**SCHEMA, "examples": [{"town": "Bern"}]}


@pytest.mark.parametrize("kind", ["web_search_20250305", "bash_20250124", "computer_20250124", 7, {"a": 1}])
def test_tools_that_only_anthropic_has_are_refused_by_their_type(kind: Any) -> None:
    assert refused({"type": kind, "name": "x", "max_uses": 3}, kind=UnsupportedFieldError) == "tools[0].type"


@pytest.mark.parametrize(
    ("tool", "param"),
    [
        (WEATHER | {"defer_loading": True}, "tools[0].defer_loading"),
        (WEATHER | {"allowed_callers": ["code_execution_20250825"]}, "tools[0].allowed_callers"),
        (WEATHER | {"input_schema": {"type": "array"}}, "tools[0].input_schema.type"),
        (WEATHER | {"input_schema": {"description": "x" * 70_000}}, "tools[0].input_schema"),
        (WEATHER | {"input_examples": [{"x": "y" * 70_000}]}, "tools[0].input_examples"),
        (WEATHER | {"name": "no spaces"}, "tools[0].name"),
        (WEATHER | {"max_uses": 3}, "tools[0].max_uses"),
        ({"name": "x"}, "tools[0].input_schema"),
    ],
)
def test_what_is_wrong_with_a_tool_is_named(tool: Any, param: str) -> None:
    assert refused(tool) == param


def test_what_does_not_fit_together_is_named() -> None:
    assert refused(WEATHER, WEATHER) == "tools[1].name"
    assert refused(WEATHER, choice={"type": "tool", "name": "nobody"}) == "tool_choice.name"
    assert refused(choice={"type": "any"}) == "tool_choice"


def test_what_agents_send_beside_is_accepted() -> None:
    extra = {"eager_input_streaming": True, "strict": True, "defer_loading": False, "allowed_callers": ["direct"]}
    tools = tools_of(WEATHER | extra, TIME | {"name": "mcp__" + "x" * 123})
    assert tools.use is not None
    assert [tool.name for tool in tools.use.tools] == [WEATHER["name"], "mcp__" + "x" * 123]
