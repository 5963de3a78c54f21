"""Anthropic requests to generations: honoured, a label, or refused by meaning."""

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.wire.prompts import ChatPrompt
from backends.wire.request import Priority
from registry.engines import EngineKind
from router.errors import InvalidRequestError, UnsupportedFieldError
from router.models.defaults import RequestDefaults
from router.models.model_request import ModelRequest
from router.protocols.anthropic.request import generation_for, prompt_for
from router.protocols.anthropic.schemas import CountRequest, MessagesRequest
from router.protocols.choice import ChosenModel
from router.protocols.fields.support import decode_body
from router.requests.context_wish import ContextWish
from router.requests.headers import RequestHeaders
from router.requests.request import GenerationRequest

pytestmark = pytest.mark.slow

BODY: dict[str, Any] = {"model": "m", "max_tokens": 2000, "messages": [{"role": "user", "content": "hi"}]}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
DEFAULTS = RequestDefaults(temperature=0.5, top_k=40, stop=("END",), system="Be brief.", max_tokens=7)


def generation(defaults: RequestDefaults = DEFAULTS, **fields: Any) -> GenerationRequest:
    request = decode_body(msgspec.json.encode(BODY | fields), MessagesRequest)
    return generation_for(request, ChosenModel(ModelRequest("m"), EngineKind.MLX, defaults), RequestHeaders())


def prompt(**fields: Any) -> ChatPrompt:
    shown = generation(**fields).prompts[0]
    assert isinstance(shown, ChatPrompt)
    return shown


def refused(kind: type[InvalidRequestError] = InvalidRequestError, **fields: Any) -> InvalidRequestError:
    with pytest.raises(kind) as caught:
        generation(**fields)
    return caught.value


def test_numbers_go_over_the_models_own() -> None:
    own = generation().spec.sampling
    assert (own.temperature, own.top_k, own.top_p) == (0.5, 40, 1.0)
    asked = generation(temperature=0.25, top_k=5, top_p=0.5).spec.sampling
    assert (asked.temperature, asked.top_k, asked.top_p) == (0.25, 5, 0.5)
    assert generation().spec.max_tokens == 2000


def test_stop_texts_are_the_requests_and_the_models() -> None:
    assert generation(stop_sequences=["a", "END"]).spec.stop == ("a", "END")
    assert refused(stop_sequences=[str(number) for number in range(16)]).param == "stop_sequences"


def test_the_models_system_prompt_is_for_requests_without_one() -> None:
    assert prompt().messages[0] == {"role": "system", "content": "Be brief."}
    assert prompt(system="Sing.").messages[0] == {"role": "system", "content": "Sing."}


@pytest.mark.parametrize(
    ("thinking", "expected", "is_optional"),
    [
        (None, False, True),
        ({"type": "enabled", "budget_tokens": 1024}, True, True),
        ({"type": "adaptive", "display": "omitted"}, None, True),
        ({"type": "disabled"}, False, False),
    ],
)
def test_thinking_is_a_permission_and_its_absence_is_held_to(
    thinking: Any, expected: Any, *, is_optional: bool
) -> None:
    shown = prompt(thinking=thinking)
    assert (shown.enable_thinking, shown.is_thinking_optional) == (expected, is_optional)


def test_efforts_have_the_templates_names() -> None:
    assert prompt(output_config={"effort": "low"}).reasoning_effort == "low"
    assert prompt(output_config={"effort": "max"}).reasoning_effort == "xhigh"
    assert prompt().reasoning_effort is None


def test_an_answer_that_was_begun_has_no_thinking_before_it() -> None:
    begun = [*BODY["messages"], {"role": "assistant", "content": "Sure"}]
    assert prompt(messages=begun).continuation == "Sure"
    assert prompt(messages=begun, thinking={"type": "adaptive"}).enable_thinking is False
    error = refused(messages=begun, thinking={"type": "enabled", "budget_tokens": 1024})
    assert error.param == "messages[1]"


@pytest.mark.parametrize("place", ["output_config", "output_format"])
def test_a_schema_constrains_the_answer(place: str) -> None:
    wanted = {"type": "json_schema", "schema": SCHEMA}
    fields: dict[str, Any] = {place: wanted if place == "output_format" else {"format": wanted}}
    constraint = generation(**fields).spec.constraint
    assert constraint is not None
    assert msgspec.json.decode(constraint.text) == SCHEMA
    assert constraint.param.startswith(place)
    assert refused(output_config={"format": wanted}, output_format=wanted).param == "output_format"


def test_headers_schedule() -> None:
    request = decode_body(msgspec.json.encode(BODY), MessagesRequest)
    headers = RequestHeaders(priority=Priority.BACKGROUND, session_id="s")
    wanted = generation_for(request, ChosenModel(ModelRequest("m"), EngineKind.MLX, DEFAULTS), headers)
    assert (wanted.spec.priority, wanted.spec.session_id) == (Priority.BACKGROUND, "s")
    assert generation().spec.priority is Priority.INTERACTIVE


