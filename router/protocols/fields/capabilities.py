"""What mlxr honours: one table of every field of the generation endpoints, per engine, with the values it may have.

The validation of requests reads it (what is refused, and the range that an error names), `GET /v1/mlxr/capabilities`
and `mlxr models show` print it, and tests walk it. Not here: the checks of types and ranges themselves, which are the
decoder's (`router.protocols.openai.schemas`); a test holds the two together.

Light on purpose: the command line imports it.
"""

import enum
from typing import Any, Final

import msgspec

from registry.catalogue import Model
from registry.engines import EngineKind
from registry.facts import ModelKind

ENGINES: Final = tuple(sorted(EngineKind))
CHAT: Final = "chat"
COMPLETIONS: Final = "completions"
RESPONSES: Final = "responses"
_BOTH: Final = (CHAT, COMPLETIONS)
_CHATS: Final = (CHAT, RESPONSES)
_ALL: Final = (CHAT, COMPLETIONS, RESPONSES)


class Support(enum.StrEnum):
    """What becomes of a field."""

    HONOURED = "honoured"
    LABEL = "label"  # accepted; by its own definition it does not change the answer
    NEUTRAL_ONLY = "neutral only"  # only a value that asks for nothing is accepted
    REFUSED = "refused"  # null and what is empty are accepted, anything else never will be


class Capability(msgspec.Struct, frozen=True, kw_only=True):
    """One field of a request.

    Attributes:
        name: Path in the body; `messages[].x` is the field x of every message.
        endpoints: `chat`, `completions`, `responses`.
        support: On every engine that `overrides` does not name.
        allowed: The values it may have, for people; ranges are inclusive unless they say otherwise.
        neutral: Values that ask for nothing, accepted whatever the support; null always does.
        hint: What to do instead, where it is not honoured.
    """

    name: str
    endpoints: tuple[str, ...] = _BOTH
    support: Support = Support.HONOURED
    allowed: str = ""
    neutral: tuple[Any, ...] = ()
    overrides: dict[EngineKind, Support] = {}
    hint: str = ""

    def support_on(self, engine: EngineKind) -> Support:
        """Return what becomes of the field on one engine."""
        return self.overrides.get(engine, self.support)

    def is_neutral(self, value: object) -> bool:
        """Tell whether a value asks for nothing; 0.0 is as good as 0, but no boolean is a number."""
        if value is None:
            return True
        is_bool = isinstance(value, bool)
        return any(isinstance(ok, bool) == is_bool and value == ok for ok in self.neutral)


