"""Tools beside functions, and items of tools that nobody runs here: what the model sees, what the client is told."""

from typing import Any

import pytest

from backends.wire.output import Output, ToolCallDelta
from backends.wire.prompts import ChatPrompt
from backends.wire.request import ToolUse
from router.errors import InvalidRequestError
from router.http.ignored import noting_ignored
from router.protocols.responses.custom_input import CustomInput
from router.protocols.responses.items import ignored_items, read_items
from router.protocols.responses.request import conversation_messages
from router.protocols.responses.tools import read_tools
from tests.router.protocols.responses.test_encoding import Written, names
from tests.support.fake_openai import FakeFront, with_front

PATH = "/v1/responses"
SHELL = {"type": "function", "name": "shell", "parameters": {"type": "object", "properties": {}}}
PATCH = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edits files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": 'start: "x"'},
}
CLOCK = {"type": "grammar", "syntax": "regex", "definition": "[0-9]+:[0-9]+"}
TIME = {"type": "custom", "name": "time", "format": CLOCK}
FILES = {"type": "namespace", "name": "mcp__files", "description": "d", "tools": [{**SHELL, "name": "read"}, SHELL]}
GIT = {"type": "namespace", "name": "git", "tools": [{**SHELL, "name": "read"}, {"type": "web_search"}]}
HOSTED = [{"type": "web_search", "external_web_access": False}, {"type": "local_shell"}]
ALL: list[Any] = [SHELL, PATCH, FILES, GIT, *HOSTED]


def test_tools_are_functions_to_the_model_and_keep_their_names_where_no_other_has_them() -> None:
    tools = read_tools(ALL)
    assert [tool.function.name for tool in tools.tools] == [
        "shell",
        "apply_patch",
        "mcp__files__read",
        "mcp__files__shell",
        "git__read",
    ]
    assert tools.ignored == (
        "tools[3].tools[1].type=web_search",
        "tools[4].type=web_search",
        "tools[5].type=local_shell",
    )
    assert tools.model_name("read", "git") == "git__read"
    assert tools.model_name("shell") == "shell"
    assert tools.model_name("gone", "git") == "gone"


def test_a_custom_tool_is_a_function_with_one_text_that_tells_its_grammar() -> None:
    patch, time = (tool.function for tool in read_tools([PATCH, TIME]).tools)
    assert patch.description == 'Edits files.\n\nThe input must match this lark grammar:\nstart: "x"'
    assert patch.parameters is not None
    assert patch.parameters["required"] == ["input"]
    assert time.parameters is not None
    assert time.parameters["properties"]["input"]["pattern"] == "^(?:[0-9]+:[0-9]+)$"


