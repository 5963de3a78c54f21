"""Messages: what templates get, which call a result is for, and what is refused."""

from typing import Any

import msgspec
import pytest

from backends.wire.prompts import PromptMessage
from router.errors import InvalidRequestError
from router.protocols.ollama.messages import template_messages
from router.protocols.ollama.schemas import Message


def read(*messages: dict[str, Any]) -> list[PromptMessage]:
    return template_messages([msgspec.convert(message, Message) for message in messages])


def call(name: str, **fields: Any) -> dict[str, Any]:
    return {"function": {"name": name, "arguments": {"a": 1}}, **fields}


def test_roles_are_read_in_any_case_and_contents_may_be_absent() -> None:
    assert read({"role": "User", "content": "a", "images": []}, {"role": "assistant"}, {"role": "developer"}) == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": ""},
        {"role": "system", "content": ""},
    ]


def test_thoughts_come_back() -> None:
    assert read({"role": "assistant", "content": "a", "thinking": "t"})[0]["reasoning_content"] == "t"


def test_calls_get_ids_and_keep_their_own() -> None:
    (message,) = read({"role": "assistant", "tool_calls": [call("f"), call("g", id="mine", type="function")]})
    assert message["tool_calls"] == [
        {"id": "call00001", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}},
        {"id": "mine", "type": "function", "function": {"name": "g", "arguments": {"a": 1}}},
    ]


@pytest.mark.parametrize(
    ("results", "ids"),
    [
        ([{}, {}, {}], ["call00001", "b", "call00003"]),
        ([{"tool_name": "g"}, {"tool_name": "f"}, {}], ["b", "call00001", "call00003"]),
        ([{"tool_call_id": "b"}, {"tool_name": "f"}, {"tool_name": "f"}], ["b", "call00001", "call00003"]),
        ([{"tool_call_id": "other"}, {"tool_name": "nobody"}, {}], ["other", None, "call00001"]),
    ],
)
def test_a_result_is_for_the_call_of_its_id_its_name_or_its_place(results: list[Any], ids: list[Any]) -> None:
    calls = {"role": "assistant", "tool_calls": [call("f"), call("g", id="b"), call("f")]}
    read_back = read(calls, *({"role": "tool", "content": "1", **result} for result in results))
    assert [message.get("tool_call_id") for message in read_back[1:]] == ids


def test_a_result_knows_the_name_of_its_tool() -> None:
    _, result = read({"role": "assistant", "tool_calls": [call("f")]}, {"role": "tool", "content": "1"})
    assert result == {"role": "tool", "content": "1", "tool_call_id": "call00001", "name": "f"}


@pytest.mark.parametrize(
    ("message", "path"),
    [
        ({"role": "robot"}, "messages[0].role"),
        ({"role": "user", "thinking": "t"}, "messages[0].thinking"),
        ({"role": "user", "tool_calls": [call("f")]}, "messages[0].tool_calls"),
        ({"role": "assistant", "tool_calls": [call("f", type="x")]}, "messages[0].tool_calls[0].type"),
    ],
)
def test_what_does_not_belong_is_refused_by_its_path(message: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read(message)
    assert caught.value.param == path
    assert str(caught.value).startswith(path)
