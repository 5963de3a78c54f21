from typing import Any

import msgspec
import pytest

from backends.wire.prompts import ChatPrompt, TextPrompt, TokenPrompt
from backends.wire.request import Constraint, ConstraintKind, OutputSpec
from registry.engines import EngineKind
from router.errors import InvalidRequestError, UnknownFieldError, UnsupportedFieldError
from router.http.body import decode_json
from router.models.defaults import RequestDefaults
from router.models.model_request import ModelRequest
from router.protocols.choice import ChosenModel
from router.protocols.openai.request import generation_for
from router.protocols.openai.schemas import ChatMessage, ChatRequest, CompletionRequest, StreamOptions, TextPart
from router.requests.headers import RequestHeaders
from router.requests.request import GenerationRequest

DEFAULTS = RequestDefaults(temperature=0.7, top_p=0.9, top_k=40, min_p=0.05, max_tokens=99)


def chat(*, defaults: RequestDefaults = DEFAULTS, has_progress_header: bool = False, **body: Any) -> GenerationRequest:
    plain = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    request = decode_json(msgspec.json.encode(plain | body), ChatRequest)
    return generation_for(
        request,
        ChosenModel(ModelRequest("m"), EngineKind.MLX, defaults),
        RequestHeaders(),
        has_events=has_progress_header,
    )


def complete(**body: Any) -> GenerationRequest:
    request = decode_json(msgspec.json.encode({"model": "m", "prompt": "p"} | body), CompletionRequest)
    return generation_for(request, ChosenModel(ModelRequest("m"), EngineKind.MLX, DEFAULTS), RequestHeaders())


def prompt_of(**body: Any) -> ChatPrompt:
    (prompt,) = chat(**body).prompts
    assert isinstance(prompt, ChatPrompt)
    return prompt


HONOURED: dict[str, tuple[Any, str, Any]] = {
    "max_tokens": (5, "spec.max_tokens", 5),
    "max_completion_tokens": (5, "spec.max_tokens", 5),
    "stop": (["a", "b"], "spec.stop", ("a", "b")),
    "ignore_eos": (True, "spec.ignore_eos", True),
    "n": (8, "num_choices", 8),
    "logprobs": (True, "spec.sampling.num_logprobs", 0),
    "messages": ([{"role": "user", "content": "x"}], "prompts", (ChatPrompt([{"role": "user", "content": "x"}]),)),
    "reasoning_format": ("none", "spec.output", OutputSpec(splits_reasoning=False)),
}


@pytest.mark.parametrize("name", sorted(HONOURED))
def test_an_honoured_field_reaches_the_engine(name: str) -> None:
    value, place, expected = HONOURED[name]
    found: Any = chat(**{name: value})
    for part in place.split("."):
        found = getattr(found, part)
    assert found == expected


def test_log_probabilities_reach_the_engine_from_both_shapes() -> None:
    assert chat().spec.sampling.num_logprobs is None
    assert chat(logprobs=False, top_logprobs=0).spec.sampling.num_logprobs is None
    assert chat(logprobs=True, top_logprobs=20).spec.sampling.num_logprobs == 20
    assert complete().spec.sampling.num_logprobs is None
    assert complete(logprobs=0).spec.sampling.num_logprobs == 0
    with pytest.raises(InvalidRequestError, match="logprobs: true") as caught:
        chat(top_logprobs=3)
    assert caught.value.param == "top_logprobs"


