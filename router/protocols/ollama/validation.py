"""Ollama's chats and texts to `GenerationRequest`s: every field is honoured, neutral, or refused by name. Pure."""

import hashlib
from typing import Any, Final

import msgspec

from backends.wire.prompts import ChatPrompt, Prompt, TextPrompt
from backends.wire.request import Constraint, ConstraintKind, OutputSpec, SequenceSpec
from registry.facts import ChatTemplateFacts
from router.errors import InvalidRequestError, UnsupportedFieldError
from router.models.defaults import RequestDefaults, with_system
from router.models.wish import Wish
from router.protocols.fields.constraints import checked_constraint
from router.protocols.fields.sampling import sampling_params
from router.protocols.fields.support import not_honoured
from router.protocols.fields.tools import RequestTools, tools_for
from router.protocols.ollama.messages import template_messages
from router.protocols.ollama.options import max_tokens, sampling_wishes, stop_of
from router.protocols.ollama.schemas import ChatRequest, GenerateRequest, Options, ToolDefinition
from router.requests.generation import GenerationRequest

_EFFORTS: Final = {"low": "low", "medium": "medium", "high": "high", "max": "xhigh"}
_SESSION_IDS: Final = 64
"""Tokens of a context that tell one conversation from another."""
_AnyRequest = ChatRequest | GenerateRequest


def chat_generation(
    request: ChatRequest, wish: Wish, defaults: RequestDefaults, template: ChatTemplateFacts | None
) -> GenerationRequest:
    """Return what a chat asks for.

    Args:
        template: Of the model; None = it has none.

    Raises:
        UnsupportedFieldError: A field that is not honoured asks for something.
        InvalidRequestError: A value is out of range, or two fields contradict each other.
    """
    request = _with_options(request)
    messages = template_messages(request.messages or [])
    continuation = _continuation(messages)
    tools = _tools(request)
    thinking, effort = _thinking(request, template)
    prompt = ChatPrompt(
        with_system(messages, defaults.system, defaults.messages),
        tools=tools.shown,
        enable_thinking=thinking,
        reasoning_effort=effort,
        is_thinking_optional=True,
        allows_control_tokens=defaults.allow_special_in_content,
        continuation=continuation,
        truncates=bool(request.truncate),
    )
    return _generation(request, wish, defaults, prompt, OutputSpec(splits_reasoning=True, tools=tools.use))


def text_generation(
    request: GenerateRequest, wish: Wish, defaults: RequestDefaults, template: ChatTemplateFacts | None
) -> GenerationRequest:
    """Return what `/api/generate` asks for; arguments and errors as in `chat_generation`, the prompt is not empty."""
    _check_text(request)
    prompt = _prompt(request, defaults, template)
    output = OutputSpec(splits_reasoning=True) if isinstance(prompt, ChatPrompt) else None
    wanted = _generation(request, wish, defaults, prompt, output)
    spec = msgspec.structs.replace(
        wanted.spec,
        wants_token_ids=not request.raw,
        session_id=_session_of(request.context) if request.context else None,
    )
    return msgspec.structs.replace(wanted, spec=spec, prompt_param="prompt")


def _generation(
    request: _AnyRequest, wish: Wish, defaults: RequestDefaults, prompt: Prompt, output: OutputSpec | None
) -> GenerationRequest:
    for name, field in not_honoured(request):
        if not name.startswith("options."):  # which hang on the engine, and were looked at with it
            raise UnsupportedFieldError(f"{name}: {field.hint}", name)
    if request.top_logprobs and not request.logprobs:
        raise InvalidRequestError("top_logprobs is only allowed together with logprobs: true", "top_logprobs")
    options = request.options or Options()
    num_logprobs = (request.top_logprobs or 0) if request.logprobs else None
    return GenerationRequest(
        wish=wish,
        prompts=(prompt,),
        spec=SequenceSpec(
            sampling=sampling_params(sampling_wishes(options, num_logprobs=num_logprobs), defaults),
            max_tokens=max_tokens(options, defaults),
            stop=stop_of(options, defaults),
            constraint=_constraint(request.format),
            output=output,
        ),
        prompt_param="messages",
    )


def _with_options(request: ChatRequest) -> ChatRequest:
    """Return a chat whose options have what the AI SDK's provider sends beside them; the options go first."""
    options = request.options or Options()
    beside = {"temperature": request.temperature, "top_p": request.top_p, "num_predict": request.max_output_tokens}
    missing = {key: value for key, value in beside.items() if value is not None and getattr(options, key) is None}
    return msgspec.structs.replace(request, options=msgspec.structs.replace(options, **missing)) if missing else request