class EndpointCapability(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint that works on a model.

    Attributes:
        generates: Whether it needs a model that generates text; the others work on embedding models too.
    """

    path: str
    what: str
    engines: tuple[EngineKind, ...] = ENGINES
    generates: bool = True


def _honoured(name: str, allowed: str, endpoints: tuple[str, ...] = _BOTH) -> Capability:
    return Capability(name=name, allowed=allowed, endpoints=endpoints)


def _label(name: str, endpoints: tuple[str, ...] = (CHAT,)) -> Capability:
    return Capability(name=name, endpoints=endpoints, support=Support.LABEL, allowed="any value of its type")


def _neutral_only(name: str, *neutral: Any, endpoints: tuple[str, ...] = (CHAT,)) -> Capability:
    return Capability(name=name, endpoints=endpoints, support=Support.NEUTRAL_ONLY, neutral=neutral)


def _refused(name: str, hint: str, *neutral: Any, endpoints: tuple[str, ...] = (CHAT,)) -> Capability:
    return Capability(name=name, endpoints=endpoints, support=Support.REFUSED, neutral=neutral, hint=hint)


_CHAT_ONLY: Final = (CHAT,)
_COMPLETIONS_ONLY: Final = (COMPLETIONS,)
_RESPONSES_ONLY: Final = (RESPONSES,)
_TEXT_ONLY: Final = "only text is understood; send a part of type text"

CAPABILITIES: Final[tuple[Capability, ...]] = (
    _honoured(
        "model", "a name of GET /v1/models, an alias, or NAME@mlx, NAME@llamacpp, NAME@auto; 1 to 256 letters", _ALL
    ),
    _honoured("messages", "1 to 10000 messages of the roles system, developer, user, assistant, tool", _CHAT_ONLY),
    _honoured("messages[].role", "system, developer, user, assistant or tool", _CHAT_ONLY),
    _honoured("messages[].content", "a text or text parts; may be null beside tool_calls", _CHAT_ONLY),
    _honoured("messages[].name", "a text; shown where the model's template shows names", _CHAT_ONLY),
    _honoured("messages[].reasoning_content", "a text; of assistant messages", _CHAT_ONLY),
    _honoured("messages[].tool_calls", "calls with arguments as JSON text; of assistant messages", _CHAT_ONLY),
    _honoured("messages[].tool_call_id", "1 to 256 characters; of tool messages, which need it", _CHAT_ONLY),
    _honoured("prompt", "a text, up to 64 texts, token ids, or up to 64 lists of token ids", _COMPLETIONS_ONLY),
    _honoured("stream", "true or false", _ALL),
    _honoured("stream_options.include_usage", "true or false; only with stream: true"),
    # How tokens are drawn.
    _honoured("temperature", "a number from 0 (greedy) to 5", _ALL),
    _honoured("top_p", "a number above 0, up to 1", _ALL),
    _honoured("top_k", "a whole number from 0 (off) to 1000000", _ALL),
    _honoured("min_p", "a number from 0 to 1", _ALL),
    _honoured("typical_p", "a number above 0, up to 1 (off)"),
    _honoured("frequency_penalty", "a number from -2 to 2", _ALL),
    _honoured("presence_penalty", "a number from -2 to 2", _ALL),
    _honoured("repetition_penalty", "a number above 0, up to 10; 1 is off; also called repeat_penalty", _ALL),
    _honoured("repeat_penalty", "a number above 0, up to 10; the same as repetition_penalty"),
    _honoured("repeat_last_n", "tokens from 1 to 1000000, 0 = penalties off, -1 = all; also repetition_context_size"),
    _honoured("repetition_context_size", "a whole number from -1 to 1000000; the same as repeat_last_n"),
    _honoured("logit_bias", "up to 1024 token ids, each with a number from -100 to 100: an object, or a list of pairs"),
    _honoured("seed", "a whole number of 64 bits (-9223372036854775808 to 9223372036854775807)", _ALL),
    # Where answers end, and how many there are.
    _honoured("max_tokens", "a whole number from 1 to 1000000000"),
    _honoured("max_completion_tokens", "a whole number from 1 to 1000000000", _CHAT_ONLY),
    _honoured("stop", "up to 16 texts of 1 to 256 characters"),
    _honoured("ignore_eos", "true or false"),
    _honoured("n", "a whole number from 1 to 8"),
    _honoured("suffix", "a text; for models that can infill, with one prompt that is a text", _COMPLETIONS_ONLY),
    # What is reported.
    _honoured("logprobs", "true or false in a chat; a whole number from 0 to 20 in a text completion"),
    _honoured("top_logprobs", "a whole number from 0 to 20; only with logprobs: true", _CHAT_ONLY),
    _honoured("echo", "true or false; for prompts that are texts, without logprobs", _COMPLETIONS_ONLY),
    _honoured("return_progress", "true or false; only with stream: true"),
    _honoured("timings_per_token", "true or false; only with stream: true"),
    # How requests are scheduled.
    _honoured("service_tier", "auto, default or priority (interactive), or flex (background)", _ALL),
    _honoured("prompt_cache_key", "a text of up to 512 characters; the same as the header X-Session-Id", _ALL),
    # What answers look like.
    _honoured("response_format", "an object of type text, json_object or json_schema"),
    _honoured("grammar", "a GBNF grammar of 1 to 65536 bytes"),
    _honoured("regex", "a regular expression of 1 to 65536 bytes"),
    _honoured("reasoning_effort", "none, minimal, low, medium, high or xhigh", _CHAT_ONLY),
    _honoured("enable_thinking", "true or false", _CHAT_ONLY),
    _honoured("chat_template_kwargs", "an object of up to 16384 bytes of JSON", _CHAT_ONLY),
    _honoured("reasoning_format", "none, auto or deepseek", _CHAT_ONLY),
    # Tools.
    _honoured("tools", "up to 128 tools of type function, each with another name", _CHATS),
    _honoured("tool_choice", "none, auto, required, or an object of type function or allowed_tools", _CHATS),
    _honoured("parallel_tool_calls", "true or false", _CHATS),
    # Labels.
    _label("user", _ALL),
    _label("metadata", _ALL),
    _label("safety_identifier", _CHATS),
    _label("prompt_cache_retention", _CHATS),
    _label("messages[].parsed"),
    # Not honoured.
    _neutral_only("stream_options.include_obfuscation", False, endpoints=_ALL),
    _neutral_only("best_of", 1, endpoints=_COMPLETIONS_ONLY),
    _neutral_only("cache_prompt", True, endpoints=_BOTH),
    _neutral_only("id_slot", -1, endpoints=_BOTH),
    _neutral_only("verbosity"),
    _neutral_only("modalities", ["text"]),
    _neutral_only("audio"),
    _neutral_only("prediction"),
    _neutral_only("web_search_options"),
    _neutral_only("store", False),
    _refused("functions", "it is the old form of tools; send tools", []),
    _refused("function_call", "it is the old form of tool_choice; send tool_choice", "none", "auto"),
    _refused("messages[].function_call", "it is the old form of tool_calls; send tool_calls"),
    _neutral_only("messages[].audio"),
    _neutral_only("messages[].refusal", ""),
    _neutral_only("messages[].annotations", []),
    _refused("messages[].content[].image_url", _TEXT_ONLY),
    _refused("messages[].content[].input_audio", _TEXT_ONLY),
    _refused("messages[].content[].file", _TEXT_ONLY),
    # Of responses alone.
    _honoured("input", "a text, or up to 10000 items: messages, calls, their outputs, reasoning", _RESPONSES_ONLY),
    _honoured("instructions", "a text; of this response only", _RESPONSES_ONLY),
    _honoured("previous_response_id", "the id of a stored response, 1 to 256 characters", _RESPONSES_ONLY),
    _honoured("store", "true or false; true where nothing is sent", _RESPONSES_ONLY),
    _honoured("background", "true or false; true needs a response that is stored", _RESPONSES_ONLY),
    _honoured("include", "message.output_text.logprobs, reasoning.encrypted_content", _RESPONSES_ONLY),
    _honoured("truncation", "disabled, or auto: the oldest turns go where there is no room", _RESPONSES_ONLY),
    _honoured("max_output_tokens", "a whole number from 1 to 1000000000", _RESPONSES_ONLY),
    _honoured(
        "max_tool_calls", "a whole number from 1 to 1000000000; of built-in tools, which are none", _RESPONSES_ONLY
    ),
    _honoured("top_logprobs", "0 to 20; only with include: message.output_text.logprobs", _RESPONSES_ONLY),
    _honoured("text.format", "an object of type text, json_object or json_schema", _RESPONSES_ONLY),
    _honoured("reasoning.effort", "none, minimal, low, medium, high or xhigh", _RESPONSES_ONLY),
    _neutral_only("text.verbosity", "medium", endpoints=_RESPONSES_ONLY),
    _neutral_only("reasoning.summary", "auto", endpoints=_RESPONSES_ONLY),
    _neutral_only("reasoning.context", "auto", endpoints=_RESPONSES_ONLY),
    _neutral_only("reasoning.mode", "standard", endpoints=_RESPONSES_ONLY),
    _refused(
        "reasoning.generate_summary", "it is the old form of reasoning.summary", "auto", endpoints=_RESPONSES_ONLY
    ),
    _refused("conversation", "go on from a response with previous_response_id", endpoints=_RESPONSES_ONLY),
    _refused("prompt", "there are no stored prompts; send instructions and input", endpoints=_RESPONSES_ONLY),
    _neutral_only("moderation", endpoints=_RESPONSES_ONLY),
    _refused("context_management", "send truncation: auto", [], endpoints=_RESPONSES_ONLY),
    _neutral_only("prompt_cache_options", endpoints=_RESPONSES_ONLY),
    _neutral_only("access_programs", endpoints=_RESPONSES_ONLY),
    _neutral_only("image", endpoints=_RESPONSES_ONLY),
)
"""Every field of chat and text completions and of responses; a test holds it to the schemas."""

ENDPOINTS: Final[tuple[EndpointCapability, ...]] = (
    EndpointCapability(path="POST /v1/chat/completions", what="answer a conversation"),
    EndpointCapability(path="POST /v1/completions", what="continue texts"),
    EndpointCapability(path="POST /v1/responses", what="answer, and keep the conversation to go on from"),
    EndpointCapability(path="POST /v1/responses/input_tokens", what="count a response's input tokens"),
    EndpointCapability(path="POST /v1/messages", what="answer a conversation, in Anthropic's API"),
    EndpointCapability(path="POST /v1/messages/count_tokens", what="count a conversation's tokens, in Anthropic's API"),
    EndpointCapability(path="POST /api/chat", what="answer a conversation, in Ollama's API"),
    EndpointCapability(path="POST /api/generate", what="answer or continue a text, in Ollama's API"),
    EndpointCapability(path="POST /api/embed", what="embed texts, in Ollama's API", generates=False),
    EndpointCapability(path="POST /v1/embeddings", what="embed texts; embedding models run on llamacpp"),
    EndpointCapability(path="POST /v1/chat/completions/input_tokens", what="count a conversation's tokens"),
    EndpointCapability(path="POST /tokenize", what="list a text's tokens"),
    EndpointCapability(path="POST /detokenize", what="write the text of tokens"),
    EndpointCapability(path="POST /apply-template", what="write a conversation as the model's template does"),
    EndpointCapability(path="GET /props", what="describe a model and the defaults of requests"),
    EndpointCapability(path="GET /slots", what="list the places in a loaded model's batch"),
)

_BY_NAME: Final = {(endpoint, row.name): row for row in CAPABILITIES for endpoint in row.endpoints}


def capability(endpoint: str, name: str) -> Capability | None:
    """Return the row of a field, or None when the endpoint has no such field.

    Args:
        endpoint: `chat`, `completions` or `responses`.
        name: Path as in `Capability.name`.
    """
    return _BY_NAME.get((endpoint, name))


def unsupported(endpoint: str, engine: EngineKind, prefix: str = "") -> tuple[Capability, ...]:
    """Return the fields that one endpoint does not honour on one engine.

    Args:
        endpoint: `chat`, `completions` or `responses`.
        engine: The engine that is to serve the request.
        prefix: Only the fields below this one of `PREFIXES`; "" = those of the body itself and of its objects.
    """
    return _UNSUPPORTED[endpoint, engine, prefix]


def _unsupported_rows(endpoint: str, engine: EngineKind, prefix: str) -> tuple[Capability, ...]:
    return tuple(
        row
        for row in CAPABILITIES
        if endpoint in row.endpoints
        and row.support_on(engine) in {Support.NEUTRAL_ONLY, Support.REFUSED}
        and row.name.startswith(prefix)
        and "[]" not in row.name.removeprefix(prefix)
    )


MESSAGE_FIELDS: Final = "messages[]."
PART_FIELDS: Final = "messages[].content[]."
PREFIXES: Final = ("", MESSAGE_FIELDS, PART_FIELDS)
_UNSUPPORTED: Final = {
    key: _unsupported_rows(*key)
    for key in ((endpoint, engine, prefix) for endpoint in _ALL for engine in ENGINES for prefix in PREFIXES)
}


def generating_engines(model: Model | None) -> tuple[EngineKind, ...]:
    """Return the engines that can generate text with a model; both, when no model is named."""
    return _engines_with(model, frozenset({ModelKind.MODEL}))


def report(model: Model | None = None, engine: EngineKind | None = None) -> dict[str, Any]:
    """Return the table as data, for the endpoint and for `mlxr models show --json`.

    Args:
        model: Only the engines that it has usable artifacts for; None = both engines.
        engine: Only this one of them; None = all.
    """
    able = _engines_with(model, frozenset({ModelKind.MODEL, ModelKind.EMBEDDING}))
    engines = [name for name in able if engine in (None, name)]
    generating = [name for name in generating_engines(model) if name in engines]
    fields = [
        {
            "name": row.name,
            "endpoints": list(row.endpoints),
            "engines": {name: row.support_on(name).value for name in generating},
            "allowed": row.allowed or None,
            "neutral": [None, *row.neutral],
            "hint": row.hint or None,
        }
        for row in CAPABILITIES
    ]
    endpoints = [
        {
            "path": row.path,
            "what": row.what,
            "engines": {name: name in row.engines and (name in generating or not row.generates) for name in engines},
        }
        for row in ENDPOINTS
    ]
    return {
        "model": None if model is None else model.name,
        "engines": engines,
        "fields": fields if generating else [],
        "endpoints": endpoints,
    }


def _engines_with(model: Model | None, kinds: frozenset[ModelKind]) -> tuple[EngineKind, ...]:
    if model is None:
        return ENGINES
    usable = {
        artifact.engine for artifact in model.artifacts if artifact.status == "ok" and artifact.facts.kind in kinds
    }
    return tuple(name for name in ENGINES if name in usable)
