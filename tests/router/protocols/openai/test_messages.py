from typing import Any

import pytest

from backends.wire.prompts import ChatPrompt, PromptMessage, TextPart
from router.errors import InvalidRequestError, UnsupportedFieldError
from router.http.ignored import noting_ignored
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
    ("arguments", "shown"),
    [
        ('{\n    "city": "London, UK', {}),
        ('{"city": "London", "days": 3, "un', {"city": "London", "days": 3}),
        *((text, {}) for text in ("{", "[]", "3", "null", '{"a":1,"a":2}', "[" * 5000, '{"a":NaN}')),
        ('{"a":' + "9" * 30 + "}", {}),
        (None, {}),
        ([], {}),
        ({"a": 1}, {"a": 1}),
    ],
)
def test_arguments_that_were_cut_are_shown_as_far_as_they_are_complete(arguments: Any, shown: Any) -> None:
    _, message = rendered(
        {"role": "user", "content": "x"},
        {"role": "assistant", "tool_calls": [call(), call(arguments)]},
    )
    assert message["tool_calls"][1]["function"]["arguments"] == shown


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ({"content": None}, {"content": ""}),
        ({"content": None, "reasoning_content": "hm"}, {"content": "", "reasoning_content": "hm"}),
        ({"content": "x", "reasoning": "hm"}, {"content": "x", "reasoning_content": "hm"}),
        ({"content": "x", "reasoning": {"foreign": 1}}, {"content": "x"}),
        (
            {
                "content": "x",
                "reasoning_details": [
                    {"type": "reasoning.text", "text": "hm"},
                    {"type": "reasoning.encrypted", "data": "gAAAA"},
                ],
            },
            {"content": "x", "reasoning_content": "hm"},
        ),
        (
            {"content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "x"}]},
            {"content": [TextPart("x")], "reasoning_content": "hm"},
        ),
        ({"content": None, "refusal": "no"}, {"content": "no"}),
        ({"content": [{"type": "refusal", "refusal": "no"}]}, {"content": [TextPart("no")]}),
        (
            {"content": "x", "audio": {"id": "a"}, "annotations": [{}], "cache_control": {"type": "ephemeral"}},
            {"content": "x"},
        ),
    ],
)
def test_what_other_servers_answered_comes_back(message: dict[str, Any], shown: dict[str, Any]) -> None:
    assert rendered({"role": "assistant", **message}) == [{"role": "assistant", **shown}]


def test_old_calls_and_results_are_those_of_today() -> None:
    _, called, result = rendered(
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"a": 1}'}},
        {"role": "function", "name": "f", "content": None},
    )
    assert called["tool_calls"][0]["function"] == {"name": "f", "arguments": {"a": 1}}
    assert result == {
        "role": "tool",
        "name": "f",
        "content": "",
        "tool_call_id": called["tool_calls"][0]["id"],
    }


def test_results_without_an_id_answer_the_calls_in_their_order() -> None:
    messages = rendered(
        {"role": "assistant", "tool_calls": [call(id="a"), call(id="")]},
        {"role": "tool", "content": "1"},
        {"role": "tool", "content": "2"},
    )
    assert [message["tool_call_id"] for message in messages[1:]] == ["a", messages[0]["tool_calls"][1]["id"]]


def test_what_the_model_cannot_see_is_said_in_words_where_it_lies_behind() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    file = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:,"}}  # one that could not be read
    with noting_ignored("POST /v1/chat/completions") as noted:
        messages = rendered(
            {"role": "user", "content": [{"type": "text", "text": "see"}, image, file]},
            {"role": "assistant", "content": None, "tool_calls": [call()]},
            {"role": "tool", "tool_call_id": "call_1", "content": [image]},
            {"role": "user", "content": "and now?"},
        )
    words = TextPart("[image left out: this model reads text]")
    assert messages[0]["content"] == [
        TextPart("see"),
        words,
        TextPart("[file a.pdf left out: this model reads text]"),
    ]
    assert messages[2]["content"] == [words]
    assert noted.paths == ("messages[].content[].type=image_url", "messages[].content[].type=file")
    with noting_ignored("x", is_strict=True), pytest.raises(UnsupportedFieldError):
        rendered({"role": "user", "content": [image]}, {"role": "user", "content": "x"})


def test_names_of_old_calls_are_whatever_they_were() -> None:
    (message,) = rendered({"role": "assistant", "tool_calls": [call(function={"name": "mcp: a/b é" * 8})]})
    assert message["tool_calls"][0]["function"]["name"] == "mcp: a/b é" * 8


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
        ({"role": "user", "content": "x", "tool_calls": [call()]}, "messages[0].tool_calls"),
        ({"role": "user", "content": "x", "tool_call_id": "a"}, "messages[0].tool_call_id"),
        ({"role": "user", "content": "x", "reasoning_content": "a"}, "messages[0].reasoning_content"),
        ({"role": "tool", "content": "x"}, "messages[0].tool_call_id"),
        ({"role": "tool", "content": "x", "tool_call_id": ""}, "messages[0].tool_call_id"),
        ({"role": "king", "content": "x"}, "messages[0].role"),
        ({"role": "assistant", "tool_calls": [call(type="mcp")]}, "messages[0].tool_calls[0].type"),
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


def test_other_parts_than_texts_and_images_are_refused() -> None:
    with pytest.raises(UnsupportedFieldError, match="only texts, images and documents are understood") as caught:
        rendered({"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "x"}}]})
    assert caught.value.param == "messages[0].content[0].input_audio"


def test_what_an_earlier_message_has_nothing_in_is_an_empty_text() -> None:
    assert rendered(
        {"role": "assistant", "content": [{"type": "text", "text": None}]},
        {"role": "user", "content": "hi", "reasoning_content": ""},
    ) == [{"role": "assistant", "content": [TextPart("")]}, {"role": "user", "content": "hi"}]