@pytest.mark.parametrize(
    ("tools", "param"),
    [
        ([{"type": "custom"}], "tools[0].name"),
        ([{"type": "custom", "name": "x", "format": {"type": "grammar", "syntax": "bnf"}}], "tools[0].format.syntax"),
        ([{"type": "namespace", "name": "n", "tools": [{"type": "function"}]}], "tools[0].tools[0].name"),
        ([{"type": 7}], "tools[0].type"),
        ([{}], "tools[0].type"),
    ],
)
def test_what_is_wrong_in_a_tool_is_named_by_its_path(tools: list[dict[str, Any]], param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_tools(tools)
    assert caught.value.param == param


def test_calls_are_told_by_the_clients_names_and_a_custom_tools_as_text() -> None:
    arguments = ('{"inp', 'ut": "*** Begin\\nP\\u00e4tch \\ud83d', '\\ude00\\"', '"}')
    events = Written(tools=ALL).events(
        Output(tool_calls=(ToolCallDelta(0, "call_a", "apply_patch", arguments[0]),)),
        *(Output(tool_calls=(ToolCallDelta(0, arguments=part),)) for part in arguments[1:]),
        Output(tool_calls=(ToolCallDelta(1, "call_b", "git__read", "{}"),)),
        reason="tool_calls",
    )
    assert names(events)[2:] == [
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    custom, function = events[-1]["response"]["output"]
    text = '*** Begin\nPätch 😀"'
    assert "".join(event["delta"] for event in events[3:5]) == events[5]["input"] == text
    assert events[2]["item"] == {**custom, "input": "", "status": "in_progress"}
    assert custom == {
        "id": custom["id"],
        "type": "custom_tool_call",
        "call_id": "call_a",
        "name": "apply_patch",
        "input": text,
        "status": "completed",
    }
    assert (function["type"], function["name"], function["namespace"]) == ("function_call", "read", "git")
    assert [tool["type"] for tool in events[-1]["response"]["tools"]] == [
        "function",
        "custom",
        "namespace",
        "namespace",
    ]
    assert events[-1]["response"]["tools"][0] == {**SHELL, "description": None, "strict": None}


def test_each_of_several_custom_calls_has_its_own_text() -> None:
    calls = (ToolCallDelta(0, "a", "apply_patch", '{"input": "1"}'), ToolCallDelta(1, "b", "apply_patch", '{"input": '))
    cut = Output(tool_calls=(ToolCallDelta(1, arguments='"2'),))
    output = Written(tools=ALL).events(Output(tool_calls=calls), cut, reason="length")[-1]["response"]["output"]
    assert [(item["input"], item["status"]) for item in output] == [("1", "completed"), ("2", "incomplete")]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ('{"input":"a"}', "a"),
        (' { "input" : "a\nb" , "more": 1}', "a\nb"),
        ('{"patch": "a"}', "a"),
        ('{"input": {"a": 1}}', '{"input": {"a": 1}}'),
        ('{"a": "1", "b": "2"}', '{"a": "1", "b": "2"}'),
        ('"a"', "a"),
        ("a", "a"),
        ("", ""),
        ('{"input":"cut \\u00', "cut "),
        ('{"x":"\\ud800"}', "?"),
        ('{"input":"a\\ud83d\\ude00 b"}', "a\U0001f600 b"),
        ('{"input":"a\\ud800 \\udc00\\n b\\ud800"}', "a? ?\n b?"),
        ('{"input":"cut \\ud83d\\u', "cut "),
    ],
)
def test_whatever_the_model_wrote_of_a_custom_call_comes_to_a_text(arguments: str, text: str) -> None:
    for size in (1, 3, 1000):
        read = CustomInput()
        told = "".join(read.add(arguments[at : at + size]) for at in range(0, len(arguments), size))
        assert told + read.finish() == read.text == text


def named(tool: dict[str, Any]) -> dict[str, Any]:
    return {"type": tool["type"], "name": tool["name"]}


def item(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, **fields}


HISTORY = [
    item("message", role="user", content="hi"),
    item("reasoning", id="rs_1", summary=[], content=None, encrypted_content="gAAAA"),
    item("custom_tool_call", call_id="c1", name="apply_patch", input="x"),
    item("custom_tool_call_output", call_id="c1", output="ok"),
    item("function_call", call_id="c2", name="read", namespace="git", arguments="{}"),
    item("function_call_output", call_id="c2", output="2"),
    item("local_shell_call", id="l", call_id="c3", status="completed", action={"type": "exec", "command": ["ls"]}),
    item("local_shell_call_output", call_id="c3", output="a.txt"),
    item("shell_call", call_id="c4", action={"commands": ["ls"]}),
    item("shell_call_output", call_id="c4", output=[{"stdout": "a", "stderr": ""}]),
    item("computer_call", call_id="c5", action={"type": "screenshot"}),
    item("computer_call_output", call_id="c5", output={"type": "computer_screenshot", "image_url": "data:"}),
    item("tool_search_call", call_id="c6", execution="client", arguments={"query": "x"}),
    item("tool_search_output", call_id="c6", tools=[{"name": "y"}]),
    item("web_search_call", status="completed", action={"type": "search", "query": "x"}),
    item("agent_message", author="/root/a", content=[{"type": "input_text", "text": "done"}]),
]


