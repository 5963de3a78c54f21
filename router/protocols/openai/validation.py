"""OpenAI requests to `GenerationRequest`s: every field is honoured, neutral, or refused by name. Pure.

Nothing is silently ignored: a field that the engine does not honour passes only with a value that asks for nothing.
"""

from typing import Any, Final

import msgspec

from backends.wire.prompts import ChatPrompt, Prompt, TextPrompt, TokenPrompt
from backends.wire.request import OutputSpec, SequenceSpec
from registry.engines import EngineKind
from router.errors import InvalidRequestError, UnsupportedFieldError
from router.models.defaults import RequestDefaults, stop_texts, with_system
from router.models.wish import Wish
from router.protocols.fields.support import refuse_unsupported
from router.protocols.openai.constraints import request_constraint
from router.protocols.openai.messages import template_messages
from router.protocols.openai.sampling import sampling_params
from router.protocols.openai.schemas import (
    MAX_PROMPTS,
    MAX_STOPS,
    MAX_TEMPLATE_KWARGS_BYTES,
    ChatRequest,
    CompletionRequest,
)
from router.protocols.openai.tools import request_tools
from router.requests.generation import GenerationRequest

_RESERVED_KWARGS: Final = ("messages", "tools", "add_generation_prompt", "bos_token", "eos_token")
_STREAM_ONLY: Final = ("stream_options", "return_progress", "timings_per_token")


def chat_generation(
    request: ChatRequest,
    wish: Wish,
    defaults: RequestDefaults,
    *,
    engine: EngineKind,
    has_progress_header: bool = False,
) -> GenerationRequest:
    """Return what a chat request asks for.

    Args:
        has_progress_header: Whether events of the prefill's progress were asked for by header.

    Raises:
        UnsupportedFieldError: A field that is not honoured has a value that asks for something.
        InvalidRequestError: A value is out of range, or two fields contradict each other.
    """
    _check_common(request, engine)
    if request.max_tokens is not None and request.max_completion_tokens is not None:
        raise InvalidRequestError("max_tokens is the old name of max_completion_tokens; send one of them", "max_tokens")
    max_tokens = request.max_completion_tokens if request.max_tokens is None else request.max_tokens
    if request.top_logprobs and not request.logprobs:
        raise InvalidRequestError("top_logprobs is only allowed together with logprobs: true", "top_logprobs")
    tools = request_tools(request)
    kwargs, enable_thinking = _template_kwargs(request)
    prompt = ChatPrompt(
        with_system(template_messages(request.messages, engine), defaults.system, defaults.messages),
        tools=tools.shown,
        template_kwargs=kwargs,
        enable_thinking=enable_thinking,
        reasoning_effort=request.reasoning_effort,
        allows_control_tokens=defaults.allow_special_in_content,
    )
    return GenerationRequest(
        wish=wish,
        prompts=(prompt,),
        spec=SequenceSpec(
            sampling=sampling_params(
                request, defaults, num_logprobs=(request.top_logprobs or 0) if request.logprobs else None
            ),
            max_tokens=defaults.max_tokens if max_tokens is None else max_tokens,
            stop=stop_texts(_stop(request), defaults, MAX_STOPS),
            ignore_eos=bool(request.ignore_eos),
            constraint=request_constraint(request),
            output=OutputSpec(request.reasoning_format != "none", tools.use),
        ),
        prompt_param="messages",
        num_choices=request.n or 1,
        wants_progress=_wants_progress(request, has_progress_header=has_progress_header),
    )


