from typing import Any

import pytest

from backends.wire.prompts import ChatPrompt, PromptMessage, TextPart
from router.errors import InvalidRequestError, UnsupportedFieldError
from tests.router.protocols.openai.test_request import chat


def rendered(*messages: dict[str, Any]) -> list[PromptMessage]:
    (prompt,) = chat(messages=messages).prompts
    assert isinstance(prompt, ChatPrompt)
    return prompt.messages


def call(arguments: str = "{}", **fields: Any) -> dict[str, Any]:
    return {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": arguments}, **fields}


def test_messages_reach_the_worker_as_texts_with_names_and_reasoning() -> None:
    assert rendered(
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "eve"},
        {"role": "assistant", "content": "c", "reasoning_content": "hm"},
    ) == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [TextPart("a"), TextPart("b")], "name": "eve"},
        {"role": "assistant", "content": "c", "reasoning_content": "hm"},
    ]


def test_calls_reach_the_template_with_their_arguments_as_objects() -> None:
    assert rendered(
        {"role": "assistant", "content": None, "tool_calls": [call('{"a": [1, {"b": null}]}', index=0)]},
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "done"}]},
    ) == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": {"a": [1, {"b": None}]}}}
            ],
        },
        {"role": "tool", "content": [TextPart("done")], "tool_call_id": "call_1"},
    ]


def test_arguments_that_a_model_left_empty_are_an_empty_object() -> None:
    (message,) = rendered({"role": "assistant", "content": "so", "tool_calls": [call("")]})
    assert message["tool_calls"][0]["function"]["arguments"] == {}
    assert message["content"] == "so"


@pytest.mark.parametrize(
    "arguments", ["{", "[]", "3", "null", '{"a":1,"a":2}', "[" * 5000, '{"a":NaN}', '{"a":' + "9" * 30 + "}"]
)
def test_arguments_that_are_no_object_are_refused_by_their_path(arguments: str) -> None:
    with pytest.raises(InvalidRequestError, match="JSON text of an object") as caught:
        rendered(
            {"role": "user", "content": "x"},
            {"role": "assistant", "tool_calls": [call(), call(arguments)]},
        )
    assert caught.value.param == "messages[1].tool_calls[1].function.arguments"


def test_an_assistant_message_of_ours_may_be_sent_back() -> None:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "x",
        "refusal": None,
        "annotations": [],
        "audio": None,
        "function_call": None,
        "tool_calls": [],
    }
    assert rendered(message) == [{"role": "assistant", "content": "x"}]


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "user", "content": None}, "messages[0].content"),
        ({"role": "assistant", "content": None, "tool_calls": []}, "messages[0].content"),
        ({"role": "user", "content": "x", "tool_calls": [call()]}, "messages[0].tool_calls"),
        ({"role": "user", "content": "x", "tool_call_id": "a"}, "messages[0].tool_call_id"),
        ({"role": "user", "content": "x", "reasoning_content": "a"}, "messages[0].reasoning_content"),
        ({"role": "tool", "content": "x"}, "messages[0].tool_call_id"),
        ({"role": "tool", "content": "x", "tool_call_id": ""}, "messages[0].tool_call_id"),
        ({"role": "function", "content": "x", "name": "f"}, "messages[0].role"),
        ({"role": "assistant", "tool_calls": [call(type="custom")]}, "messages[0].tool_calls[0].type"),
        ({"role": "assistant", "tool_calls": [{"function": {}}]}, "messages[0].tool_calls[0].function.name"),
        ({"role": "user", "content": [{"type": "text"}]}, "messages[0].content[0].text"),
    ],
)
def test_a_message_that_lacks_something_or_has_it_in_the_wrong_place_is_refused(
    message: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        rendered(message)
    assert caught.value.param == param
    assert param in str(caught.value)


def test_other_parts_than_texts_are_refused() -> None:
    with pytest.raises(UnsupportedFieldError, match="only text parts") as caught:
        rendered({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///x"}}]})
    assert caught.value.param == "messages[0].content[0]"
