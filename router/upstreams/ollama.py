"""Ollama's protocol: a sequence as a request of it, what it sends as a worker's messages, and its lists. Pure.

Source: Ollama, docs/api.md ("Generate a chat completion", "Generate a completion", "Generate embeddings", "List local
models") and api/types.go.
"""

import base64
import secrets
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from backends.wire.messages import Embed, Generate, Usage
from backends.wire.output import Output, ToolCallDelta
from backends.wire.prompts import ChatPrompt, ImagePart, PromptMessage, TextPart, TextPrompt
from backends.wire.request import ToolChoice, ToolUse
from router.config.upstreams import UpstreamField
from router.errors import UpstreamError
from router.models.defaults import RequestDefaults
from router.upstreams.bodies import Asked
from router.upstreams.chunks import Answer, words_of
from router.upstreams.embedding import embedding_body
from router.upstreams.fields import Honoured, fields_of, refusal

CHAT_PATH: Final = "/chat"
TEXT_PATH: Final = "/generate"
EMBED_PATH: Final = "/embed"
LIST_PATH: Final = "/tags"

OLLAMA_FIELDS: Final = frozenset(
    {
        UpstreamField.SEED,
        UpstreamField.FREQUENCY_PENALTY,
        UpstreamField.PRESENCE_PENALTY,
        UpstreamField.TOP_K,
        UpstreamField.MIN_P,
        UpstreamField.TYPICAL_P,
        UpstreamField.REPETITION_PENALTY,
        UpstreamField.TOOLS,
        UpstreamField.RESPONSE_FORMAT,
        UpstreamField.REASONING_EFFORT,
        UpstreamField.REASONING_CONTENT,
        UpstreamField.IMAGES,
        UpstreamField.COMPLETIONS,
        UpstreamField.SUFFIX,
        UpstreamField.EMBEDDINGS,
    }
)
_OPTIONS: Final[Mapping[str, str]] = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "typical_p": "typical_p",
    "seed": "seed",
    "stop": "stop",
    "max_tokens": "num_predict",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "repetition_penalty": "repeat_penalty",
}
"""OpenAI's names of fields, and Ollama's."""
_MS_OF_NS: Final = 1e-6


def base_url(url: str) -> str:
    """Return an upstream's address with the path before `/chat`."""
    address = url.rstrip("/")
    return address if address.endswith("/api") else f"{address}/api"


def asked(generate: Generate, model_id: str, honoured: Honoured, defaults: RequestDefaults) -> Asked:
    """Return what an upstream is sent for a sequence, whose prompt is no fork.

    Raises:
        UnsupportedFieldError: It asks for what Ollama, or this upstream, does not honour.
    """
    spec, prompt = generate.spec, generate.prompt
    if spec.sampling.num_logprobs is not None:
        raise refusal("logprobs", honoured.upstream)
    fields = fields_of(spec, honoured, defaults)
    body: dict[str, Any] = {"model": model_id, "stream": True}
    body["options"] = {_OPTIONS[name]: value for name, value in fields.items() if name in _OPTIONS}
    if (wanted := fields.get("response_format")) is not None:
        body["format"] = "json" if wanted["type"] == "json_object" else wanted["json_schema"]["schema"]
    if isinstance(prompt, ChatPrompt):
        tools = _tools(prompt.tools, None if spec.output is None else spec.output.tools, honoured)
        return Asked(CHAT_PATH, body | _chat(prompt, honoured) | tools)
    honoured.need(UpstreamField.COMPLETIONS, "prompt", "send a conversation to /v1/chat/completions")
    if not isinstance(prompt, TextPrompt) or prompt.images:
        raise refusal("prompt", honoured.upstream, "send one text")
    if prompt.suffix is None:
        return Asked(TEXT_PATH, body | {"prompt": prompt.text, "raw": True}, prompt.text if spec.echoes else "")
    honoured.need(UpstreamField.SUFFIX, "suffix")
    return Asked(TEXT_PATH, body | {"prompt": prompt.text, "suffix": prompt.suffix})


def _chat(prompt: ChatPrompt, honoured: Honoured) -> dict[str, Any]:
    if prompt.context_ids:
        raise refusal("context", honoured.upstream, "send the conversation")
    if prompt.template_kwargs:
        raise refusal("chat_template_kwargs", honoured.upstream)
    if not prompt.opens_turn:
        raise refusal("add_generation_prompt", honoured.upstream)
    messages = [_message(message, honoured) for message in prompt.messages]
    if prompt.continuation is not None:
        messages.append({"role": "assistant", "content": prompt.continuation})  # which Ollama goes on from
    think: bool | str | None = prompt.enable_thinking
    if prompt.reasoning_effort is not None and prompt.enable_thinking is not False:
        think = False if prompt.reasoning_effort == "none" else prompt.reasoning_effort
    return {"messages": messages} if think is None else {"messages": messages, "think": think}


