"""Chats and texts: what is asked of the engines, and what is refused."""

from typing import Any

import msgspec
import pytest

from backends.wire.prompts import ChatPrompt, TextPrompt
from backends.wire.request import ConstraintKind, ToolChoice
from registry.facts import ChatTemplateFacts
from registry.settings import PresetMessage
from router.errors import InvalidRequestError, UnsupportedFieldError
from router.models.defaults import RequestDefaults
from router.models.model_request import ModelRequest
from router.protocols.ollama.request import generation_for
from router.protocols.ollama.requested_model import RequestedModel
from router.protocols.ollama.schemas import ChatRequest, GenerateRequest
from router.requests.request import GenerationRequest

DEFAULTS = RequestDefaults()
PLAIN = ChatTemplateFacts.from_text("{{ messages }}")
THINKING = ChatTemplateFacts.from_text("{{ messages }}{% if enable_thinking %}<think>{% endif %}")
USER = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


def chat(
    facts: ChatTemplateFacts | None = PLAIN, defaults: RequestDefaults = DEFAULTS, **body: Any
) -> GenerationRequest:
    request = msgspec.convert({"model": "m", "messages": [USER], **body}, ChatRequest)
    return generation_for(
        request, RequestedModel(model_request=ModelRequest("m"), defaults=defaults, template=facts), None
    )


def text(
    facts: ChatTemplateFacts | None = PLAIN, defaults: RequestDefaults = DEFAULTS, **body: Any
) -> GenerationRequest:
    request = msgspec.convert({"model": "m", "prompt": "hi", **body}, GenerateRequest)
    return generation_for(
        request, RequestedModel(model_request=ModelRequest("m"), defaults=defaults, template=facts), None
    )


def chat_prompt(wanted: GenerationRequest) -> ChatPrompt:
    (prompt,) = wanted.prompts
    assert isinstance(prompt, ChatPrompt)
    return prompt


class TestChats:
    def test_options_bound_and_draw_the_answer(self) -> None:
        wanted = chat(options={"num_predict": 3, "temperature": 0, "stop": ["x"]})
        assert (wanted.spec.max_tokens, wanted.spec.sampling.temperature, wanted.spec.stop) == (3, 0, ("x",))

    def test_what_the_ai_sdk_sends_beside_the_options_counts_too(self) -> None:
        wanted = chat(temperature=0.5, top_p=0.75, max_output_tokens=9, options={"top_p": 0.5})
        assert (wanted.spec.sampling.temperature, wanted.spec.sampling.top_p, wanted.spec.max_tokens) == (0.5, 0.5, 9)

    def test_a_model_has_a_system_prompt_and_a_conversation_of_its_own(self) -> None:
        defaults = RequestDefaults(system="S", messages=(PresetMessage(role="user", content="P"),))
        contents = [message["content"] for message in chat_prompt(chat(defaults=defaults)).messages]
        assert contents == ["S", "P", "hi"]

    def test_an_answer_that_was_begun_is_gone_on_with(self) -> None:
        prompt = chat_prompt(chat(messages=[USER, {"role": "assistant", "content": "Well,"}]))
        assert (len(prompt.messages), prompt.continuation) == (1, "Well,")

    def test_an_answer_that_called_is_not(self) -> None:
        calls = [{"function": {"name": "f", "arguments": {}}}]
        prompt = chat_prompt(chat(messages=[USER, {"role": "assistant", "content": "a", "tool_calls": calls}]))
        assert (len(prompt.messages), prompt.continuation) == (2, None)

    def test_turns_are_left_out_only_where_that_is_asked(self) -> None:
        assert [chat_prompt(chat(truncate=value)).truncates for value in (None, False, True)] == [False, False, True]

    def test_tools_are_shown_and_used(self) -> None:
        wanted = chat(tools=[TOOL, {"function": {"name": "g"}}])
        assert [tool["function"]["name"] for tool in chat_prompt(wanted).tools] == ["f", "g"]
        assert wanted.spec.output is not None
        assert wanted.spec.output.tools is not None
        assert wanted.spec.output.tools.choice is ToolChoice.AUTO

    @pytest.mark.parametrize(
        "choice", [{"type": "function", "name": "f"}, {"type": "function", "function": {"name": "f"}}]
    )
    def test_one_tool_may_be_named(self, choice: dict[str, Any]) -> None:
        wanted = chat(tools=[TOOL], tool_choice=choice)
        assert wanted.spec.output is not None
        assert wanted.spec.output.tools is not None
        assert wanted.spec.output.tools.named == "f"

    @pytest.mark.parametrize(
        ("tool", "path"),
        [
            ({**TOOL, "type": "web_search"}, "tools[0].type"),
            ({**TOOL, "items": {}}, "tools[0].items"),
            ({"function": {"name": "f", "parameters": {"type": "string"}}}, "tools[0].function.parameters.type"),
        ],
    )
    def test_a_tool_that_is_none_is_refused(self, tool: dict[str, Any], path: str) -> None:
        with pytest.raises(InvalidRequestError) as caught:
            chat(tools=[tool])
        assert caught.value.param == path

    def test_logprobs(self) -> None:
        assert chat().spec.sampling.num_logprobs is None
        assert chat(logprobs=True).spec.sampling.num_logprobs == 0
        assert chat(logprobs=True, top_logprobs=4).spec.sampling.num_logprobs == 4
        with pytest.raises(InvalidRequestError, match="top_logprobs"):
            chat(top_logprobs=4)

    def test_a_shift_of_the_context_is_refused(self) -> None:
        chat(shift=False)
        with pytest.raises(UnsupportedFieldError, match="shift"):
            chat(shift=True)


