"""Requests of Ollama's API for inference, exactly typed; unknown fields are left out (`http.ignored`).

Null is as good as absent everywhere, as for a Go program. The ranges are the engines' own. What becomes of each field
stands beside it (`fields/support.py`), also of the options that Ollama had once and that clients still know. One that
an engine does not honour passes only with a value that asks for nothing; anything else is refused by its name, where
Ollama itself would only warn in its log.

Source: Ollama, api/types.go (`Options`, `Runner`), docs/api.md and docs/modelfile.md ("Valid Parameters and Values");
for the older options, its Python client (`Options`). `temperature`, `top_p`, `max_output_tokens` and `tool_choice`
beside the options are not Ollama's, which drops them: the AI SDK's provider sends them so, and means them.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from registry.engines import EngineKind
from registry.settings import ContextLength
from router.protocols.fields import ranges
from router.protocols.fields.json_types import JSONObject, JSONSchema, JSONValue, read_by_type
from router.protocols.fields.mlxr import MlxrFields
from router.protocols.fields.support import LABEL, honoured, refused
from router.protocols.fields.tools import CalledName, FunctionDefinition

MAX_MESSAGES = 10_000
MAX_CONTEXT_IDS = 1_000_000
MAX_INPUTS = 2048

ModelName = Annotated[str, Meta(min_length=1, max_length=512)]
AnyInteger = ranges.Seed
CallId = Annotated[str, Meta(max_length=256)]
ToolChoiceObject = Annotated[
    JSONObject, read_by_type("ToolChoice", "openai.NamedChoice", "openai.AllowedChoice", "responses.NamedChoice")
]


_SEEN = honoured("base64 or data: URIs, of models that see; in earlier messages of others said in words")
_AS_IT_IS = refused("a model is shown as it is; leave it out", "", {})
_OLD = refused("neither engine has it; leave it out", False)


class Options(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`options`: everything that Ollama documents, or once did."""

    # How tokens are drawn.
    temperature: ranges.Temperature | None = None
    top_k: Annotated[Annotated[int, Meta(ge=-1, le=1_000_000)] | None, honoured("0 and -1 = all")] = None
    top_p: ranges.TopP | None = None
    min_p: ranges.MinP | None = None
    typical_p: Annotated[ranges.TypicalP | None, honoured("1 is off")] = None
    seed: Annotated[ranges.Seed | None, honoured("-1 = another one each time")] = None
    repeat_penalty: Annotated[ranges.RepetitionPenalty | None, honoured("1 is off")] = None
    repeat_last_n: Annotated[ranges.PenaltyWindow | None, honoured("tokens; 0 = penalties off, -1 = all")] = None
    presence_penalty: ranges.Penalty | None = None
    frequency_penalty: ranges.Penalty | None = None
    num_predict: Annotated[
        Annotated[int, Meta(ge=-2, le=1_000_000_000)] | None, honoured("-1 and -2 = what the context leaves, but not 0")
    ] = None
    stop: ranges.StopText | ranges.StopList | None = None
    # How the model is loaded.
    num_ctx: Annotated[
        ContextLength | None,
        honoured("tokens that the context holds at least, at most those it was made for"),
    ] = None
    num_thread: Annotated[
        Annotated[int, Meta(ge=0, le=1024)] | None,
        honoured(
            "of llamacpp, 0 = as the engine likes; another value loads the model anew",
            {EngineKind.MLX: refused("mlx chooses its threads itself; leave it out", 0)},
        ),
    ] = None
    num_gpu: Annotated[
        AnyInteger | None,
        honoured(
            "llamacpp computes on the CPU whatever is asked, mlx places the whole model on its device",
            {
                EngineKind.MLX: refused(
                    "mlx places the whole model on its device; leave it out, or use NAME@llamacpp for the CPU", -1
                )
            },
        ),
    ] = None
    main_gpu: Annotated[AnyInteger | None, refused("there is no choice of GPUs; leave it out", 0)] = None
    num_batch: Annotated[
        AnyInteger | None,
        refused("set llamacpp.batch_tokens or mlx.prefill_step_tokens in the config, for all models"),
    ] = None
    use_mmap: Annotated[bool | None, refused("set llamacpp.mmap in the config, for all models")] = None
    use_mlock: Annotated[bool | None, refused("memory is not locked here; leave it out", False)] = None
    numa: Annotated[bool | None, _OLD] = None
    low_vram: Annotated[bool | None, _OLD] = None
    f16_kv: Annotated[
        bool | None, refused("use `mlxr models set NAME kv_type=...` for the type of the KV cache", True)
    ] = None
    vocab_only: Annotated[bool | None, refused("a model is loaded whole or not at all; leave it out", False)] = None
    logits_all: Annotated[bool | None, refused("use logprobs", False)] = None
    embedding_only: Annotated[bool | None, refused("use POST /api/embed", False)] = None
    draft_num_predict: Annotated[
        AnyInteger | None, refused("mlxr decides how much is drafted; leave it out, or send 0", 0)
    ] = None
    num_keep: Annotated[AnyInteger | None, LABEL] = None  # of a context that is shifted, which none is here
    mirostat: Annotated[AnyInteger | None, refused("neither engine has it; use temperature, top_p and min_p", 0)] = None
    mirostat_tau: Annotated[float | None, LABEL] = None  # of mirostat, which must be off
    mirostat_eta: Annotated[float | None, LABEL] = None
    tfs_z: Annotated[float | None, refused("neither engine has it; use min_p or typical_p", 1)] = None
    penalize_newline: Annotated[
        bool | None, refused("penalties count newlines like any other token; leave it out", True)
    ] = None