def _tools(shown: list[dict[str, Any]], use: ToolUse | None, honoured: Honoured) -> dict[str, Any]:
    if not shown or use is None or use.choice is ToolChoice.NONE:
        return {}
    honoured.need(UpstreamField.TOOLS, "tools")
    if use.choice is ToolChoice.REQUIRED:
        raise refusal("tool_choice", honoured.upstream, "send auto")
    if not use.is_parallel:
        raise refusal("parallel_tool_calls", honoured.upstream)
    return {"tools": shown}


def _message(message: PromptMessage, honoured: Honoured) -> dict[str, Any]:
    content = message["content"]
    parts = content if isinstance(content, list) else [TextPart(content or "")]
    images = [part for part in parts if isinstance(part, ImagePart)]
    sent: dict[str, Any] = {
        "role": message["role"],
        "content": "\n".join(part.text for part in parts if isinstance(part, TextPart)),
    }
    if images:
        honoured.need(UpstreamField.IMAGES, images[0].param, "ask another model")
        sent["images"] = [base64.b64encode(image.data).decode() for image in images]
    if thoughts := message.get("reasoning_content"):
        sent["thinking"] = thoughts
    if calls := message.get("tool_calls"):
        sent["tool_calls"] = [{"function": _function(call["function"])} for call in calls]
    if "name" in message and message["role"] == "tool":
        sent["tool_name"] = message["name"]
    return sent


def _function(function: dict[str, Any]) -> dict[str, Any]:
    arguments = function.get("arguments", {})
    return {
        "name": function["name"],
        "arguments": msgspec.json.decode(arguments) if isinstance(arguments, str) else arguments,
    }


class OllamaAnswer(Answer):
    """One answer as it comes, a line a piece."""

    def _chunk(self, chunk: Any) -> Output | None:
        if chunk.get("error"):
            raise UpstreamError(f"it has sent an error: {words_of(chunk)}")
        message = chunk.get("message") or {}
        text = message.get("content") or chunk.get("response") or ""
        thoughts = message.get("thinking") or chunk.get("thinking") or ""
        if not isinstance(text, str) or not isinstance(thoughts, str):
            raise TypeError
        calls = tuple(self._whole_call(call["function"]) for call in message.get("tool_calls") or ())
        if chunk.get("done"):
            self._on_end(chunk)
        if not (text or thoughts or calls):
            return None
        self.has_output = True
        self.num_chunks += 1
        return Output(text, thoughts, calls)

    def _on_end(self, chunk: dict[str, Any]) -> None:
        self._is_done = True
        self._reason = chunk.get("done_reason") or "stop"
        num_prompt, num_output = (int(chunk.get(name) or 0) for name in ("prompt_eval_count", "eval_count"))
        cached = chunk.get("prompt_cached_count")
        self.usage = Usage(max(0, num_prompt), min(int(cached or 0), max(0, num_prompt)), max(0, num_output))

    def _whole_call(self, function: dict[str, Any]) -> ToolCallDelta:
        index = len(self._arguments)
        arguments = msgspec.json.encode(function.get("arguments") or {}).decode()
        self._arguments[index] = [arguments]
        name = function["name"]
        return ToolCallDelta(index, f"call_{secrets.token_hex(12)}", self._said.get(name, str(name)), arguments)


def listing(body: Any) -> dict[str, Any]:
    """Return a list of models as OpenAI's protocol has it."""
    models = body.get("models") if isinstance(body, dict) else None
    entries = [each for each in models or () if isinstance(each, dict) and isinstance(each.get("name"), str)]
    return {"data": [_entry(each) for each in entries]}


def _entry(model: dict[str, Any]) -> dict[str, Any]:
    details = model.get("details")
    length = details.get("context_length") if isinstance(details, dict) else None
    return {"id": model["name"].removesuffix(":latest"), "context_length": length}


def vectors_body(request: Embed, model_id: str, honoured: Honoured) -> dict[str, Any]:
    """Return what is sent for vectors; errors as of `embedding_body`."""
    body = embedding_body(request, model_id, honoured)
    return {"model": model_id, "input": body["input"], "truncate": request.truncates}


def vectors(body: Any) -> Any:
    """Return an answer with vectors as OpenAI's protocol has it."""
    try:
        rows = [{"index": index, "embedding": row} for index, row in enumerate(body["embeddings"])]
        return {"data": rows, "usage": {"prompt_tokens": body.get("prompt_eval_count") or 0}}
    except (TypeError, KeyError, AttributeError):
        raise UpstreamError("it has sent what are no vectors") from None
