"""Bodies of Ollama's chats and texts to what the router answers: every field is honoured, neutral, or refused.

Whatever is refused is an `InvalidRequestError` that names the field.
"""

import hashlib
from collections.abc import Callable
from typing import Any, Final

import msgspec

from backends.wire.prompts import ChatPrompt, Prompt, PromptMessage, TextPrompt, shown_content
from backends.wire.request import Constraint, OutputSpec, SequenceSpec
from registry.facts import ChatTemplateFacts
from router.errors import InvalidRequestError, UnsupportedFieldError
from router.models.defaults import RequestDefaults, stop_texts, with_system
from router.protocols.fields.constraints import object_constraint, schema_constraint
from router.protocols.fields.mlxr import refuse_winding
from router.protocols.fields.sampling import sampling_params
from router.protocols.fields.support import not_honoured
from router.protocols.fields.tools import FunctionDefinition, RequestTools, read_choice, tools_for
from router.protocols.images.read import NO_IMAGES, ReadImages, text_prompt
from router.protocols.ollama.encoding import OllamaHead, OllamaStream, whole_line
from router.protocols.ollama.messages import template_messages, with_images
from router.protocols.ollama.requested_model import RequestedModel
from router.protocols.ollama.schemas import ChatRequest, GenerateRequest, Options, ToolDefinition
from router.protocols.serving import Answering, Arrival
from router.requests.collected import WholeAnswer
from router.requests.generation import Generation
from router.requests.register import AnswerEncoder
from router.requests.request import GenerationRequest

_NO_SEED: Final = -1
_EFFORTS: Final = {"low": "low", "medium": "medium", "high": "high", "max": "xhigh"}
_SESSION_IDS: Final = 64
"""Tokens of a context that tell one conversation from another."""
_AnyRequest = ChatRequest | GenerateRequest


def ollama_answering(
    body: ChatRequest | GenerateRequest,
    model: RequestedModel,
    arrival: Arrival,
    head: OllamaHead,
    images: ReadImages,
) -> Answering:
    """Return what a request asks for.

    Args:
        body: The request; its prompt is not empty.
        images: Its pictures.
    """
    wanted = generation_for(body, model, arrival.headers.session_id, images)
    if not isinstance(wanted.prompts[0], ChatPrompt):
        refuse_winding(arrival.headers, body.mlxr)
    return Answering(answer_id=head.answer_id, protocol="ollama", wanted=wanted, encoder=_encoder(body, head))


def _encoder(body: ChatRequest | GenerateRequest, head: OllamaHead) -> Callable[[Generation], AnswerEncoder]:
    # Source: docs/api.md: "stream: if false the response will be returned as a single response object".
    if body.stream is False:
        return lambda generation: WholeAnswer(1, lambda outputs: whole_line(head, generation, outputs[0]))
    return lambda generation: OllamaStream(head, generation)


def generation_for(
    request: _AnyRequest, model: RequestedModel, session_id: str | None, images: ReadImages = NO_IMAGES
) -> GenerationRequest:
    """Return what a request asks for.

    Args:
        request: Its prompt is not empty.
        session_id: By header; None = it does not say.
        images: Its pictures.
    """
    if isinstance(request, ChatRequest):
        return _chat(_with_options(request), model, session_id, images)
    return _text(request, model, session_id, images)


def _chat(request: ChatRequest, model: RequestedModel, session_id: str | None, images: ReadImages) -> GenerationRequest:
    messages = template_messages(request.messages or [], images)
    continuation = _continuation(messages)
    tools, defaults = _tools(request), model.defaults
    thinking, effort = _thinking(request, model.template)
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
    spec = _spec(request, model, session_id, output=OutputSpec(splits_reasoning=True, tools=tools.use))
    return GenerationRequest(
        model_request=model.model_request,
        prompts=(prompt,),
        spec=spec,
        prompt_param="messages",
        context=model.context,
    )


def _text(
    request: GenerateRequest, model: RequestedModel, session_id: str | None, images: ReadImages
) -> GenerationRequest:
    _check_text(request)
    prompt = _prompt(request, model.defaults, model.template, images)
    if session_id is None and request.context:
        session_id = _session_of(request.context)
    output = OutputSpec(splits_reasoning=True) if isinstance(prompt, ChatPrompt) else None
    spec = _spec(request, model, session_id, output=output, wants_token_ids=not request.raw)
    return GenerationRequest(
        model_request=model.model_request,
        prompts=(prompt,),
        spec=spec,
        prompt_param="prompt",
        context=model.context,
    )


