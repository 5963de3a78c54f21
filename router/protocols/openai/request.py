"""Bodies of chats and text completions, by whatever way they came, to what the router answers, field by field.

Nothing is silently ignored: a field that the engine does not honour passes only with a value that asks for nothing.
Whatever is refused is an `InvalidRequestError` that names the field.

Source: OpenAI API reference, "Create chat completion", `service_tier`: "When the service_tier parameter is set, the
response body will include the service_tier value based on the processing mode actually used".
"""

import math
from typing import Any, Final

import msgspec

from backends.wire.prompts import ChatPrompt, Prompt, TextPrompt, TokenPrompt
from backends.wire.request import OutputSpec, Priority, SequenceSpec
from router.errors import InvalidRequestError, UnsupportedFieldError
from router.models.defaults import stop_texts, with_system
from router.models.model_request import ModelRequest
from router.protocols.choice import ChosenModel, chosen_model
from router.protocols.fields.mlxr import refuse_winding, wished_context, wished_side, wished_speculation
from router.protocols.fields.ranges import ServiceTier
from router.protocols.fields.sampling import answer_limit, sampling_params
from router.protocols.fields.support import refuse_unsupported
from router.protocols.fields.tools import read_choice, tools_for
from router.protocols.images.read import NO_IMAGES, ReadImages
from router.protocols.openai.answer import CompletionHead, PromptParts, completion_of
from router.protocols.openai.constraints import constraint_of
from router.protocols.openai.documents import has_files, read_files
from router.protocols.openai.encoding import CompletionStream, StreamOptions
from router.protocols.openai.images import sent_images
from router.protocols.openai.messages import taken_continuation, template_messages
from router.protocols.openai.progress import PrefillWatch, WatchedEncoder
from router.protocols.openai.schemas import (
    MAX_BIAS,
    MAX_BIASES,
    MAX_PROMPTS,
    MAX_TEMPLATE_KWARGS_BYTES,
    ChatRequest,
    CompletionRequest,
)
from router.protocols.serving import Answering, RequestService
from router.requests.collected import WholeAnswer
from router.requests.generation import Generation
from router.requests.headers import RequestHeaders
from router.requests.register import AnswerEncoder
from router.requests.request import GenerationRequest

_STREAM_ONLY: Final = ("stream_options", "return_progress", "timings_per_token")
_RESERVED_KWARGS: Final = ("messages", "tools", "add_generation_prompt", "bos_token", "eos_token")
_MAX_TOKEN_ID: Final = 2**31 - 1
_MAX_ID_CHARS: Final = 10
_PAIR: Final = 2


async def openai_answering(
    serving: RequestService,
    body: ChatRequest | CompletionRequest,
    headers: RequestHeaders,
    *,
    has_events: bool = False,
) -> Answering:
    """Return what a request asks for.

    Args:
        has_events: Whether named events of the prefill's progress are wanted.
    """
    model_request = serving.models.model_request(body.model, headers.engine, load=headers.load)
    model_request, images = await images_of(serving, body, model_request, headers)
    wanted = generation_for(body, chosen_model(serving, model_request), headers, images, has_events=has_events)
    tier = tier_used(body.service_tier, wanted.spec.priority)
    # What was said is not kept twice while it is answered: pictures may be large.
    how = msgspec.structs.replace(body, messages=[]) if isinstance(body, ChatRequest) else body
    head = CompletionHead.new(
        images.stand_in or model_request.named_as(body.model), is_chat=isinstance(body, ChatRequest), service_tier=tier
    )
    return Answering(
        answer_id=head.answer_id,
        protocol="openai",
        wanted=wanted,
        encoder=lambda generation: _encoder(serving, how, head, generation, has_events=has_events),
    )


async def images_of(
    serving: RequestService,
    body: ChatRequest | CompletionRequest,
    model_request: ModelRequest,
    headers: RequestHeaders,
) -> tuple[ModelRequest, ReadImages]:
    """Return who answers, and the pictures that it is shown, once the documents of the body are texts in it.

    Raises:
        ImageError: A picture of the question cannot be used.
        RouterError: The request cannot be served with its pictures and documents.
        RegistryError: A model is unknown.
    """
    if isinstance(body, ChatRequest) and has_files(body.messages):
        serving.models.resolve(model_request)
        room = serving.images.room_beside(model_request, sent_images(body.messages))
        await read_files(serving.documents, body.messages, max_pictures=room)
    sent = sent_images(body.messages) if isinstance(body, ChatRequest) else []
    return await serving.images.read(model_request, sent, wished_side(headers, body.mlxr))


