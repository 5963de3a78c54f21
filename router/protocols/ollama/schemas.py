"""Requests of Ollama's API for inference, exactly typed; unknown fields are refused by the decoder.

Null is as good as absent everywhere, as for a Go program. The ranges are the engines' own. What is not honoured is
refused in `options` and `validation`.

Source: Ollama, api/types.go and docs/api.md. `temperature`, `top_p`, `max_output_tokens` and `tool_choice` beside the
options are not Ollama's, which drops them: the AI SDK's provider sends them so, and means them.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from router.protocols.fields.json_types import JSONObject, JSONSchema, JSONValue, Refused, read_by_type
from router.protocols.fields.tools import FunctionDefinition, FunctionName

MAX_STOPS = 16
MAX_MESSAGES = 10_000
MAX_TOOLS = 128
MAX_TOP_LOGPROBS = 20
MAX_CONTEXT_IDS = 1_000_000
MAX_INPUTS = 2048

ModelName = Annotated[str, Meta(min_length=1, max_length=512)]
StopText = Annotated[str, Meta(min_length=1, max_length=256)]
StopList = Annotated[list[StopText], Meta(max_length=MAX_STOPS)]
Probability = Annotated[float, Meta(ge=0, le=1)]
Temperature = Annotated[float, Meta(ge=0, le=5)]
PositiveProbability = Annotated[float, Meta(gt=0, le=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
AnyInteger = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
PositiveCount = Annotated[int, Meta(ge=1, le=1_000_000_000)]
TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
TopLogprobs = Annotated[int, Meta(ge=0, le=MAX_TOP_LOGPROBS)]
CallId = Annotated[str, Meta(max_length=256)]
ToolChoiceObject = Annotated[
    JSONObject, read_by_type("ToolChoice", "openai.NamedChoice", "openai.AllowedChoice", "responses.NamedChoice")
]


class Options(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`options`: everything that Ollama documents, or once did; `options` has what becomes of each."""

    # How tokens are drawn.
    temperature: Temperature | None = None
    top_k: Annotated[int, Meta(ge=-1, le=1_000_000)] | None = None
    top_p: PositiveProbability | None = None
    min_p: Probability | None = None
    typical_p: PositiveProbability | None = None
    seed: AnyInteger | None = None
    repeat_penalty: Annotated[float, Meta(gt=0, le=10)] | None = None
    repeat_last_n: Annotated[int, Meta(ge=-1, le=1_000_000)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    num_predict: Annotated[int, Meta(ge=-2, le=1_000_000_000)] | None = None
    stop: StopText | StopList | None = None
    # How the model is loaded.
    num_ctx: Annotated[int, Meta(ge=16, le=10_000_000)] | None = None
    num_thread: Annotated[int, Meta(ge=0, le=1024)] | None = None
    num_gpu: AnyInteger | None = None
    main_gpu: AnyInteger | None = None
    num_batch: AnyInteger | None = None
    use_mmap: bool | None = None
    use_mlock: bool | None = None
    numa: bool | None = None
    low_vram: bool | None = None
    f16_kv: bool | None = None
    vocab_only: bool | None = None
    logits_all: bool | None = None
    embedding_only: bool | None = None
    draft_num_predict: AnyInteger | None = None
    # What only works together with something that is not here.
    num_keep: AnyInteger | None = None
    mirostat: AnyInteger | None = None
    mirostat_tau: float | None = None
    mirostat_eta: float | None = None
    tfs_z: float | None = None
    penalize_newline: bool | None = None


class CalledFunction(msgspec.Struct, forbid_unknown_fields=True):
    """What an assistant called: the arguments are an object."""

    name: FunctionName
    arguments: JSONObject | None = None
    index: AnyInteger | None = None
    description: str | None = None


class ToolCall(msgspec.Struct, forbid_unknown_fields=True):
    """One call in an assistant's message; `type` is what some clients add, always `function`."""

    function: CalledFunction
    id: CallId | None = None
    type: str | None = None


class Message(msgspec.Struct, forbid_unknown_fields=True):
    """One message of the conversation."""

    role: Annotated[str, Meta(max_length=32)]
    content: str | None = None
    thinking: str | None = None
    images: list[Refused] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_name: Annotated[str, Meta(max_length=256)] | None = None
    tool_call_id: CallId | None = None


class ToolDefinition(msgspec.Struct, forbid_unknown_fields=True):
    """A tool; functions are the only kind."""

    function: FunctionDefinition
    type: str | None = None
    items: JSONValue = None


class _Request(msgspec.Struct, kw_only=True):
    """Fields that all requests to a model share."""

    model: ModelName
    options: Options | None = None
    keep_alive: str | int | float | None = None


class _Generation(_Request, kw_only=True):
    """Fields that chats and texts share."""

    stream: bool | None = None
    format: str | JSONSchema | None = None
    think: bool | str | None = None
    truncate: bool | None = None
    shift: bool | None = None
    logprobs: bool | None = None
    top_logprobs: TopLogprobs | None = None


class ChatRequest(_Generation, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /api/chat."""

    messages: Annotated[list[Message], Meta(max_length=MAX_MESSAGES)] | None = None
    tools: Annotated[list[ToolDefinition], Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: str | ToolChoiceObject | None = None
    temperature: Temperature | None = None
    top_p: PositiveProbability | None = None
    max_output_tokens: PositiveCount | None = None


class GenerateRequest(_Generation, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /api/generate."""

    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    template: str | None = None
    context: Annotated[list[TokenId], Meta(max_length=MAX_CONTEXT_IDS)] | None = None
    raw: bool | None = None
    images: list[Refused] | None = None


class EmbedRequest(_Request, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /api/embed."""

    input: str | Annotated[list[str], Meta(max_length=MAX_INPUTS)] | None = None
    truncate: bool | None = None
    dimensions: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None


class EmbeddingsRequest(_Request, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /api/embeddings, the old form."""

    prompt: str | None = None


class ShowRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /api/show; `name` is the old name of `model`."""

    model: Annotated[str, Meta(max_length=512)] | None = None
    name: Annotated[str, Meta(max_length=512)] | None = None
    verbose: bool | None = None
    system: str | None = None
    template: str | None = None
    options: JSONObject | None = None
