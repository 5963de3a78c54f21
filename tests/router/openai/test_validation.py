from typing import Any

import msgspec
import pytest

from backends.prompts import ChatPrompt, TextPrompt, TokenPrompt
from router.config import GenerationConfig
from router.errors import InvalidRequestError, UnknownFieldError, UnsupportedFieldError
from router.generation import GenerationRequest
from router.http.body import decode_json
from router.openai.schemas import ChatMessage, ChatRequest, CompletionRequest, StreamOptions, TextPart
from router.openai.validation import NEUTRAL_VALUES, NUM_SEEDS, chat_generation, completion_generation
from router.waiting import Wish

DEFAULTS = GenerationConfig(temperature=0.7, top_p=0.9, top_k=40, min_p=0.05, max_tokens=99)
LABELS = {"user", "metadata", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"}
"""Fields that by OpenAI's own definition do not change the answer."""
ROUTE_FIELDS = {"model", "stream"}
"""Fields that the route reads."""


def chat(**body: Any) -> GenerationRequest:
    plain = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    request = decode_json(msgspec.json.encode(plain | body), ChatRequest)
    return chat_generation(request, Wish("m"), DEFAULTS)


def complete(**body: Any) -> GenerationRequest:
    request = decode_json(msgspec.json.encode({"model": "m", "prompt": "p"} | body), CompletionRequest)
    return completion_generation(request, Wish("m"), DEFAULTS)


HONOURED: dict[str, tuple[Any, str, Any]] = {
    "temperature": (0.25, "sampling.temperature", 0.25),
    "top_p": (0.5, "sampling.top_p", 0.5),
    "top_k": (7, "sampling.top_k", 7),
    "min_p": (0.5, "sampling.min_p", 0.5),
    "seed": (11, "sampling.seed", 11),
    "max_tokens": (5, "max_tokens", 5),
    "max_completion_tokens": (5, "max_tokens", 5),
    "stop": (["a", "b"], "stop", ("a", "b")),
    "ignore_eos": (True, "ignore_eos", True),
    "messages": ([{"role": "user", "content": "x"}], "prompts", (ChatPrompt([{"role": "user", "content": "x"}]),)),
    "prompt": ("x", "prompts", (TextPrompt("x"),)),
}


@pytest.mark.parametrize("schema", [ChatRequest, CompletionRequest])
def test_every_field_is_honoured_a_label_or_refused_unless_it_asks_for_nothing(schema: type[msgspec.Struct]) -> None:
    known = LABELS | ROUTE_FIELDS | set(NEUTRAL_VALUES) | set(HONOURED) | {"stream_options"}
    assert set(schema.__struct_fields__) <= known
    assert not set(HONOURED) & (set(NEUTRAL_VALUES) | LABELS)


@pytest.mark.parametrize("name", sorted(HONOURED))
def test_an_honoured_field_reaches_the_engine(name: str) -> None:
    value, place, expected = HONOURED[name]
    make = chat if name in ChatRequest.__struct_fields__ else complete
    found: Any = make(**{name: value})
    for part in place.split("."):
        found = getattr(found, part)
    assert found == expected


NOT_NEUTRAL: dict[str, Any] = {
    "n": 2,
    "best_of": 3,
    "frequency_penalty": 0.5,
    "presence_penalty": -0.5,
    "logit_bias": {"5": 1.0},
    "logprobs": True,
    "top_logprobs": 2,
    "response_format": {"type": "json_object"},
    "tools": [{"type": "function"}],
    "tool_choice": "required",
    "parallel_tool_calls": None,
    "functions": [{}],
    "function_call": {"name": "f"},
    "reasoning_effort": "low",
    "verbosity": "low",
    "modalities": ["text", "audio"],
    "audio": {"voice": "x"},
    "prediction": {"type": "content"},
    "web_search_options": {},
    "chat_template_kwargs": {"enable_thinking": False},
    "service_tier": "flex",
    "store": True,
    "echo": True,
    "suffix": "x",
}


@pytest.mark.parametrize("name", sorted(NEUTRAL_VALUES))
def test_a_field_that_is_not_honoured_is_refused_by_name_unless_it_asks_for_nothing(name: str) -> None:
    make = chat if name in ChatRequest.__struct_fields__ else complete
    if NOT_NEUTRAL[name] is not None:
        with pytest.raises(UnsupportedFieldError, match=f"^{name} is not supported") as caught:
            make(**{name: NOT_NEUTRAL[name]})
        assert caught.value.param == name
    plain = make()
    for value in (None, *NEUTRAL_VALUES[name]):
        if isinstance(value, bool) and name == "logprobs" and make is complete:
            continue  # a number in this endpoint
        assert make(**{name: value}) == plain


def test_zero_is_neutral_in_either_number_type_but_only_where_zero_asks_for_nothing() -> None:
    assert chat(frequency_penalty=0.0, presence_penalty=0) == chat()
    with pytest.raises(UnsupportedFieldError, match="logprobs"):
        complete(logprobs=0)  # asks for the log probability of the sampled token


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"temperature": -0.1}, "temperature", ">= 0"),
        ({"temperature": 5.1}, "temperature", "<= 5"),
        ({"top_p": 0}, "top_p", "> 0"),
        ({"top_p": 1.1}, "top_p", "<= 1"),
        ({"top_k": -1}, "top_k", ">= 0"),
        ({"min_p": 2}, "min_p", "<= 1"),
        ({"max_tokens": 0}, "max_tokens", ">= 1"),
        ({"max_tokens": 10**12}, "max_tokens", "<= 1000000000"),
        ({"max_tokens": 1.5}, "max_tokens", "integer"),
        ({"stop": ""}, "stop", "length >= 1"),
        ({"stop": ["x"] * 17}, "stop", "length <= 16"),
        ({"stop": ["x" * 257]}, "stop[0]", "length <= 256"),
        ({"stream": "yes"}, "stream", "boolean"),
        ({"messages": []}, "messages", "length >= 1"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role", "robot"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "text is needed"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "string"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text", "a text"),
        ({"model": ""}, "model", "length >= 1"),
    ],
)
def test_a_value_out_of_range_is_refused_with_its_field_and_the_range(
    body: dict[str, Any], param: str, words: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        chat(**body)
    assert caught.value.param == param
    assert words in str(caught.value)
    assert param in str(caught.value)


def test_an_unknown_field_is_refused_by_name() -> None:
    with pytest.raises(UnknownFieldError) as caught:
        chat(api_base="http://evil")
    assert caught.value.param == "api_base"


@pytest.mark.parametrize("struct", [ChatMessage, TextPart, StreamOptions])
def test_nested_objects_refuse_unknown_fields_too(struct: type[msgspec.Struct]) -> None:
    assert struct.__struct_config__.forbid_unknown_fields


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "tool", "content": "x", "tool_call_id": "1"}, "messages[0].role"),
        ({"role": "function", "content": "x", "name": "f"}, "messages[0].role"),
        ({"role": "assistant", "content": "x", "tool_calls": [{}]}, "messages[0].tool_calls"),
        ({"role": "assistant", "content": "x", "refusal": "no"}, "messages[0].refusal"),
        ({"role": "assistant", "content": "x", "annotations": [{}]}, "messages[0].annotations"),
        ({"role": "assistant", "content": "x", "audio": {"id": "1"}}, "messages[0].audio"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///x"}}]},
            "messages[0].content[0]",
        ),
        (
            {"role": "user", "content": [{"type": "text", "text": "x", "image_url": {"url": "file:///x"}}]},
            "messages[0].content[0].image_url",
        ),
    ],
)
def test_a_part_of_a_message_that_cannot_be_honoured_is_refused_by_name(message: dict[str, Any], param: str) -> None:
    with pytest.raises(UnsupportedFieldError) as caught:
        chat(messages=[message])
    assert caught.value.param == param