def _encoder(
    serving: RequestService,
    body: ChatRequest | CompletionRequest,
    head: CompletionHead,
    generation: Generation,
    *,
    has_events: bool,
) -> AnswerEncoder:
    if not body.stream:
        wanted = PromptParts(body.prompt_logprobs, has_token_ids=bool(body.return_token_ids))
        return WholeAnswer(
            generation.request.num_sequences, lambda outputs: completion_of(head, generation, outputs, wanted)
        )
    options = StreamOptions(
        includes_usage=bool(body.stream_options is not None and body.stream_options.include_usage),
        has_running_usage=_has_running_usage(body),
        has_token_ids=bool(body.return_token_ids),
        has_progress=bool(body.return_progress),
        has_timings=bool(body.timings_per_token),
    )
    encoder = CompletionStream(head, generation, options)
    if not has_events:
        return encoder
    identity: dict[str, Any] = {"answer_id": head.answer_id, "created": head.created, "model": head.model}
    return WatchedEncoder(encoder, PrefillWatch(serving.supervisor, generation.request, **identity))


def _has_running_usage(body: ChatRequest | CompletionRequest) -> bool:
    options = body.stream_options
    return bool(options is not None and options.include_usage and options.continuous_usage_stats)


def generation_for(
    request: ChatRequest | CompletionRequest,
    model: ChosenModel,
    headers: RequestHeaders,
    images: ReadImages = NO_IMAGES,
    *,
    has_events: bool = False,
) -> GenerationRequest:
    """Return what a request asks for.

    Args:
        images: Its pictures.
        has_events: Whether events of the prefill's progress were asked for by header.
    """
    for name in _STREAM_ONLY:
        if getattr(request, name) not in (None, False) and not request.stream:
            raise InvalidRequestError(f"{name} is only allowed together with stream: true", name)
    if request.prompt_logprobs is not None and request.stream:
        raise InvalidRequestError("prompt_logprobs is not available with stream: true; send one", "prompt_logprobs")
    refuse_unsupported(request, model.engine)
    if isinstance(request, ChatRequest):
        prompt_param, (prompts, spec) = "messages", _chat(request, model, headers, images)
    else:
        refuse_winding(headers, request.mlxr)
        prompt_param, (prompts, spec) = "prompt", _completion(request, model, headers)
    shows_progress = request.return_progress or request.timings_per_token or has_events or _has_running_usage(request)
    return GenerationRequest(
        model_request=model.model_request,
        prompts=prompts,
        spec=spec,
        prompt_param=prompt_param,
        slot=request.id_slot,
        num_choices=request.n or 1,
        wants_progress=bool(request.stream and shows_progress),
        is_prompt_told_once=not request.stream,  # in a stream each answer is told as it comes
        context=wished_context(headers, request.mlxr),
        is_stored=not (isinstance(request, ChatRequest) and request.store is False),
    )


def tier_used(asked: ServiceTier | None, priority: Priority) -> ServiceTier | None:
    """Return the tier to tell the client; None where it did not ask for one."""
    if asked is None:
        return None
    if priority is Priority.BACKGROUND:
        return "flex"
    return "priority" if asked == "priority" else "default"