def test_items_of_tools_that_nobody_runs_here_are_shown_as_calls_or_left_out_by_name() -> None:
    read = {path: item for path, item in read_items(HISTORY).items() if isinstance(item, dict)}
    with noting_ignored("test") as noted:
        messages = conversation_messages(list(read.values()), None, read_tools(ALL), paths=list(read))
    assert noted.paths == ("input[].output[].type=input_image",)
    calls = [message["tool_calls"][0]["function"] for message in messages if "tool_calls" in message]
    assert calls == [
        {"name": "apply_patch", "arguments": {"input": "x"}},
        {"name": "git__read", "arguments": {}},
        {"name": "local_shell", "arguments": {"type": "exec", "command": ["ls"]}},
        {"name": "shell", "arguments": {"commands": ["ls"]}},
        {"name": "computer", "arguments": {"type": "screenshot"}},
        {"name": "tool_search", "arguments": {"execution": "client", "arguments": {"query": "x"}}},
    ]
    assert [message["content"] for message in messages if message["role"] == "tool"] == [
        "ok",
        "2",
        "a.txt",
        '{"stdout":"a","stderr":""}',
        "[image left out: this model reads text]",
        '{"name":"y"}',
    ]
    assert messages[-1] == {"role": "user", "content": "/root/a: done"}
    assert ignored_items(HISTORY) == ("input[14].type=web_search_call",)


@with_front()
async def test_what_was_left_out_is_named_in_the_answers_header(front: FakeFront) -> None:
    for stream in (False, True):
        body = {"model": "m", "input": HISTORY, "tools": ALL, "max_output_tokens": 2, "stream": stream}
        response = await front.client.post(PATH, json=body)
        assert response.status_code == 200, response.text
        assert response.headers["x-mlxr-ignored"] == (
            "tools[].tools[].type=web_search, tools[].type=web_search, tools[].type=local_shell, "
            "input[].type=web_search_call, input[].output[].type=input_image"
        )
        counted = await front.client.post(f"{PATH}/input_tokens", json={"model": "m", "input": HISTORY, "tools": ALL})
        assert counted.headers["x-mlxr-ignored"] == response.headers["x-mlxr-ignored"]
    plain = await front.client.post(PATH, json={"model": "m", "input": "hi", "max_output_tokens": 2})
    assert "x-mlxr-ignored" not in plain.headers


@with_front()
async def test_what_was_kept_of_such_items_is_listed(front: FakeFront) -> None:
    made = await front.client.post(PATH, json={"model": "m", "input": HISTORY, "max_output_tokens": 2})
    listed = await front.client.get(f"{PATH}/{made.json()['id']}/input_items?order=asc")
    assert [each["type"] for each in listed.json()["data"]] == [
        "message",
        "reasoning",
        "custom_tool_call",
        "custom_tool_call_output",
        *(("function_call", "function_call_output") * 5),
        "message",
    ]


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ({"type": "custom", "name": "apply_patch"}, ["apply_patch"]),
        ({"type": "function", "name": "read", "namespace": "git"}, ["git__read"]),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [named(PATCH), {"type": "web_search"}, named(SHELL)]},
            ["shell", "apply_patch"],
        ),
    ],
)
@with_front()
async def test_choices_name_tools_by_the_clients_names(
    front: FakeFront, choice: dict[str, Any], names: list[str]
) -> None:
    front.fleet.hold("decode")
    body = {"model": "m", "input": "hi", "tools": ALL, "tool_choice": choice, "background": True}
    response = await front.client.post(PATH, json=body | {"max_output_tokens": 2})
    assert response.status_code == 200, response.text
    await front.fleet.until(lambda: bool(front.running), "it runs")
    request = front.running[-1].generation.request
    front.fleet.let_go("decode")
    assert request.spec.output is not None
    use = request.spec.output.tools
    assert isinstance(use, ToolUse)
    assert [tool.name for tool in use.tools] == names
    assert isinstance(request.prompts[0], ChatPrompt)