def test_an_assistant_message_of_ours_may_be_sent_back() -> None:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "x",
        "refusal": None,
        "annotations": [],
        "tool_calls": [],
    }
    assert chat(messages=[message]).prompts == (ChatPrompt([{"role": "assistant", "content": "x"}]),)


def test_messages_reach_the_template_as_text_with_names_and_reasoning() -> None:
    messages = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "eve"},
        {"role": "assistant", "content": "c", "reasoning_content": "hm"},
    ]
    assert chat(messages=messages).prompts == (
        ChatPrompt(
            [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": "a\nb", "name": "eve"},
                {"role": "assistant", "content": "c", "reasoning_content": "hm"},
            ]
        ),
    )


def test_what_a_request_leaves_open_comes_from_the_config() -> None:
    request = chat()
    assert (request.sampling.temperature, request.sampling.top_p) == (0.7, 0.9)
    assert (request.sampling.top_k, request.sampling.min_p, request.max_tokens) == (40, 0.05, 99)
    assert request.sampling.seed is None
    assert chat(top_k=0).sampling.top_k is None
    assert chat(seed=-1).sampling.seed == NUM_SEEDS - 1


def test_fields_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="max_completion_tokens"):
        chat(max_tokens=1, max_completion_tokens=1)
    with pytest.raises(InvalidRequestError, match="stream: true"):
        chat(stream_options={"include_usage": True})
    with pytest.raises(UnsupportedFieldError, match="include_obfuscation"):
        chat(stream=True, stream_options={"include_obfuscation": True})


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("a", (TextPrompt("a"),)),
        (["a", "b"], (TextPrompt("a"), TextPrompt("b"))),
        ([1, 2], (TokenPrompt([1, 2]),)),
        ([[1], [2, 3]], (TokenPrompt([1]), TokenPrompt([2, 3]))),
        (["x"] * 64, (TextPrompt("x"),) * 64),
    ],
)
def test_a_prompt_may_be_text_or_token_ids_one_or_several(prompt: Any, prompts: tuple[object, ...]) -> None:
    assert complete(prompt=prompt).prompts == prompts
    assert complete(prompt=prompt).prompt_param == "prompt"


@pytest.mark.parametrize("prompt", [[], ["a", 1], [1, [2]], [-1], [2**31], ["x"] * 65, [True], None, {}])
def test_other_prompts_are_refused_by_name(prompt: Any) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        complete(prompt=prompt)
    assert caught.value.param is not None
    assert caught.value.param.startswith("prompt")