def _chat(
    request: ChatRequest, model: ChosenModel, headers: RequestHeaders, images: ReadImages
) -> tuple[tuple[Prompt, ...], SequenceSpec]:
    if None not in {request.max_tokens, request.max_completion_tokens} and (
        request.max_tokens != request.max_completion_tokens
    ):
        raise InvalidRequestError("max_tokens is the old name of max_completion_tokens; send one of them", "max_tokens")
    max_tokens = request.max_completion_tokens
    max_tokens = either(request, "max_tokens", "n_predict") if max_tokens is None else max_tokens
    if request.top_logprobs and not request.logprobs:
        raise InvalidRequestError("top_logprobs is only allowed together with logprobs: true", "top_logprobs")
    functions = [tool.function for tool in request.tools or []]
    is_parallel = request.parallel_tool_calls is not False
    tools = tools_for(functions, read_choice(request.tool_choice), is_parallel=is_parallel)
    kwargs, enable_thinking = template_kwargs(
        request.chat_template_kwargs,
        enable_thinking=request.enable_thinking,
        effort=request.reasoning_effort,
    )
    defaults = model.defaults
    messages = template_messages(request.messages, model.engine, images)
    continuation = None
    if request.continue_final_message:
        if request.add_generation_prompt:
            param = "continue_final_message"
            raise InvalidRequestError(f"{param} and add_generation_prompt contradict each other; send one", param)
        continuation = taken_continuation(messages)
    prompt = ChatPrompt(
        with_system(messages, defaults.system, defaults.messages),
        tools=tools.shown,
        template_kwargs=kwargs,
        enable_thinking=enable_thinking,
        reasoning_effort=request.reasoning_effort,
        allows_control_tokens=defaults.allow_special_in_content,
        continuation=continuation,
        opens_turn=request.add_generation_prompt is not False or continuation is not None,
    )
    num_logprobs = (request.top_logprobs or 0) if request.logprobs else None
    output = OutputSpec(request.reasoning_format != "none", tools.use)
    return (prompt,), _spec(request, model, headers, max_tokens=max_tokens, num_logprobs=num_logprobs, output=output)


def _completion(
    request: CompletionRequest, model: ChosenModel, headers: RequestHeaders
) -> tuple[tuple[Prompt, ...], SequenceSpec]:
    prompts = _prompts(request.prompt)
    if request.suffix:
        prompts = (_infill_prompt(prompts, request.suffix),)
    return prompts, _spec(
        request, model, headers, max_tokens=either(request, "max_tokens", "n_predict"), num_logprobs=request.logprobs
    )


def _spec(
    request: ChatRequest | CompletionRequest,
    model: ChosenModel,
    headers: RequestHeaders,
    *,
    max_tokens: int | None,
    num_logprobs: int | None,
    output: OutputSpec | None = None,
) -> SequenceSpec:
    """Return what both endpoints say alike; headers come before the body."""
    defaults = model.defaults
    by_body = Priority.BACKGROUND if request.service_tier == "flex" else Priority.INTERACTIVE
    return SequenceSpec(
        sampling=sampling_params(
            request,
            defaults,
            penalty_window=either(request, "repeat_last_n", "repetition_context_size"),
            repetition_penalty=either(request, "repetition_penalty", "repeat_penalty"),
            logit_bias=read_logit_bias(request.logit_bias),
            num_logprobs=num_logprobs,
            num_prompt_logprobs=_num_scores(request),
        ),
        max_tokens=answer_limit(max_tokens, defaults),
        stop=stop_texts(request.stop, defaults),
        ignore_eos=bool(request.ignore_eos),
        constraint=constraint_of(request),
        output=output,
        priority=headers.priority or by_body,
        session_id=headers.session_id or request.prompt_cache_key or None,
        wants_token_ids=bool(request.return_token_ids),
        echoes=isinstance(request, CompletionRequest) and bool(request.echo),
        min_tokens=request.min_tokens or 0,
        stop_token_ids=tuple(request.stop_token_ids or ()),
        speculation=wished_speculation(headers, request.mlxr),
    )


def _num_scores(request: ChatRequest | CompletionRequest) -> int | None:
    """Return how many of the likeliest tokens are wanted at each place of the prompt; None = no likelihoods there."""
    wanted = [request.prompt_logprobs]
    if isinstance(request, CompletionRequest) and request.echo:
        wanted.append(request.logprobs)
    return max((number for number in wanted if number is not None), default=None)


# ---- prompts ---------------------------------------------------------------------------------------------------------


def template_kwargs(
    given: dict[str, Any] | None, *, enable_thinking: bool | None, effort: str | None
) -> tuple[dict[str, Any], bool | None]:
    """Return the template's further variables, and whether to think, from wherever it stands.

    Args:
        given: The field `chat_template_kwargs`; the others are those of their names.
    """
    kwargs = dict(given or {})
    path = "chat_template_kwargs"
    num_bytes = len(msgspec.json.encode(kwargs))
    if num_bytes > MAX_TEMPLATE_KWARGS_BYTES:
        raise InvalidRequestError(f"{path}: at most {MAX_TEMPLATE_KWARGS_BYTES} bytes of JSON, got {num_bytes}", path)
    for name in _RESERVED_KWARGS:
        if name in kwargs:
            reserved = f"{path}.{name}"
            raise InvalidRequestError(f"{reserved}: the template gets this from mlxr; leave it out", reserved)
    inner = kwargs.pop("enable_thinking", None)
    if inner is not None and not isinstance(inner, bool):
        raise InvalidRequestError(f"{path}.enable_thinking must be true or false", f"{path}.enable_thinking")
    if None not in (inner, enable_thinking) and inner != enable_thinking:
        raise InvalidRequestError(f"enable_thinking and {path}.enable_thinking differ; send one", "enable_thinking")
    wanted = inner if enable_thinking is None else enable_thinking
    if wanted is not None and effort is not None and wanted == (effort == "none"):
        problem = f"reasoning_effort: {effort} contradicts enable_thinking: {str(wanted).lower()}; send one"
        raise InvalidRequestError(problem, "reasoning_effort")
    return kwargs, wanted


