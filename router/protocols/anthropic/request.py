"""Bodies of Anthropic's Messages API to what the router answers: every field is honoured, a label, or refused.

Whatever is refused is an `InvalidRequestError` that names the field.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET

from backends.wire.prompts import ChatPrompt
from backends.wire.request import Constraint, OutputSpec, Priority, SequenceSpec, ToolChoice
from router.errors import InvalidRequestError, UnsupportedFieldError
from router.http.body import convert_part
from router.models.defaults import RequestDefaults, stop_texts, with_system
from router.models.model_request import ModelRequest
from router.protocols.anthropic.api import ThreadsUnsupportedError
from router.protocols.anthropic.clearing import Clearing
from router.protocols.anthropic.documents import has_documents, read_documents
from router.protocols.anthropic.edits import Compact, Edit, Summarize
from router.protocols.anthropic.encoding import AnthropicHead, AnthropicStream, message_of
from router.protocols.anthropic.images import sent_images
from router.protocols.anthropic.messages import PromptMessages, read_messages
from router.protocols.anthropic.schemas import (
    AnyChoice,
    CountRequest,
    MessagesRequest,
    NamedChoice,
    NoChoice,
    ThinkingAdaptive,
    ThinkingDisabled,
    ThinkingEnabled,
    ToolDefinition,
)
from router.protocols.choice import ChosenModel, chosen_model
from router.protocols.fields.constraints import schema_constraint
from router.protocols.fields.mlxr import wished_context, wished_side, wished_speculation
from router.protocols.fields.sampling import sampling_params
from router.protocols.fields.support import decode_body, not_honoured, refuse_with_hint
from router.protocols.fields.tools import (
    Choice,
    FunctionDefinition,
    RequestTools,
    ToolPaths,
    check_parameters,
    tools_for,
)
from router.protocols.images.read import NO_IMAGES, ReadImages
from router.protocols.serving import Answering, Arrival, RequestService
from router.requests.collected import WholeAnswer
from router.requests.context_wish import ContextWish
from router.requests.generation import Generation
from router.requests.headers import MAX_SESSION_CHARS, RequestHeaders
from router.requests.register import AnswerEncoder
from router.requests.request import GenerationRequest

SESSION_HEADER: Final = "X-Claude-Code-Session-Id"
"""By which Claude Code names a conversation; X-Session-Id goes before it."""
_AnyBody = MessagesRequest | CountRequest

_EFFORTS: Final = {"max": "xhigh"}
"""Efforts that have another name for the templates."""
_CUSTOM: Final = (None, "custom")
_DIRECT: Final = "direct"
_PATHS: Final = ToolPaths(function="tools[{}]", parameters="input_schema", named="tool_choice.name", required="any")


async def anthropic_answering(serving: RequestService, arrival: Arrival) -> Answering:
    """Return what a request asks for."""
    body = decode_body(arrival.raw, MessagesRequest)
    headers = arrival.headers
    if headers.session_id is None:
        headers = msgspec.structs.replace(headers, session_id=_agent_session(arrival.request.headers))
    model_request = serving.models.model_request(body.model, headers.engine, load=headers.load)
    model_request, images = await images_of(serving, body, model_request, headers)
    wanted = generation_for(body, chosen_model(serving, model_request), headers, images)
    edits, clearing = edits_of(body), Clearing(serving, wanted.model_request)
    if body.compaction is not None:
        wanted = _compacting(wanted, body.compaction)
    if edits:
        wanted = await _cleared(wanted, edits, clearing)
    head = AnthropicHead(
        answer_id=AnthropicHead.new_id(),
        model=images.stand_in or model_request.named_as(body.model),
        max_tokens=body.max_tokens,
        stop_sequences=tuple(body.stop_sequences or ()),
        hides_thinking=_hides_thinking(body),
        tells_compaction=any(isinstance(edit, Compact) for edit in edits),
        is_compaction=body.compaction is not None,
        applied=UNSET if body.context_management is None else clearing.shown,
    )

    is_stream = bool(body.stream)

    def encoder(generation: Generation) -> AnswerEncoder:
        if is_stream:
            return AnthropicStream(head, generation)
        return WholeAnswer(1, lambda outputs: message_of(head, outputs[0], generation))

    return Answering(
        answer_id=head.answer_id,
        protocol="anthropic",
        wanted=wanted,
        encoder=encoder,
    )


def _compacting(wanted: GenerationRequest, how: Summarize) -> GenerationRequest:
    """Return a request of whose answer only the compaction counts: all of its conversation is told, the last too."""
    (prompt,) = wanted.prompts
    assert isinstance(prompt, ChatPrompt)
    messages = prompt.messages
    if prompt.continuation is not None:
        messages = [*messages, {"role": "assistant", "content": prompt.continuation}]
    spec = msgspec.structs.replace(wanted.spec, max_tokens=1, constraint=None, output=OutputSpec(splits_reasoning=True))
    return msgspec.structs.replace(
        wanted,
        prompts=(msgspec.structs.replace(prompt, messages=messages, continuation=None),),
        spec=spec,
        context=ContextWish(mode="wind", threshold=1, instructions=how.instructions or None),
    )


async def _cleared(wanted: GenerationRequest, edits: list[Edit], clearing: Clearing) -> GenerationRequest:
    """Return a request whose prompt has what its edits leave of it; errors as of `Clearing.apply`."""
    (prompt,) = wanted.prompts
    assert isinstance(prompt, ChatPrompt)
    return msgspec.structs.replace(wanted, prompts=(await clearing.apply(prompt, edits),))


async def images_of(
    serving: RequestService, body: _AnyBody, model_request: ModelRequest, headers: RequestHeaders
) -> tuple[ModelRequest, ReadImages]:
    """Read documents, and return who answers with the pictures that it is shown.

    Errors as of `read_documents` and `ImageReader.read`.
    """
    if has_documents(body.messages):
        serving.models.resolve(model_request)
        room = serving.images.room_beside(model_request, sent_images(body.messages))
        await read_documents(serving.documents, body.messages, max_pictures=room)
    wish = wished_side(headers, body.mlxr)
    return await serving.images.read(model_request, sent_images(body.messages), wish)


def _agent_session(headers: Mapping[str, str]) -> str | None:
    name = headers.get(SESSION_HEADER, "").strip()
    return name if 0 < len(name) <= MAX_SESSION_CHARS else None


def _hides_thinking(body: MessagesRequest) -> bool:
    return isinstance(body.thinking, ThinkingEnabled | ThinkingAdaptive) and body.thinking.display == "omitted"


def generation_for(
    request: MessagesRequest, model: ChosenModel, headers: RequestHeaders, images: ReadImages = NO_IMAGES
) -> GenerationRequest:
    """Return what a request asks for."""
    if isinstance(request.thinking, ThinkingEnabled) and request.thinking.budget_tokens >= request.max_tokens:
        path = "thinking.budget_tokens"
        raise InvalidRequestError(
            f"{path}: it must be below max_tokens ({request.max_tokens}), got {request.thinking.budget_tokens}", path
        )
    tools, defaults = request_tools(request), model.defaults
    return GenerationRequest(
        model_request=model.model_request,
        prompts=(prompt_for(request, defaults, tools, images),),
        spec=SequenceSpec(
            sampling=sampling_params(request, defaults),
            max_tokens=request.max_tokens,
            stop=stop_texts(request.stop_sequences, defaults, "stop_sequences"),
            constraint=_constraint(request),
            output=OutputSpec(splits_reasoning=True, tools=tools.use),
            priority=headers.priority or Priority.INTERACTIVE,
            session_id=headers.session_id,
            speculation=wished_speculation(headers, request.mlxr),
        ),
        prompt_param="messages",
        wants_progress=bool(request.stream),
        context=wished_context(headers, request.mlxr, _own_context(request)),
    )


def _own_context(request: MessagesRequest) -> ContextWish | None:
    """Return what the API's own fields say of a full context.

    Raises:
        UnsupportedFieldError: The answer is to wait for the client behind a summary.
    """
    for index, edit in enumerate(edits_of(request)):
        if isinstance(edit, Compact):
            refuse_with_hint(edit, f"context_management.edits[{index}].")
            threshold = None if edit.trigger is None else edit.trigger.value
            return ContextWish(mode="wind", threshold=threshold, instructions=edit.instructions or None)
    return None


def edits_of(request: _AnyBody) -> list[Edit]:
    """Return what is to be done to the conversation before the model is shown it, in order."""
    return [] if request.context_management is None else request.context_management.edits


def prompt_for(
    request: _AnyBody,
    defaults: RequestDefaults,
    tools: RequestTools | None = None,
    images: ReadImages = NO_IMAGES,
) -> ChatPrompt:
    """Return the conversation of a request.

    Args:
        tools: Those of the request; None = they are read here.
        images: Its pictures.
    """
    _check_honoured(request)
    tools = request_tools(request) if tools is None else tools
    conversation = read_messages(request.messages, request.system, images)
    effort = None if request.output_config is None else request.output_config.effort
    return ChatPrompt(
        with_system(conversation.messages, defaults.system, defaults.messages),
        tools=tools.shown,
        enable_thinking=_thinking(request, conversation),
        reasoning_effort=None if effort is None else _EFFORTS.get(effort, effort),
        allows_control_tokens=defaults.allow_special_in_content,
        # What is asked for by name is held to; the rest is a permission, as Anthropic has it.
        is_thinking_optional=not isinstance(request.thinking, ThinkingDisabled),
        continuation=conversation.continuation,
    )


def _thinking(request: _AnyBody, conversation: PromptMessages) -> bool | None:
    """Return whether to think; None = as the template has it. Without the field nobody expects thinking."""
    match request.thinking:
        case ThinkingEnabled():
            if conversation.continuation:
                where = f"messages[{len(request.messages) - 1}]"
                raise InvalidRequestError(
                    f"{where}: an answer that was begun cannot have thinking before it; send thinking of type "
                    "disabled, or end with a message of the user",
                    where,
                )
            return True
        case ThinkingAdaptive():
            return False if conversation.continuation else None
        case _:
            return False


def _constraint(request: _AnyBody) -> Constraint | None:
    config = request.output_config
    wanted, param = (None if config is None else config.format), "output_config.format"
    if request.output_format is not None:
        if wanted is not None:
            raise InvalidRequestError(f"output_format is the old name of {param}; send one of them", "output_format")
        wanted, param = request.output_format, "output_format"
    return None if wanted is None else schema_constraint(wanted.schema, param)


def _check_honoured(request: _AnyBody) -> None:
    if request.compaction is not None and request.context_management is not None:
        raise InvalidRequestError("compaction and context_management contradict each other; send one", "compaction")
    for name, field in not_honoured(request):
        kind = ThreadsUnsupportedError if name == "thread" else UnsupportedFieldError
        raise kind(f"{name} is not supported: {field.hint}", name)


def request_tools(request: _AnyBody) -> RequestTools:
    """Return the tools that a request may use."""
    functions = [_function(raw, f"tools[{index}]") for index, raw in enumerate(request.tools or [])]
    choice = request.tool_choice
    is_parallel = choice is None or not choice.disable_parallel_tool_use
    return tools_for(functions, _choice(request), is_parallel=is_parallel, paths=_PATHS)


def _definition(raw: dict[str, Any], path: str) -> ToolDefinition:
    kind = raw.get("type")
    if kind not in _CUSTOM:
        raise UnsupportedFieldError(
            f"{path}.type: {kind!r:.60} is not supported: only Anthropic's servers and models bring such tools with "
            "them; leave it out, or define a tool of your own with name, description and input_schema",
            f"{path}.type",
        )
    return convert_part(raw, ToolDefinition, path)


def _function(raw: dict[str, Any], path: str) -> FunctionDefinition:
    tool = _definition(raw, path)
    if tool.defer_loading:
        raise UnsupportedFieldError(
            f"{path}.defer_loading is not supported: there is no search for tools; leave it out",
            f"{path}.defer_loading",
        )
    if tool.allowed_callers is not None and _DIRECT not in tool.allowed_callers:
        raise UnsupportedFieldError(
            f"{path}.allowed_callers: only the model itself calls tools; name direct", f"{path}.allowed_callers"
        )
    check_parameters(tool.input_schema, f"{path}.input_schema")
    schema = {"type": "object", **tool.input_schema}
    if tool.input_examples:
        schema["examples"] = tool.input_examples  # where models look for examples of JSON
        check_parameters(schema, f"{path}.input_examples")
    return FunctionDefinition(tool.name, tool.description, schema, True if tool.strict else None)


def _choice(request: _AnyBody) -> Choice:
    match request.tool_choice:
        case NoChoice():
            return Choice(ToolChoice.NONE)
        case AnyChoice():
            return Choice(ToolChoice.REQUIRED)
        case NamedChoice(name=name):
            return Choice(ToolChoice.REQUIRED, name)
        case _:
            return Choice()