class CalledFunction(msgspec.Struct, forbid_unknown_fields=True):
    """What an assistant called: the arguments are an object, or its JSON text."""

    name: CalledName
    arguments: JSONObject | str | None = None
    index: AnyInteger | None = None
    description: str | None = None


class ToolCall(msgspec.Struct, forbid_unknown_fields=True):
    """One call in an assistant's message; `type` is what some clients add, always `function`."""

    function: CalledFunction
    id: CallId | None = None
    type: str | None = None


class Message(msgspec.Struct, forbid_unknown_fields=True):
    """One message of the conversation; `name` is the old name of `tool_name`."""

    role: Annotated[str, Meta(max_length=32)]
    content: str | None = None
    thinking: str | None = None
    images: Annotated[list[JSONValue] | None, _SEEN] = None
    tool_calls: list[ToolCall] | None = None
    name: Annotated[str, Meta(max_length=256)] | None = None
    cache_control: Annotated[JSONObject | None, LABEL] = None
    tool_name: Annotated[str, Meta(max_length=256)] | None = None
    tool_call_id: CallId | None = None


class NamedFunction(FunctionDefinition, forbid_unknown_fields=True):
    """A function, whatever its name; the model is shown one that it can write."""

    name: CalledName


class ToolDefinition(msgspec.Struct, forbid_unknown_fields=True):
    """A tool; functions are the only kind."""

    function: NamedFunction
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
    shift: Annotated[
        bool | None,
        refused("nothing is dropped from a running answer's context here; it ends with done_reason length", False),
    ] = None
    logprobs: bool | None = None
    top_logprobs: ranges.TopLogprobs | None = None
    mlxr: MlxrFields | None = None


class ChatRequest(_Generation, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /api/chat."""

    messages: Annotated[list[Message], Meta(max_length=MAX_MESSAGES)] | None = None
    tools: Annotated[list[ToolDefinition], Meta(max_length=ranges.MAX_TOOLS)] | None = None
    tool_choice: str | ToolChoiceObject | None = None
    temperature: ranges.Temperature | None = None
    top_p: ranges.TopP | None = None
    max_output_tokens: ranges.PositiveCount | None = None


class GenerateRequest(_Generation, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /api/generate."""

    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    template: Annotated[
        str | None,
        refused(
            "Go templates are not rendered; the model's own chat template is used. Leave it out, send raw: true with a "
            "prompt that is ready, or set a Jinja template with `mlxr models set NAME template=...`",
            "",
        ),
    ] = None
    context: Annotated[list[ranges.ContextId], Meta(max_length=MAX_CONTEXT_IDS)] | None = None
    raw: bool | None = None
    images: Annotated[list[JSONValue] | None, _SEEN] = None


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
    verbose: Annotated[bool | None, refused("vocabularies and tensors are not told; leave it out", False)] = None
    system: Annotated[str | None, _AS_IT_IS] = None
    template: Annotated[str | None, _AS_IT_IS] = None
    options: Annotated[JSONObject | None, _AS_IT_IS] = None