def test_thinking_is_wished_for_in_three_ways() -> None:
    assert prompt_of().enable_thinking is None
    assert prompt_of(enable_thinking=False).enable_thinking is False
    inner = prompt_of(chat_template_kwargs={"enable_thinking": True, "style": "terse"})
    assert (inner.enable_thinking, inner.template_kwargs) == (True, {"style": "terse"})
    assert prompt_of(reasoning_effort="xhigh").reasoning_effort == "xhigh"
    assert prompt_of(enable_thinking=True, chat_template_kwargs={"enable_thinking": True}).enable_thinking is True
    assert prompt_of(reasoning_effort="none", enable_thinking=False).reasoning_effort == "none"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"enable_thinking": True, "chat_template_kwargs": {"enable_thinking": False}}, "enable_thinking"),
        ({"reasoning_effort": "none", "enable_thinking": True}, "reasoning_effort"),
        ({"reasoning_effort": "low", "enable_thinking": False}, "reasoning_effort"),
        ({"chat_template_kwargs": {"enable_thinking": "yes"}}, "chat_template_kwargs.enable_thinking"),
        ({"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs.messages"),
        ({"chat_template_kwargs": {"x": "x" * 16_384}}, "chat_template_kwargs"),
        ({"max_tokens": 1, "max_completion_tokens": 2}, "max_tokens"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"return_progress": True}, "return_progress"),
        ({"timings_per_token": True, "stream": False}, "timings_per_token"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(body: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        chat(**body)
    assert caught.value.param == param
    assert param.rpartition(".")[2] in str(caught.value)


def test_control_tokens_in_messages_count_as_the_config_says() -> None:
    assert prompt_of().allows_control_tokens is False
    assert prompt_of(defaults=RequestDefaults(allow_special_in_content=True)).allows_control_tokens is True


def test_progress_is_asked_of_the_worker_only_where_somebody_sees_it() -> None:
    assert not chat(stream=True).wants_progress
    assert chat(stream=True, return_progress=True).wants_progress
    assert chat(stream=True, timings_per_token=True).wants_progress
    assert chat(stream=True, has_progress_header=True).wants_progress
    assert not chat(has_progress_header=True).wants_progress


def test_an_unsupported_value_is_refused_with_the_way_out() -> None:
    with pytest.raises(UnsupportedFieldError, match=r"modalities .* leave it out, or send \[\"text\"\]") as caught:
        chat(modalities=["audio"])
    assert caught.value.param == "modalities"
    with pytest.raises(UnsupportedFieldError, match=r"functions .*; it is the old form of tools; send tools"):
        chat(functions=[{"name": "f"}])


def test_what_a_request_leaves_open_comes_from_the_config() -> None:
    request = chat()
    assert (request.spec.sampling.temperature, request.spec.sampling.top_p) == (0.7, 0.9)
    assert (request.spec.sampling.top_k, request.spec.sampling.min_p, request.spec.max_tokens) == (40, 0.05, 99)
    assert request.spec.sampling.seed is None


def test_an_unknown_field_is_refused_where_nobody_would_be_told() -> None:
    with pytest.raises(UnknownFieldError) as caught:
        chat(api_base="http://evil")
    assert caught.value.param == "api_base"


@pytest.mark.parametrize("struct", [ChatMessage, TextPart, StreamOptions])
def test_nested_objects_know_their_fields_too(struct: type[msgspec.Struct]) -> None:
    assert struct.__struct_config__.forbid_unknown_fields


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


def test_a_suffix_goes_with_one_text() -> None:
    assert complete(suffix="end").prompts == (TextPrompt("p", "end"),)
    assert complete(prompt=["p"], suffix="end").prompts == (TextPrompt("p", "end"),)
    assert complete(suffix="").prompts == (TextPrompt("p"),)
    for prompt in (["a", "b"], [1, 2], [[1]]):
        with pytest.raises(UnsupportedFieldError) as caught:
            complete(prompt=prompt, suffix="end")
        assert caught.value.param == "suffix"


@pytest.mark.parametrize(
    ("body", "num_scores"),
    [
        ({}, None),
        ({"echo": True}, None),
        ({"logprobs": 2}, None),
        ({"echo": True, "logprobs": 2}, 2),
        ({"echo": True, "logprobs": 0, "prompt": [1, 2]}, 0),
        ({"prompt_logprobs": 3}, 3),
        ({"prompt_logprobs": 0, "logprobs": 5}, 0),
        ({"prompt_logprobs": 1, "echo": True, "logprobs": 5}, 5),
    ],
)
def test_a_prompts_log_probabilities_are_computed_where_they_are_shown(
    body: dict[str, Any], num_scores: int | None
) -> None:
    spec = complete(**body).spec
    assert (spec.sampling.num_prompt_logprobs, spec.echoes) == (num_scores, body.get("echo", False))


def test_a_stream_has_no_field_for_the_prompts_log_probabilities() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        complete(prompt_logprobs=1, stream=True)
    assert caught.value.param == "prompt_logprobs"


@pytest.mark.parametrize(
    ("wanted", "kind", "text", "param"),
    [
        ({"json": {"type": "null"}}, "json_schema", '{"type":"null"}', "json"),
        ({"json": '{"type": "null"}'}, "json_schema", '{"type":"null"}', "json"),
        ({"json_object": True}, "json_object", "", "json_object"),
        ({"regex": "a+", "json_object": False}, "regex", "a+", "regex"),
        ({"grammar": 'root ::= "a"', "choice": None}, "gbnf", 'root ::= "a"', "grammar"),
        ({"choice": ["a", 'b"\\\n']}, "gbnf", 'root ::= "a" | "b\\"\\\\\n"', "choice"),
    ],
)
def test_structured_outputs_are_constraints(wanted: dict[str, Any], kind: str, text: str, param: str) -> None:
    constraint = complete(structured_outputs=wanted).spec.constraint
    assert constraint == Constraint(ConstraintKind(kind), text, f"structured_outputs.{param}")
    assert chat(structured_outputs=wanted).spec.constraint == constraint


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"structured_outputs": {}}, "structured_outputs"),
        ({"structured_outputs": {"json_object": False}}, "structured_outputs"),
        ({"structured_outputs": {"regex": "a", "choice": ["a"]}}, "structured_outputs"),
        ({"structured_outputs": {"json": "{"}}, "structured_outputs.json"),
        ({"structured_outputs": {"json": "[]"}}, "structured_outputs.json"),
        ({"structured_outputs": {"regex": "a"}, "regex": "a"}, "structured_outputs"),
        ({"structured_outputs": {"structural_tag": "{}", "regex": "a"}}, "structured_outputs.structural_tag"),
        ({"stream_options": {"continuous_usage_stats": True}}, "stream_options"),
        ({"use_beam_search": True}, "use_beam_search"),
        ({"best_of": 2}, "best_of"),
    ],
)
def test_what_cannot_be_meant_or_done_is_refused_by_name(body: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        complete(**body)
    assert caught.value.param == param


def test_what_ends_an_answer_reaches_the_worker() -> None:
    spec = chat(min_tokens=3, stop_token_ids=[5, 6], return_token_ids=True, max_tokens=0).spec
    assert (spec.min_tokens, spec.stop_token_ids, spec.wants_token_ids, spec.max_tokens) == (3, (5, 6), True, 0)
    assert (chat().spec.min_tokens, chat().spec.stop_token_ids, chat().spec.wants_token_ids) == (0, (), False)


SAID = [{"role": "user", "content": "Say hello."}, {"role": "assistant", "content": "Hel"}]


def test_the_last_message_may_be_the_beginning_of_the_answer() -> None:
    prompt = prompt_of(messages=SAID, continue_final_message=True, add_generation_prompt=False)
    assert prompt.continuation == "Hel"
    assert [message["role"] for message in prompt.messages] == ["user"]
    assert prompt_of(messages=SAID).continuation is None


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": SAID[:1]}, "continue_final_message"),
        ({"messages": SAID[1:]}, "continue_final_message"),
        ({"messages": SAID, "add_generation_prompt": True}, "continue_final_message"),
    ],
)
def test_what_is_no_beginning_is_refused(body: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        chat(**{"continue_final_message": True, **body})
    assert caught.value.param == param


def test_a_prompt_may_end_with_the_messages() -> None:
    assert not prompt_of(add_generation_prompt=False).opens_turn
    assert prompt_of(messages=SAID, continue_final_message=True, add_generation_prompt=False).opens_turn
    assert prompt_of().opens_turn


SCHEMA = {"type": "boolean"}


@pytest.mark.parametrize(
    "body",
    [
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a b", "schema": SCHEMA}}},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}},
        {"response_format": {"type": "json_schema", "schema": SCHEMA, "name": "x", "strict": True}},
        {"response_format": {"type": "json_object", "schema": SCHEMA}},
        {"json_schema": SCHEMA},
        {"json_schema": SCHEMA, "response_format": {"type": "text"}},
    ],
)
def test_a_schema_comes_in_several_forms(body: dict[str, Any]) -> None:
    for wanted in (chat(**body), complete(**body)):
        assert wanted.spec.constraint is not None
        assert (wanted.spec.constraint.kind, wanted.spec.constraint.text) == ("json_schema", '{"type":"boolean"}')


def test_a_schema_is_needed_and_wanted_once() -> None:
    with pytest.raises(InvalidRequestError) as missing:
        chat(response_format={"type": "json_schema"})
    assert missing.value.param == "response_format.json_schema"
    with pytest.raises(InvalidRequestError) as twice:
        chat(response_format={"type": "json_object"}, json_schema=SCHEMA)
    assert twice.value.param == "json_schema"