def completion_generation(
    request: CompletionRequest,
    wish: Wish,
    defaults: RequestDefaults,
    *,
    engine: EngineKind,
    has_progress_header: bool = False,
) -> GenerationRequest:
    """Return what a text completion asks for; arguments as in `chat_generation`.

    Raises:
        UnsupportedFieldError: A field that is not honoured has a value that asks for something.
        InvalidRequestError: A value is out of range, the prompt mixes types, or two fields contradict each other.
    """
    _check_common(request, engine)
    prompts = _prompts(request.prompt)
    if request.echo:
        _check_echo(request, prompts)
    if request.suffix:
        prompts = (_infill_prompt(prompts, request.suffix),)
    return GenerationRequest(
        wish=wish,
        prompts=prompts,
        spec=SequenceSpec(
            sampling=sampling_params(request, defaults, num_logprobs=request.logprobs),
            max_tokens=defaults.max_tokens if request.max_tokens is None else request.max_tokens,
            stop=stop_texts(_stop(request), defaults, MAX_STOPS),
            ignore_eos=bool(request.ignore_eos),
            constraint=request_constraint(request),
        ),
        prompt_param="prompt",
        num_choices=request.n or 1,
        wants_progress=_wants_progress(request, has_progress_header=has_progress_header),
    )


def _check_common(request: ChatRequest | CompletionRequest, engine: EngineKind) -> None:
    for name in _STREAM_ONLY:
        if getattr(request, name) not in (None, False) and not request.stream:
            raise InvalidRequestError(f"{name} is only allowed together with stream: true", name)
    refuse_unsupported(request, engine)


def _wants_progress(request: ChatRequest | CompletionRequest, *, has_progress_header: bool) -> bool:
    return bool(request.stream) and bool(request.return_progress or request.timings_per_token or has_progress_header)


def _stop(request: ChatRequest | CompletionRequest) -> tuple[str, ...]:
    return (request.stop,) if isinstance(request.stop, str) else tuple(request.stop or ())


def _template_kwargs(request: ChatRequest) -> tuple[dict[str, Any], bool | None]:
    """Return the template's further variables, and the wish for thinking from wherever it stands."""
    kwargs = dict(request.chat_template_kwargs or {})
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
    if None not in (inner, request.enable_thinking) and inner != request.enable_thinking:
        raise InvalidRequestError(f"enable_thinking and {path}.enable_thinking differ; send one", "enable_thinking")
    wish = inner if request.enable_thinking is None else request.enable_thinking
    effort = request.reasoning_effort
    if wish is not None and effort is not None and wish == (effort == "none"):
        raise InvalidRequestError(
            f"reasoning_effort: {effort} contradicts enable_thinking: {str(wish).lower()}; send one", "reasoning_effort"
        )
    return kwargs, wish


def _prompts(prompt: str | list[Any]) -> tuple[Prompt, ...]:
    if isinstance(prompt, str):
        return (TextPrompt(prompt),)
    kinds = {type(item) for item in prompt}
    if len(kinds) > 1:
        raise InvalidRequestError(
            "prompt: a list must be all texts, all token ids, or all lists of token ids, not a mixture", "prompt"
        )
    if kinds == {int}:
        return (TokenPrompt(prompt),)
    if len(prompt) > MAX_PROMPTS:
        raise InvalidRequestError(f"prompt: at most {MAX_PROMPTS} prompts in one request, got {len(prompt)}", "prompt")
    return tuple(TextPrompt(item) if isinstance(item, str) else TokenPrompt(item) for item in prompt)


def _check_echo(request: CompletionRequest, prompts: tuple[Prompt, ...]) -> None:
    if request.logprobs is not None:
        raise UnsupportedFieldError(
            "echo is not supported together with logprobs: the prompt's own are not computed; send one of them", "echo"
        )
    if not all(isinstance(prompt, TextPrompt) for prompt in prompts):
        raise UnsupportedFieldError(
            "echo is not supported for a prompt of token ids; send the prompt as text, or put its text before the "
            "answer yourself",
            "echo",
        )


def _infill_prompt(prompts: tuple[Prompt, ...], suffix: str) -> TextPrompt:
    match prompts:
        case (TextPrompt(text=text),):
            return TextPrompt(text, suffix)
        case _:
            raise UnsupportedFieldError(
                "suffix is not supported for several prompts or token ids; send one prompt that is a text", "suffix"
            )
