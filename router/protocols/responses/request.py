"""Bodies of the Responses API to `GenerationRequest`s, field by field: honoured, neutral, or refused by name. Pure.

Whatever is refused is an `InvalidRequestError` that names the field.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from backends.wire.prompts import ChatPrompt, ContentPart, PromptMessage, TextPart
from backends.wire.request import Constraint, OutputSpec, Priority, SequenceSpec, ToolChoice
from router.errors import InvalidRequestError, MissingFieldError, UnsupportedFieldError
from router.models.defaults import RequestDefaults, stop_texts, with_system
from router.protocols.choice import ChosenModel
from router.protocols.fields.call_arguments import call_arguments
from router.protocols.fields.carried import carried_context
from router.protocols.fields.constraints import object_constraint, schema_constraint
from router.protocols.fields.mlxr import wished_context, wished_speculation
from router.protocols.fields.sampling import answer_limit, sampling_params
from router.protocols.fields.support import refuse_unsupported
from router.protocols.fields.tools import (
    Choice,
    RequestTools,
    ToolPaths,
    choice_object,
    choice_of_some,
    choice_of_word,
    tools_for,
)
from router.protocols.images.read import NO_IMAGES, ReadImages, joined
from router.protocols.openai.request import template_kwargs
from router.protocols.openai.schemas import JsonObjectFormat
from router.protocols.responses.conversation import RequestItems
from router.protocols.responses.files import FILE, shown_file
from router.protocols.responses.images import CONTENT_FIELDS, IMAGE, parts_in
from router.protocols.responses.items import Item
from router.protocols.responses.schemas import (
    INCLUDABLE,
    LOGPROBS,
    AllowedToolsChoice,
    CustomChoice,
    JsonSchemaFormat,
    NamedChoice,
    ResponseRequest,
)
from router.protocols.responses.tools import CUSTOM_INPUT, ClientTools
from router.requests.context_wish import ContextWish
from router.requests.headers import RequestHeaders
from router.requests.request import GenerationRequest

_CHOICES: Final = ("function", "custom", "allowed_tools")
_PATHS: Final = ToolPaths(named="tool_choice.name", allowed="tool_choice")
_NAMED: Final = ("function", "custom")
_NO_TOOLS: Final = ClientTools()


def generation_for(
    request: ResponseRequest,
    items: RequestItems,
    client_tools: ClientTools,
    model: ChosenModel,
    headers: RequestHeaders,
    images: ReadImages = NO_IMAGES,
) -> GenerationRequest:
    """Return what a request asks for."""
    refuse_unsupported(request, model.engine)
    _check_fields(request)
    tools, defaults = _tools(request, client_tools), model.defaults
    messages = conversation_messages(items.all, request.instructions, client_tools, images, items.paths)
    has_logprobs = LOGPROBS in (request.include or [])
    return GenerationRequest(
        model_request=model.model_request,
        prompts=(_prompt(request, messages, defaults, tools),),
        spec=SequenceSpec(
            sampling=sampling_params(
                request, defaults, num_logprobs=(request.top_logprobs or 0) if has_logprobs else None
            ),
            max_tokens=answer_limit(request.max_output_tokens, defaults),
            stop=stop_texts((), defaults),
            constraint=_constraint(request),
            output=OutputSpec(splits_reasoning=True, tools=tools.use),
            priority=headers.priority or _priority(request),
            session_id=headers.session_id or request.prompt_cache_key or items.session_id,
            speculation=wished_speculation(headers, request.mlxr),
        ),
        prompt_param="input",
        # A stream begins when the prompt is taken in, not when it is evaluated.
        wants_progress=bool(request.stream),
        context=wished_context(headers, request.mlxr, _own_context(request)),
    )


def check_include(include: Iterable[str]) -> None:
    """Refuse what cannot be included."""
    for name in include:
        if name not in INCLUDABLE:
            known = " and ".join(INCLUDABLE)
            raise UnsupportedFieldError(f"include: {name!r:.80} is not supported; there are {known}", "include")


def _check_fields(request: ResponseRequest) -> None:
    """Refuse fields that contradict each other."""
    if request.stream_options is not None and not request.stream:
        raise InvalidRequestError("stream_options is only allowed together with stream: true", "stream_options")
    for name in ("return_progress", "timings_per_token"):
        if getattr(request, name) and not request.stream:
            raise InvalidRequestError(f"{name} is only allowed together with stream: true", name)
    if request.background and request.store is False:
        raise InvalidRequestError(
            "background: a response that is not stored cannot be polled; send store: true", "store"
        )
    if request.max_output_tokens == 0:
        problem = "max_output_tokens: an answer has at least one token; send 1 or more, or -1 for no limit"
        raise InvalidRequestError(problem, "max_output_tokens")
    check_include(request.include or [])
    if request.top_logprobs and LOGPROBS not in (request.include or []):
        raise InvalidRequestError(f"top_logprobs is only allowed together with include: {LOGPROBS}", "top_logprobs")


def _prompt(
    request: ResponseRequest, messages: list[PromptMessage], defaults: RequestDefaults, tools: RequestTools
) -> ChatPrompt:
    if not messages:
        raise MissingFieldError("The field 'input' is required: there is nothing to answer.", "input")
    effort = None if request.reasoning is None else request.reasoning.effort
    kwargs, enable_thinking = template_kwargs(request.chat_template_kwargs, enable_thinking=None, effort=effort)
    return ChatPrompt(
        with_system(messages, defaults.system, defaults.messages),
        tools=tools.shown,
        template_kwargs=kwargs,
        enable_thinking=enable_thinking,
        reasoning_effort=effort,
        allows_control_tokens=defaults.allow_special_in_content,
    )


def _constraint(request: ResponseRequest) -> Constraint | None:
    wanted = None if request.text is None else request.text.format
    if isinstance(wanted, JsonSchemaFormat | JsonObjectFormat) and wanted.schema is not None:
        return schema_constraint(wanted.schema, "text.format")
    return object_constraint("text.format") if isinstance(wanted, JsonObjectFormat) else None


def _own_context(request: ResponseRequest) -> ContextWish | None:
    """Return what the API's own fields say of a full context; `auto` leaves it to the model's setting."""
    for entry in request.context_management or []:
        return ContextWish(mode="wind", threshold=entry.compact_threshold)
    match request.truncation:
        case "wind":
            return ContextWish(mode="wind")
        case "disabled":
            return ContextWish(mode="error")
    return None


def _priority(request: ResponseRequest) -> Priority:
    is_background = request.background and request.service_tier in {None, "auto"}
    return Priority.BACKGROUND if request.service_tier == "flex" or is_background else Priority.INTERACTIVE


def _tools(request: ResponseRequest, tools: ClientTools) -> RequestTools:
    functions = [tool.function for tool in tools.tools]
    paths = msgspec.structs.replace(_PATHS, functions=tuple(tool.where for tool in tools.tools))
    choice, is_parallel = _choice(request.tool_choice, tools), request.parallel_tool_calls is not False
    return tools_for(functions, choice, is_parallel=is_parallel, paths=paths)


def _choice(choice: str | dict[str, Any] | None, tools: ClientTools) -> Choice:
    if choice is None or isinstance(choice, str):
        return choice_of_word(choice)
    kind = choice.get("type")
    if kind not in _CHOICES:
        known = "none, auto, required, and objects of type function, custom or allowed_tools"
        problem = f"tool_choice.type: {kind!r:.60} is not supported; send {known}"
        raise UnsupportedFieldError(problem, "tool_choice.type")
    wanted = choice_object(choice, NamedChoice | CustomChoice | AllowedToolsChoice)
    if not isinstance(wanted, AllowedToolsChoice):
        return Choice(ToolChoice.REQUIRED, tools.model_name(wanted.name, wanted.namespace))
    named = [choice_object(tool, NamedChoice | CustomChoice) for tool in wanted.tools if tool.get("type") in _NAMED]
    return choice_of_some(wanted.mode, [tools.model_name(tool.name, tool.namespace) for tool in named], _PATHS.allowed)


def conversation_messages(
    items: Sequence[Item],
    instructions: str | None,
    tools: ClientTools = _NO_TOOLS,
    images: ReadImages = NO_IMAGES,
    paths: Sequence[str] = (),
) -> list[PromptMessage]:
    """Return what the template is given.

    What an assistant thought, said and called in a row is one message, as the model wrote it.

    Args:
        items: Of the whole conversation, as they are kept.
        instructions: Of this request alone; they come first.
        tools: By whose names calls are shown.
        images: Their pictures.
        paths: Of the items in the body; () = nobody is told of one.
    """
    messages: list[PromptMessage] = [] if instructions is None else [{"role": "system", "content": instructions}]
    called: set[str] = set()
    for item, path in zip(items, paths or [""] * len(items), strict=True):
        match item["type"]:
            case "message":
                _add_message(messages, item, _content(item, path, images))
            case "reasoning":
                _add_reasoning(messages, item)
            case "function_call":
                called.add(item["call_id"])
                _add_call(messages, item, tools, call_arguments(item["arguments"]))
            case "custom_tool_call":
                called.add(item["call_id"])
                _add_call(messages, item, tools, {CUSTOM_INPUT: item["input"]})
            case "compaction":
                carried = carried_context(item["encrypted_content"], f"{path}.encrypted_content")
                messages = carried.put_behind(messages)
                called |= {call["id"] for message in messages for call in message.get("tool_calls", [])}
            case "function_call_output" | "custom_tool_call_output":
                if item["call_id"] not in called:
                    problem = f"No tool call found for function call output with call_id {item['call_id']!r:.80}"
                    raise InvalidRequestError(f"{problem}; send the function_call item before it.", "input")
                content = _content(item, path, images)
                messages.append({"role": "tool", "content": content, "tool_call_id": item["call_id"]})
    return _without_open_thoughts(messages)


def _content(item: Item, path: str, images: ReadImages) -> str | list[ContentPart]:
    field = CONTENT_FIELDS[item["type"]]
    if isinstance(item[field], str):
        return str(item[field])
    return joined(
        [
            images.at(place, IMAGE) if part["type"] == IMAGE else TextPart(_shown_text(part))
            for part, place in parts_in(item, path)
        ]
    )


def _shown_text(part: dict[str, Any]) -> str:
    return shown_file(part) if part["type"] == FILE else part["text"]


def _add_message(messages: list[PromptMessage], item: Item, content: str | list[ContentPart]) -> None:
    role = "system" if item["role"] == "developer" else item["role"]
    last = messages[-1] if messages else None
    if role == "assistant" and last is not None and _is_open_thought(last):
        last["content"] = content
        return
    messages.append({"role": role, "content": content})


def _add_reasoning(messages: list[PromptMessage], item: Item) -> None:
    text = "".join(part["text"] for part in item["content"])
    if text:
        messages.append({"role": "assistant", "content": None, "reasoning_content": text})


def _add_call(messages: list[PromptMessage], item: Item, tools: ClientTools, arguments: dict[str, Any]) -> None:
    name = tools.model_name(item["name"], item.get("namespace"))
    call = {"id": item["call_id"], "type": "function", "function": {"name": name, "arguments": arguments}}
    if messages and messages[-1]["role"] == "assistant":
        messages[-1].setdefault("tool_calls", []).append(call)
    else:
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})


def _without_open_thoughts(messages: list[PromptMessage]) -> list[PromptMessage]:
    """Give thoughts that nothing came of an empty text: templates want a content beside no calls."""
    for message in messages:
        if _is_open_thought(message):
            message["content"] = ""
    return messages


def _is_open_thought(message: PromptMessage) -> bool:
    return message["role"] == "assistant" and message["content"] is None and "tool_calls" not in message