class TestFormats:
    @pytest.mark.parametrize("value", [None, ""])
    def test_none_is_wanted(self, value: str | None) -> None:
        assert chat(format=value).spec.constraint is None

    def test_json_is_an_object(self) -> None:
        constraint = chat(format="json").spec.constraint
        assert constraint is not None
        assert (constraint.kind, constraint.param) == (ConstraintKind.JSON_OBJECT, "format")

    def test_an_object_is_a_schema(self) -> None:
        constraint = chat(format={"type": "integer"}).spec.constraint
        assert constraint is not None
        assert (constraint.kind, constraint.text) == (ConstraintKind.JSON_SCHEMA, '{"type":"integer"}')

    @pytest.mark.parametrize("value", ["xml", {"description": "x" * 70_000}])
    def test_others_are_refused(self, value: Any) -> None:
        with pytest.raises(InvalidRequestError, match="format"):
            chat(format=value)


class TestThinking:
    @pytest.mark.parametrize(
        ("think", "expected"),
        [
            (None, (None, None)),
            ("", (None, None)),
            (True, (True, None)),
            (False, (False, None)),
            ("low", (True, "low")),
            ("max", (True, "xhigh")),
        ],
    )
    def test_a_wish_reaches_the_template(self, think: Any, expected: tuple[Any, Any]) -> None:
        for prompt in (chat_prompt(chat(THINKING, think=think)), chat_prompt(text(THINKING, think=think))):
            assert (prompt.enable_thinking, prompt.reasoning_effort) == expected
            # A model that always thinks goes on to: the AI SDK's provider sends `false` with every request.
            assert prompt.is_thinking_optional

    @pytest.mark.parametrize("think", [True, "high"])
    def test_a_model_that_does_not_think_says_so_in_ollamas_words(self, think: Any) -> None:
        with pytest.raises(UnsupportedFieldError, match='"m" does not support thinking'):
            chat(think=think)

    def test_a_model_that_does_not_think_is_content_not_to(self) -> None:
        assert chat_prompt(chat(think=False)).enable_thinking is None

    def test_an_unknown_level_is_refused(self) -> None:
        with pytest.raises(InvalidRequestError, match="think: 'very'"):
            chat(THINKING, think="very")


