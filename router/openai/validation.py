"""OpenAI requests to `GenerationRequest`s: every field is honoured, neutral, or refused by name. Pure.

Nothing is silently ignored: a declared field that is not honoured passes only with a value that asks for nothing.
"""

from typing import Any, Final

from backends.prompts import ChatPrompt, Prompt, TextPrompt, TokenPrompt
from backends.sequence import SamplingParams
from router.config import GenerationConfig
from router.errors import InvalidRequestError, UnsupportedFieldError
from router.generation import GenerationRequest
from router.openai.schemas import MAX_PROMPTS, ChatMessage, ChatRequest, CompletionRequest, StreamOptions, TextPart
from router.waiting import Wish

NUM_SEEDS: Final = 2**32 - 1
"""Seeds are taken modulo this: llama.cpp reads 2**32 - 1 as "no seed". Source: llama.h, LLAMA_DEFAULT_SEED."""

NEUTRAL_VALUES: Final[dict[str, tuple[object, ...]]] = {
    "n": (1,),
    "best_of": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "response_format": ({"type": "text"},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "reasoning_effort": (),
    "verbosity": (),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
    "chat_template_kwargs": ({},),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "echo": (False,),
    "suffix": ("",),
}
"""Fields that no engine honours yet, each with the values that ask for nothing; `null` always asks for nothing."""

_UNSUPPORTED_MESSAGE_FIELDS: Final = (
    "tool_calls",
    "tool_call_id",
    "function_call",
    "audio",
    "refusal",
    "annotations",
)
_UNSUPPORTED_PART_FIELDS: Final = ("image_url", "input_audio", "file")
_ROLES: Final = {"developer": "system"}
_UNSUPPORTED_ROLES: Final = frozenset({"tool", "function"})


def chat_generation(request: ChatRequest, wish: Wish, defaults: GenerationConfig) -> GenerationRequest:
    """Return what a chat request asks for.

    Raises:
        UnsupportedFieldError: A field that is not honoured yet has a value that asks for something.
        InvalidRequestError: A value is out of range, or two fields contradict each other.
    """
    _refuse_unsupported(request)
    if request.max_tokens is not None and request.max_completion_tokens is not None:
        raise InvalidRequestError("max_tokens is the old name of max_completion_tokens; send one of them", "max_tokens")
    max_tokens = request.max_completion_tokens if request.max_tokens is None else request.max_tokens
    messages = [_message(message, index) for index, message in enumerate(request.messages)]
    return _generation(request, wish, defaults, (ChatPrompt(messages),), max_tokens, "messages")


def completion_generation(request: CompletionRequest, wish: Wish, defaults: GenerationConfig) -> GenerationRequest:
    """Return what a text completion asks for.

    Raises:
        UnsupportedFieldError: A field that is not honoured yet has a value that asks for something.
        InvalidRequestError: A value is out of range, or the prompt mixes types.
    """
    _refuse_unsupported(request)
    return _generation(request, wish, defaults, _prompts(request.prompt), request.max_tokens, "prompt")


def _generation(
    request: ChatRequest | CompletionRequest,
    wish: Wish,
    defaults: GenerationConfig,
    prompts: tuple[Prompt, ...],
    max_tokens: int | None,
    prompt_param: str,
) -> GenerationRequest:
    if request.stream_options is not None:
        _check_stream_options(request.stream_options, is_stream=bool(request.stream))
    return GenerationRequest(
        wish=wish,
        prompts=prompts,
        sampling=_sampling(request, defaults),
        max_tokens=defaults.max_tokens if max_tokens is None else max_tokens,
        stop=_stop(request.stop),
        ignore_eos=bool(request.ignore_eos),
        prompt_param=prompt_param,
    )


def _check_stream_options(options: StreamOptions, *, is_stream: bool) -> None:
    if not is_stream:
        raise InvalidRequestError("stream_options is only allowed together with stream: true", "stream_options")
    if options.include_obfuscation:
        param = "stream_options.include_obfuscation"
        raise UnsupportedFieldError(f"{param} is not supported by this version of mlxr; leave it out (False)", param)


def _sampling(request: ChatRequest | CompletionRequest, defaults: GenerationConfig) -> SamplingParams:
    top_k = defaults.top_k if request.top_k is None else (request.top_k or None)
    return SamplingParams(
        temperature=_or_default(request.temperature, defaults.temperature),
        top_p=_or_default(request.top_p, defaults.top_p),
        top_k=top_k,
        min_p=_or_default(request.min_p, defaults.min_p),
        seed=None if request.seed is None else request.seed % NUM_SEEDS,
    )


def _or_default(value: float | None, default: float) -> float:
    return default if value is None else value


def _stop(stop: str | list[str] | None) -> tuple[str, ...]:
    if stop is None:
        return ()
    return (stop,) if isinstance(stop, str) else tuple(stop)


def _refuse_unsupported(request: ChatRequest | CompletionRequest) -> None:
    for name, neutral in NEUTRAL_VALUES.items():
        value: Any = getattr(request, name, None)
        if value is None or any(type(value) is type(ok) and value == ok for ok in neutral) or _is_zero(value, neutral):
            continue
        allowed = ", ".join(repr(ok) for ok in neutral) or "nothing"
        raise UnsupportedFieldError(f"{name} is not supported by this version of mlxr; leave it out ({allowed})", name)


def _is_zero(value: object, neutral: tuple[object, ...]) -> bool:
    """Tell whether a number is the neutral zero in another type, e.g. 0.0 for 0."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and value == 0 and any(type(ok) is int and ok == 0 for ok in neutral)


def _message(message: ChatMessage, index: int) -> dict[str, Any]:
    where = f"messages[{index}]"
    if message.role in _UNSUPPORTED_ROLES:
        raise UnsupportedFieldError(f"{where}.role: {message.role} messages are not supported yet", f"{where}.role")
    for name in _UNSUPPORTED_MESSAGE_FIELDS:
        if getattr(message, name) not in (None, []):
            raise UnsupportedFieldError(f"{where}.{name} is not supported yet; leave it out", f"{where}.{name}")
    if message.content is None:
        raise InvalidRequestError(f"{where}.content: a text is needed", f"{where}.content")
    content = message.content if isinstance(message.content, str) else _joined(message.content, where)
    rendered: dict[str, Any] = {"role": _ROLES.get(message.role, message.role), "content": content}
    if message.name is not None:
        rendered["name"] = message.name
    if message.reasoning_content is not None:
        rendered["reasoning_content"] = message.reasoning_content
    return rendered


def _joined(parts: list[TextPart], where: str) -> str:
    texts = []
    for index, part in enumerate(parts):
        place = f"{where}.content[{index}]"
        if part.type != "text":
            raise UnsupportedFieldError(f"{place}.type: only text parts are supported, got {part.type!r:.40}", place)
        for name in _UNSUPPORTED_PART_FIELDS:
            if getattr(part, name) is not None:
                raise UnsupportedFieldError(f"{place}.{name} is not supported yet; leave it out", f"{place}.{name}")
        if part.text is None:
            raise InvalidRequestError(f"{place}.text: a text part needs a text", f"{place}.text")
        texts.append(part.text)
    return "\n".join(texts)


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
