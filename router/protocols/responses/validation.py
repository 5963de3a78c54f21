"""Requests of the Responses API to `GenerationRequest`s: every field is honoured, neutral, or refused by name. Pure."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from backends.wire.prompts import ChatPrompt
from backends.wire.request import Constraint, ConstraintKind, OutputSpec, SequenceSpec
from registry.engines import EngineKind
from router.errors import InvalidRequestError, MissingFieldError, UnsupportedFieldError
from router.http.body import convert_part
from router.models.defaults import RequestDefaults, stop_texts, with_system
from router.models.wish import Wish
from router.protocols.fields.constraints import checked_constraint
from router.protocols.fields.sampling import SamplingWishes, sampling_params
from router.protocols.fields.support import refuse_unsupported
from router.protocols.fields.tools import FunctionDefinition, RequestTools, tools_for
from router.protocols.openai.schemas import MAX_STOPS, JsonObjectFormat
from router.protocols.responses.items import Item
from router.protocols.responses.messages import conversation_messages
from router.protocols.responses.schemas import INCLUDABLE, LOGPROBS, FunctionTool, JsonSchemaFormat, ResponseRequest
from router.requests.generation import GenerationRequest

_NAMED_CHOICES: Final = ("function", "allowed_tools")


def response_generation(
    request: ResponseRequest, wish: Wish, defaults: RequestDefaults, items: Iterable[Item], *, engine: EngineKind
) -> GenerationRequest:
    """Return what a request asks for.

    Args:
        items: Of the whole conversation: what it goes on from, and its own.

    Raises:
        UnsupportedFieldError: A field that is not honoured has a value that asks for something.
        InvalidRequestError: A value is out of range, or two fields contradict each other.
    """
    check_fields(request, engine)
    tools = _tools(request)
    messages = conversation_messages(items, request.instructions)
    if not messages:
        raise MissingFieldError("The field 'input' is required: there is nothing to answer.", "input")
    reasoning = request.reasoning
    prompt = ChatPrompt(
        with_system(messages, defaults.system, defaults.messages),
        tools=tools.shown,
        reasoning_effort=None if reasoning is None else reasoning.effort,
        allows_control_tokens=defaults.allow_special_in_content,
    )
    wishes = SamplingWishes(
        temperature=request.temperature,
        top_k=request.top_k,
        top_p=request.top_p,
        min_p=request.min_p,
        seed=request.seed,
        repetition_penalty=request.repetition_penalty,
        frequency_penalty=request.frequency_penalty,
        presence_penalty=request.presence_penalty,
        num_logprobs=_num_logprobs(request),
    )
    return GenerationRequest(
        wish=wish,
        prompts=(prompt,),
        spec=SequenceSpec(
            sampling=sampling_params(wishes, defaults),
            max_tokens=defaults.max_tokens if request.max_output_tokens is None else request.max_output_tokens,
            stop=stop_texts((), defaults, MAX_STOPS),
            constraint=_constraint(request),
            output=OutputSpec(splits_reasoning=True, tools=tools.use),
        ),
        prompt_param="input",
        # A stream begins when the prompt is taken in, not when it is evaluated.
        wants_progress=bool(request.stream),
    )


def check_fields(request: ResponseRequest, engine: EngineKind) -> None:
    """Refuse what is not honoured, and fields that contradict each other.

    Raises:
        UnsupportedFieldError: A field that is not honoured has a value that asks for something.
        InvalidRequestError: Two fields contradict each other.
    """
    refuse_unsupported(request, engine)
    if request.stream_options is not None and not request.stream:
        raise InvalidRequestError("stream_options is only allowed together with stream: true", "stream_options")
    if request.background and request.store is False:
        raise InvalidRequestError(
            "background: a response that is not stored cannot be polled; send store: true", "store"
        )
    check_include(request.include or [])
    if request.top_logprobs and LOGPROBS not in (request.include or []):
        raise InvalidRequestError(f"top_logprobs is only allowed together with include: {LOGPROBS}", "top_logprobs")


def check_include(include: Iterable[str]) -> None:
    """Refuse what cannot be included.

    Raises:
        UnsupportedFieldError: There is something else than `INCLUDABLE`.
    """
    for name in include:
        if name not in INCLUDABLE:
            known = " and ".join(INCLUDABLE)
            raise UnsupportedFieldError(f"include: {name!r:.80} is not supported; there are {known}", "include")


def _num_logprobs(request: ResponseRequest) -> int | None:
    return (request.top_logprobs or 0) if LOGPROBS in (request.include or []) else None


def _constraint(request: ResponseRequest) -> Constraint | None:
    wanted = None if request.text is None else request.text.format
    if isinstance(wanted, JsonObjectFormat):
        return Constraint(ConstraintKind.JSON_OBJECT, "", "text.format")
    if isinstance(wanted, JsonSchemaFormat):
        schema = msgspec.json.encode(wanted.schema).decode()
        return checked_constraint(Constraint(ConstraintKind.JSON_SCHEMA, schema, "text.format"))
    return None


def _tools(request: ResponseRequest) -> RequestTools:
    functions = [_function(tool, f"tools[{index}]") for index, tool in enumerate(request.tools or [])]
    choice = _choice(request.tool_choice)
    try:
        return tools_for(functions, choice, is_parallel=request.parallel_tool_calls is not False)
    except InvalidRequestError as exc:
        raise _as_sent(exc) from exc


def _function(tool: dict[str, Any], where: str) -> FunctionDefinition:
    kind = tool.get("type")
    if kind != "function":
        path = f"{where}.type"
        raise UnsupportedFieldError(f"{path}: {kind!r:.60} is not supported; send tools of type function", path)
    function = convert_part(tool, FunctionTool, where)
    return FunctionDefinition(function.name, function.description, function.parameters, function.strict)


def _choice(choice: str | dict[str, Any] | None) -> str | dict[str, Any] | None:
    """Return the choice as chats have it, where the function's name lies one level deeper."""
    if choice is None or isinstance(choice, str):
        return choice
    kind = choice.get("type")
    if kind not in _NAMED_CHOICES:
        known = "none, auto, required, and objects of type function or allowed_tools"
        raise UnsupportedFieldError(
            f"tool_choice.type: {kind!r:.60} is not supported; send {known}", "tool_choice.type"
        )
    rest = {key: value for key, value in choice.items() if key != "type"}
    if kind == "function":
        return {"type": kind, "function": rest}
    tools = rest.get("tools")
    if isinstance(tools, list) and all(isinstance(tool, dict) for tool in tools):
        named = [
            {"type": tool.get("type"), "function": {key: tool[key] for key in tool if key != "type"}} for tool in tools
        ]
        rest = {**rest, "tools": named}
    return {"type": kind, "allowed_tools": rest}


def _as_sent(error: InvalidRequestError) -> InvalidRequestError:
    """Name the fields as they are in this API."""
    message, param = str(error), error.param or ""
    for theirs, ours in ((".allowed_tools", ""), (".function.", "."), (".function", "")):
        message, param = message.replace(theirs, ours), param.replace(theirs, ours)
    return type(error)(message, param or None)