class TestTexts:
    def test_a_prompt_is_a_message_of_the_user(self) -> None:
        wanted = text(system="S")
        contents = [(message["role"], message["content"]) for message in chat_prompt(wanted).messages]
        assert contents == [("system", "S"), ("user", "hi")]
        assert wanted.spec.wants_token_ids

    def test_a_raw_prompt_is_the_text_itself(self) -> None:
        wanted = text(raw=True)
        assert wanted.prompts == (TextPrompt("hi"),)
        assert not wanted.spec.wants_token_ids

    def test_a_model_without_a_template_gets_the_text_itself(self) -> None:
        assert text(None).prompts == (TextPrompt("hi"),)
        assert isinstance(text(None, system="S").prompts[0], ChatPrompt)  # which the worker refuses

    def test_a_suffix_is_filled_in_before(self) -> None:
        assert text(suffix="end").prompts == (TextPrompt("hi", "end"),)

    def test_a_context_is_gone_on_from_without_the_models_beginning(self) -> None:
        wanted = text(defaults=RequestDefaults(system="S"), context=[1, 2])
        prompt = chat_prompt(wanted)
        assert (prompt.context_ids, prompt.messages) == ([1, 2], [USER])

    def test_a_context_names_its_conversation_by_its_beginning(self) -> None:
        long = list(range(100))
        sessions = {text(context=context).spec.session_id for context in (long, [*long, 7], [*long, 8, 9])}
        assert len(sessions) == 1
        assert text(context=[5, *long]).spec.session_id not in sessions
        assert text().spec.session_id is None

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({"template": "{{ .Prompt }}"}, "template"),
            ({"suffix": "s", "images": ["aGk="]}, "images"),
            ({"raw": True, "system": "S"}, "system"),
            ({"raw": True, "context": [1]}, "context"),
            ({"suffix": "s", "system": "S"}, "system"),
            ({"suffix": "s", "context": [1]}, "context"),
            ({"raw": True, "think": True}, "think"),
        ],
    )
    def test_what_has_no_place_is_refused(self, body: dict[str, Any], param: str) -> None:
        with pytest.raises(InvalidRequestError) as caught:
            text(**body)
        assert caught.value.param == param
        assert str(caught.value).startswith(f"{param}: ")

    def test_empty_values_ask_for_nothing(self) -> None:
        asked = text(template="", images=[], system="", context=[], suffix="", raw=False, format="", think="")
        assert asked == text()


class TestOptions:
    MODELS = RequestDefaults(temperature=0.25, top_k=7, max_tokens=99, stop=("END",))

    def test_sampling_comes_as_the_engines_have_it(self) -> None:
        options = {
            "temperature": 0.5,
            "top_k": -1,
            "top_p": 0.8,
            "min_p": 0.1,
            "typical_p": 0.7,
            "seed": 42,
            "repeat_penalty": 1.3,
            "repeat_last_n": -1,
            "presence_penalty": 0.5,
            "frequency_penalty": -0.5,
        }
        params = chat(defaults=self.MODELS, options=options, logprobs=True, top_logprobs=3).spec.sampling
        assert (params.temperature, params.top_k, params.top_p, params.min_p) == (0.5, None, 0.8, 0.1)
        assert (params.typical_p, params.seed, params.num_logprobs) == (0.7, 42, 3)
        assert (params.repetition_penalty, params.presence_penalty, params.frequency_penalty) == (1.3, 0.5, -0.5)
        assert (params.repetition_window, params.penalty_window) == (None, None)

    def test_what_is_left_open_is_the_models(self) -> None:
        params = chat(defaults=self.MODELS, options={"seed": -1}).spec.sampling
        assert (params.temperature, params.top_k, params.seed, params.num_logprobs) == (0.25, 7, None, None)

    @pytest.mark.parametrize(("options", "expected"), [({}, 99), ({"num_predict": 5}, 5), ({"num_predict": -1}, None)])
    def test_the_length_of_an_answer(self, options: dict[str, int], expected: int | None) -> None:
        assert text(defaults=self.MODELS, options=options).spec.max_tokens == expected

    def test_an_answer_of_no_tokens_is_refused(self) -> None:
        with pytest.raises(InvalidRequestError, match=r"options\.num_predict"):
            text(options={"num_predict": 0})

    @pytest.mark.parametrize(
        ("options", "expected"),
        [({"stop": "a"}, ("a", "END")), ({"stop": ["a", "END"]}, ("a", "END")), ({}, ("END",))],
    )
    def test_stop_texts_join_the_models(self, options: dict[str, Any], expected: tuple[str, ...]) -> None:
        assert chat(defaults=self.MODELS, options=options).spec.stop == expected