def texts_or_tokens(value: str | list[Any], param: str, most: int) -> list[str | list[int]]:
    """Return what a field names that is one text or several, the tokens of one, or those of several."""
    if isinstance(value, str):
        return [value]
    kinds = {type(item) for item in value}
    if len(kinds) > 1:
        problem = f"{param}: a list must be all texts, all token ids, or all lists of token ids, not a mixture"
        raise InvalidRequestError(problem, param)
    if kinds == {int}:
        return [value]
    if len(value) > most:
        raise InvalidRequestError(f"{param}: at most {most} {param}s in one request, got {len(value)}", param)
    return value


def _prompts(prompt: str | list[Any]) -> tuple[Prompt, ...]:
    parts = texts_or_tokens(prompt, "prompt", MAX_PROMPTS)
    return tuple(TextPrompt(part) if isinstance(part, str) else TokenPrompt(part) for part in parts)


def _infill_prompt(prompts: tuple[Prompt, ...], suffix: str) -> TextPrompt:
    match prompts:
        case (TextPrompt(text=text),):
            return TextPrompt(text, suffix)
        case _:
            problem = "suffix is not supported for several prompts or token ids; send one prompt that is a text"
            raise UnsupportedFieldError(problem, "suffix")


# ---- how tokens are drawn --------------------------------------------------------------------------------------------


def either(request: msgspec.Struct, name: str, alias: str) -> Any:
    """Return the value of a field that has two names."""
    value, other = getattr(request, name), getattr(request, alias)
    if value is not None and other is not None and value != other:
        raise InvalidRequestError(f"{alias} is another name of {name} and has another value; send one of them", alias)
    return other if value is None else value


def read_logit_bias(bias: dict[str, Any] | list[Any] | None) -> tuple[tuple[int, float], ...]:
    """Read OpenAI's object of token id to bias, or llama-server's list of pairs."""
    if not bias:
        return ()
    if len(bias) > MAX_BIASES:
        raise _bias_error(f"at most {MAX_BIASES} tokens, got {len(bias)}")
    if isinstance(bias, dict):
        return tuple((_token_id(key), _bias(value)) for key, value in bias.items())
    pairs: dict[int, float] = {}
    for pair in bias:
        if not isinstance(pair, list) or len(pair) != _PAIR:
            raise _bias_error("a list must have pairs [token id, bias]")
        if not isinstance(pair[0], int) or isinstance(pair[0], bool):
            raise _bias_error(f"a token id is a whole number, got {pair[0]!r:.40}")
        token_id = _token_id(str(pair[0]))
        if token_id in pairs:
            raise _bias_error(f"token id {token_id} is there twice")
        pairs[token_id] = _bias(pair[1])
    return tuple(pairs.items())


def _token_id(text: str) -> int:
    is_number = text.isascii() and text.isdigit() and len(text) <= _MAX_ID_CHARS
    if not is_number or int(text) > _MAX_TOKEN_ID:
        raise _bias_error(f"a token id is a whole number from 0 to {_MAX_TOKEN_ID}, got {text!r:.40}")
    if text != str(int(text)):
        raise _bias_error(f"a token id has no leading zeros, got {text!r}")
    return int(text)


def _bias(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _bias_error(f"a bias is a number, got {value!r:.40}")
    if abs(value) > MAX_BIAS:
        raise _bias_error(f"a bias is a number from -{MAX_BIAS} to {MAX_BIAS}, got {value!r:.40}")
    return float(value)


def _bias_error(problem: str) -> InvalidRequestError:
    return InvalidRequestError(f"logit_bias: {problem}", "logit_bias")