def _spec(
    request: _AnyRequest,
    model: RequestedModel,
    session_id: str | None,
    *,
    output: OutputSpec | None,
    wants_token_ids: bool = False,
) -> SequenceSpec:
    """Return what both endpoints say alike."""
    for name, field in not_honoured(request):
        if not name.startswith("options."):  # which hang on the engine, and were looked at with it
            raise UnsupportedFieldError(f"{name}: {field.hint}", name)
    if request.top_logprobs and not request.logprobs:
        raise InvalidRequestError("top_logprobs is only allowed together with logprobs: true", "top_logprobs")
    options, defaults = request.options or Options(), model.defaults
    return SequenceSpec(
        sampling=sampling_params(
            options,
            defaults,
            top_k=None if options.top_k is None else max(0, options.top_k),
            seed=None if options.seed == _NO_SEED else options.seed,
            repetition_penalty=options.repeat_penalty,
            penalty_window=options.repeat_last_n,
            num_logprobs=(request.top_logprobs or 0) if request.logprobs else None,
        ),
        max_tokens=_max_tokens(options, defaults),
        stop=stop_texts(options.stop, defaults, "options.stop"),
        constraint=_constraint(request.format),
        output=output,
        priority=model.priority,
        session_id=session_id,
        wants_token_ids=wants_token_ids,
        speculation=model.speculation,
    )


def _max_tokens(options: Options, defaults: RequestDefaults) -> int | None:
    """Return the upper bound of the answer; None = what the context leaves."""
    if options.num_predict is None:
        return defaults.max_tokens
    if options.num_predict == 0:
        message = "options.num_predict: an answer has at least one token; send 1 or more, or -1 for no bound"
        raise InvalidRequestError(message, "options.num_predict")
    return options.num_predict if options.num_predict > 0 else None


def _with_options(request: ChatRequest) -> ChatRequest:
    """Return a chat whose options have what the AI SDK's provider sends beside them; the options go first."""
    options = request.options or Options()
    beside = {"temperature": request.temperature, "top_p": request.top_p, "num_predict": request.max_output_tokens}
    missing = {key: value for key, value in beside.items() if value is not None and getattr(options, key) is None}
    return msgspec.structs.replace(request, options=msgspec.structs.replace(options, **missing)) if missing else request


def _continuation(messages: list[PromptMessage]) -> str | None:
    """Take the last message away if it is the beginning of the answer, as Ollama has it; return its text."""
    last = messages[-1]
    if last["role"] != "assistant" or last.keys() != {"role", "content"} or not last["content"]:
        return None
    messages.pop()
    return shown_content(last)


def _tools(request: ChatRequest) -> RequestTools:
    functions = [_function(tool, index) for index, tool in enumerate(request.tools or [])]
    choice = request.tool_choice
    if isinstance(choice, dict) and isinstance(choice.get("name"), str):
        # The shape of OpenAI's Responses, which the AI SDK's provider sends.
        choice = {"type": choice.get("type"), "function": {"name": choice["name"]}}
    return tools_for(functions, read_choice(choice), is_parallel=True)


def _function(tool: ToolDefinition, index: int) -> FunctionDefinition:
    path = f"tools[{index}]"
    if tool.type not in {None, "", "function"}:
        raise InvalidRequestError(f"{path}.type: {tool.type!r:.40} is not known; use function", f"{path}.type")
    if tool.items is not None:
        raise UnsupportedFieldError(f"{path}.items is not supported; describe the function", f"{path}.items")
    return tool.function


def _thinking(request: _AnyRequest, template: ChatTemplateFacts | None) -> tuple[bool | None, str | None]:
    """Return whether to think, and how much.

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
        return schema_constraint(wanted, "format")
    if wanted != "json":
        raise InvalidRequestError(f'format: {wanted!r:.40} is not known; use "json" or a JSON schema', "format")
    return object_constraint("format")


def _check_text(request: GenerateRequest) -> None:
    if not (request.system or request.context):
        return
    name = "system" if request.system else "context"
    if request.raw:
        raise InvalidRequestError(f"{name}: raw mode does not support template, system, or context", name)
    if request.suffix:
        raise InvalidRequestError(f"{name}: a prompt with a suffix has no place for it; leave it out", name)


def _prompt(
    request: GenerateRequest, defaults: RequestDefaults, template: ChatTemplateFacts | None, images: ReadImages
) -> Prompt:
    if request.suffix:
        if request.images:
            raise InvalidRequestError("images: a prompt with a suffix has no place for them; leave them out", "images")
        return TextPrompt(request.prompt or "", request.suffix)
    content = with_images(request.prompt or "", request.images, "images", images)
    if request.raw or not (template or request.system or request.context):
        # Ollama's template of models that have none is the prompt as it is.
        _refuse_thinking(request)
        return text_prompt(content)
    thinking, effort = _thinking(request, template)
    messages: list[PromptMessage] = [{"role": "user", "content": content}]
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