LABELS: dict[str, Any] = {
    "metadata": {"user_id": "me"},
    "service_tier": "standard_only",
    "cache_control": {"type": "ephemeral", "ttl": "1h"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "mcp_servers": [],
    "speed": "standard",
    "container": None,
    "user_profile_id": "u",
}


def test_labels_change_nothing() -> None:
    assert generation(**LABELS) == generation()


REFUSED: dict[str, Any] = {
    "mcp_servers": [{"type": "url"}],
    "container": "c",
    "speed": "fast",
    "inference_geo": "eu",
    "diagnostics": {"previous_message_id": None},
    "fallbacks": [{"model": "x"}],
    "thread": {"type": "create"},
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_honoured_is_refused_by_name_with_a_way_out(name: str) -> None:
    error = refused(UnsupportedFieldError, **{name: REFUSED[name]})
    assert error.param == name
    assert str(error).startswith(f"{name} is not supported: ")


def test_a_task_budget_is_refused_inside_its_object() -> None:
    budget = {"type": "tokens", "total": 20_000}
    assert refused(output_config={"task_budget": budget}).param == "output_config.task_budget"


@pytest.mark.parametrize(
    ("wanted", "param"),
    [
        ([], "context_management"),
        ("all", "context_management"),
        ({"edits": "all"}, "context_management.edits"),
        ({"edits": [1]}, "context_management.edits[0]"),
        ({"edits": [{"type": "forget"}]}, "context_management.edits[0].type"),
        ({"edits": [{"type": "clear_thinking_20251015", "keep": "some"}]}, "context_management.edits[0].keep"),
        (
            {"edits": [{"type": "compact_20260112", "pause_after_compaction": True}]},
            "context_management.edits[0].pause_after_compaction",
        ),
    ],
)
def test_other_edits_of_the_context_are_refused_by_name(wanted: Any, param: str) -> None:
    assert refused(context_management=wanted).param == param


def test_a_compaction_is_a_wish_of_what_becomes_of_a_full_context() -> None:
    edit = {"type": "compact_20260112", "trigger": {"type": "input_tokens", "value": 5000}, "instructions": "Be brief."}
    wanted = ContextWish(mode="wind", threshold=5000, instructions="Be brief.")
    assert generation(context_management={"edits": [edit]}).context == wanted
    assert generation(context_management={"edits": [{"type": "compact_20260112"}]}).context == ContextWish(mode="wind")
    assert generation(context_management={"edits": []}).context is None


@pytest.mark.parametrize(
    ("fields", "param", "hint"),
    [
        (
            {"messages": [{"role": "user", "content": [{"type": "document", "source": {}}]}]},
            ".source.type",
            "base64, text",
        ),
        ({"system": [{"type": "image"}]}, "system[0].type", "of type text"),
        ({"thinking": {"type": "between_tools"}}, "thinking.type", "adaptive"),
        ({"tool_choice": {"type": "required"}}, "tool_choice.type", "any"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role", "system"),
        ({"temperature": 1.5}, "temperature", "1"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "thinking.budget_tokens", "below max_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": 5}}, "thinking.budget_tokens", "1024"),
        ({"frequency_penalty": 1}, "frequency_penalty", "not known"),
    ],
)
def test_errors_name_the_field_and_the_way_out(fields: dict[str, Any], param: str, hint: str) -> None:
    error = refused(**fields)
    assert str(error.param).endswith(param)
    assert hint in str(error)


def test_a_count_takes_what_makes_a_prompt_and_nothing_else() -> None:
    body = {name: BODY[name] for name in ("model", "messages")}
    counted = prompt_for(decode_body(msgspec.json.encode(body), CountRequest), DEFAULTS)
    assert counted == prompt()
    with pytest.raises(InvalidRequestError, match="max_tokens"):
        decode_body(msgspec.json.encode(BODY), CountRequest)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 3000) | st.sampled_from(["", "user", "text", "tool", "\ud7ff", "{}"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "text", "role", "content", "name", "id", "input", "thinking", "edits", "schema"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
BLOCKS = st.sampled_from(
    [
        {"type": "text", "text": "a"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {}},
        {"type": "tool_result", "tool_use_id": "t", "content": "x"},
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "redacted_thinking", "data": ""},
        {"type": "image"},
    ]
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["user", "assistant", "system"]),
            "content": st.lists(BLOCKS, max_size=3) | st.just(""),
        }
    ),
    max_size=4,
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "messages": MESSAGES | JSON,
        "tools": st.lists(JSON | st.just({"name": "f", "input_schema": {}}), max_size=2) | JSON,
        **dict.fromkeys(("system", "tool_choice", "thinking", "output_config", "context_management", "stream"), JSON),
        **dict.fromkeys(("stop_sequences", "metadata", "temperature", "model", "max_tokens", "container"), JSON),
    },
)


@given(fields=FIELDS)
@settings(max_examples=400, deadline=None)
def test_hostile_bodies_are_understood_or_refused(fields: dict[str, Any]) -> None:
    with contextlib.suppress(InvalidRequestError):
        generation(**fields)
