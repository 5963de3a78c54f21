"""Requests of the OpenAI API that mlxr understands, exactly typed; unknown fields are refused by the decoder.

Fields of OpenAI's that are not honoured yet are declared here too, so that `validation` can refuse them by name, or
accept the value that means "nothing special". Ranges that are wider than OpenAI's are the engines' own.

Source: OpenAI API reference, "Create chat completion" and "Create completion".
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

MAX_STOPS = 16
MAX_STOP_CHARS = 256
MAX_MESSAGES = 10_000
MAX_PROMPTS = 64

StopText = Annotated[str, Meta(min_length=1, max_length=MAX_STOP_CHARS)]
StopList = Annotated[list[StopText], Meta(max_length=MAX_STOPS)]
PositiveCount = Annotated[int, Meta(ge=1, le=1_000_000_000)]
TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class TextPart(msgspec.Struct, forbid_unknown_fields=True):
    """One part of a message's content."""

    type: str
    text: str | None = None
    image_url: Any = None
    input_audio: Any = None
    file: Any = None


class ChatMessage(msgspec.Struct, forbid_unknown_fields=True):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[TextPart] | None = None
    name: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    tool_calls: Any = None
    tool_call_id: str | None = None
    function_call: Any = None
    audio: Any = None
    annotations: Any = None


class StreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    """What a stream carries beside the text."""

    include_usage: bool = False
    include_obfuscation: bool = False


class _Sampling(msgspec.Struct, kw_only=True):
    """Fields that both endpoints share and that are honoured."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=5)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    max_tokens: PositiveCount | None = None
    stop: StopText | StopList | None = None
    ignore_eos: bool | None = None
    # Labels without an effect on the answer, by OpenAI's own definition.
    user: str | None = None
    metadata: dict[str, str] | None = None
    # Not honoured yet, see `validation`.
    n: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[str, float] | None = None


class ChatRequest(_Sampling, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/chat/completions."""

    messages: Annotated[list[ChatMessage], Meta(min_length=1, max_length=MAX_MESSAGES)]
    max_completion_tokens: PositiveCount | None = None
    # Labels and hints without an effect on the answer.
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    service_tier: str | None = None
    store: bool | None = None
    # Not honoured yet.
    logprobs: bool | None = None
    top_logprobs: int | None = None
    response_format: dict[str, Any] | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    functions: list[Any] | None = None
    function_call: Any = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    modalities: list[str] | None = None
    audio: Any = None
    prediction: Any = None
    web_search_options: Any = None
    chat_template_kwargs: dict[str, Any] | None = None


class CompletionRequest(_Sampling, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/completions."""

    # A list is of texts, of token ids (one prompt), or of lists of token ids; `validation` refuses mixtures.
    prompt: str | Annotated[list[str | TokenId | list[TokenId]], Meta(min_length=1)]
    # Not honoured yet.
    best_of: int | None = None
    echo: bool | None = None
    logprobs: int | None = None
    suffix: str | None = None