def _continuation(messages: list[dict[str, Any]]) -> str | None:
    """Take the last message away if it is the beginning of the answer, as Ollama has it; return its text."""
    last = messages[-1]
    if last["role"] != "assistant" or last.keys() != {"role", "content"} or not last["content"]:
        return None
    messages.pop()
    return str(last["content"])


def _tools(request: ChatRequest) -> RequestTools:
    functions = [_function(tool, index) for index, tool in enumerate(request.tools or [])]
    choice = request.tool_choice
    if isinstance(choice, dict) and isinstance(choice.get("name"), str):
        # The shape of OpenAI's Responses, which the AI SDK's provider sends.
        choice = {"type": choice.get("type"), "function": {"name": choice["name"]}}
    return tools_for(functions, choice, is_parallel=True)


def _function(tool: ToolDefinition, index: int) -> Any:
    path = f"tools[{index}]"
    if tool.type not in {None, "", "function"}:
        raise InvalidRequestError(f"{path}.type: {tool.type!r:.40} is not known; use function", f"{path}.type")
    if tool.items is not None:
        raise UnsupportedFieldError(f"{path}.items is not supported; describe the function", f"{path}.items")
    return tool.function


def _thinking(request: _AnyRequest, template: ChatTemplateFacts | None) -> tuple[bool | None, str | None]:
    """Return the wish for thinking, and how much of it.

    A model that does not think refuses in Ollama's words. One that always thinks goes on to do so: the AI SDK's
    provider sends `false` with every request, and the thoughts are apart from the answer anyway.
    """
    think = request.think
    if think is None or think == "":
        return None, None
    if isinstance(think, str) and think not in _EFFORTS:
        message = f"think: {think!r:.40} is not known; use true, false, low, medium, high or max"
        raise InvalidRequestError(message, "think")
    if template is not None and not template.has_thinking:
        if think:
            raise UnsupportedFieldError(f'think: "{request.model:.200}" does not support thinking', "think")
        return None, None
    return (think, None) if isinstance(think, bool) else (True, _EFFORTS[think])


def _constraint(wanted: str | dict[str, Any] | None) -> Constraint | None:
    if wanted is None or wanted == "":
        return None
    if isinstance(wanted, dict):
        schema = msgspec.json.encode(wanted).decode()
        return checked_constraint(Constraint(ConstraintKind.JSON_SCHEMA, schema, "format"))
    if wanted != "json":
        raise InvalidRequestError(f'format: {wanted!r:.40} is not known; use "json" or a JSON schema', "format")
    return Constraint(ConstraintKind.JSON_OBJECT, "", "format")


def _check_text(request: GenerateRequest) -> None:
    if request.raw and (request.system or request.context):
        name = "system" if request.system else "context"
        raise InvalidRequestError(f"{name}: raw mode does not support template, system, or context", name)
    if request.suffix and (request.system or request.context):
        name = "system" if request.system else "context"
        raise InvalidRequestError(f"{name}: a prompt with a suffix has no place for it; leave it out", name)


def _prompt(request: GenerateRequest, defaults: RequestDefaults, template: ChatTemplateFacts | None) -> Prompt:
    prompt = request.prompt or ""
    if request.suffix:
        return TextPrompt(prompt, request.suffix)
    if request.raw or not (template or request.system or request.context):
        # Ollama's template of models that have none is the prompt as it is.
        _refuse_thinking(request)
        return TextPrompt(prompt)
    thinking, effort = _thinking(request, template)
    messages: list[dict[str, Any]] = [{"role": "user", "content": prompt}]
    if request.system:
        messages.insert(0, {"role": "system", "content": request.system})
    return ChatPrompt(
        messages if request.context else with_system(messages, defaults.system, defaults.messages),
        enable_thinking=thinking,
        reasoning_effort=effort,
        is_thinking_optional=True,
        allows_control_tokens=defaults.allow_special_in_content,
        context_ids=request.context or [],
        truncates=bool(request.truncate),
    )


def _refuse_thinking(request: GenerateRequest) -> None:
    if request.think not in {None, "", False}:
        raise UnsupportedFieldError("think: only a chat template asks a model to think; leave it out", "think")


def _session_of(context: list[int]) -> str:
    """Name the conversation that a context belongs to: its beginning stays the same from turn to turn."""
    beginning = ",".join(str(token_id) for token_id in context[:_SESSION_IDS])
    return "context-" + hashlib.blake2b(beginning.encode(), digest_size=16).hexdigest()
