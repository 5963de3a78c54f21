"""A sequence as a request of OpenAI's protocol: which path, which body. Pure.

Source: OpenAI API reference, "Create chat completion" and "Create completion"; vLLM's protocol.py for
`continue_final_message`, `add_generation_prompt` and `chat_template_kwargs`.
"""

import base64
from typing import Any, Final

import msgspec

from backends.wire.messages import Generate
from backends.wire.prompts import ChatPrompt, ImagePart, InfillPrompt, PromptMessage, TextPart, TextPrompt, TokenPrompt
from router.config.upstreams import UpstreamField
from router.models.defaults import RequestDefaults
from router.upstreams.fields import Honoured, fields_of, logprobs_of, refusal, tool_fields

CHAT_PATH: Final = "/chat/completions"
TEXT_PATH: Final = "/completions"
_SIGNATURES: Final = ((b"\x89PNG", "png"), (b"GIF8", "gif"), (b"BM", "bmp"), (b"\xff\xd8", "jpeg"))
"""How the files begin. Source: backends.images.decoding's formats; WebP is told by its eighth byte."""


class Asked(msgspec.Struct, frozen=True):
    """What is sent for one sequence.

    Attributes:
        path: Behind the upstream's address.
        echo: The prompt's text that the client wants back; "" = it does not.
    """

    path: str
    body: dict[str, Any]
    echo: str = ""


def asked(generate: Generate, model_id: str, honoured: Honoured, defaults: RequestDefaults) -> Asked:
    """Return what an upstream is sent for a sequence, whose prompt is no fork.

    Raises:
        UnsupportedFieldError: It asks for what the upstream does not honour.
    """
    spec, prompt = generate.spec, generate.prompt
    body: dict[str, Any] = {"model": model_id, "stream": True, "stream_options": {"include_usage": True}}
    if honoured.is_mlxr:
        body["return_progress"] = True
    body |= fields_of(spec, honoured, defaults)
    if isinstance(prompt, ChatPrompt):
        body |= _chat(prompt, honoured)
        body |= tool_fields(prompt.tools, None if spec.output is None else spec.output.tools, honoured)
        return Asked(CHAT_PATH, body | logprobs_of(spec.sampling, honoured, is_chat=True))
    honoured.need(UpstreamField.COMPLETIONS, "prompt", "send a conversation to /v1/chat/completions")
    match prompt:
        case TextPrompt(images=images) if images:
            raise refusal(images[0].param, honoured.upstream, "send pictures in a conversation")
        case TextPrompt(text=text, suffix=suffix):
            body["prompt"] = text
        case InfillPrompt(prefix=prefix, suffix=behind, files=files):
            if files:
                raise refusal("input_extra", honoured.upstream)
            body["prompt"], suffix, text = prefix, behind, prefix
        case TokenPrompt(token_ids=token_ids):
            honoured.need(UpstreamField.TOKEN_PROMPTS, "prompt", "send a text")
            body["prompt"], suffix, text = token_ids, None, ""
        case _:
            raise AssertionError("forks are their sources' prompts by now")
    if suffix is not None:
        honoured.need(UpstreamField.SUFFIX, "suffix")
        body["suffix"] = suffix
    body |= logprobs_of(spec.sampling, honoured, is_chat=False)
    return Asked(TEXT_PATH, body, text if spec.echoes else "")


def _chat(prompt: ChatPrompt, honoured: Honoured) -> dict[str, Any]:
    if prompt.context_ids:
        raise refusal("context", honoured.upstream, "send the conversation")
    messages = [_message(message, honoured) for message in prompt.messages]
    fields: dict[str, Any] = {"messages": messages}
    if prompt.continuation is not None:
        way_out = "let the last message be one of the user"
        honoured.need(UpstreamField.CONTINUATION, "messages", way_out)
        messages.append({"role": "assistant", "content": prompt.continuation})
        fields |= {"continue_final_message": True, "add_generation_prompt": False}
    elif not prompt.opens_turn:
        honoured.need(UpstreamField.CONTINUATION, "add_generation_prompt")
        fields["add_generation_prompt"] = False
    return fields | _thinking(prompt, honoured)


def _thinking(prompt: ChatPrompt, honoured: Honoured) -> dict[str, Any]:
    """Return the wishes for thinking; those of which the request says that they may be passed over are, if need be."""
    fields: dict[str, Any] = {}
    kwargs = dict(prompt.template_kwargs)
    knows_template = UpstreamField.CHAT_TEMPLATE_KWARGS in honoured.fields
    if prompt.enable_thinking is not None and (knows_template or not prompt.is_thinking_optional):
        way_out = "send reasoning_effort, or leave it out"
        honoured.need(UpstreamField.CHAT_TEMPLATE_KWARGS, "enable_thinking", way_out)
        kwargs["enable_thinking"] = prompt.enable_thinking
    if kwargs:
        honoured.need(UpstreamField.CHAT_TEMPLATE_KWARGS, "chat_template_kwargs")
        fields["chat_template_kwargs"] = kwargs
    knows_effort = UpstreamField.REASONING_EFFORT in honoured.fields
    if prompt.reasoning_effort is not None and (knows_effort or not prompt.is_thinking_optional):
        honoured.need(UpstreamField.REASONING_EFFORT, "reasoning_effort")
        fields["reasoning_effort"] = prompt.reasoning_effort
    return fields


def _message(message: PromptMessage, honoured: Honoured) -> dict[str, Any]:
    sent: dict[str, Any] = {"role": message["role"], "content": _content(message["content"], honoured)}
    if "name" in message:
        sent["name"] = message["name"]
    if "tool_call_id" in message:
        sent["tool_call_id"] = message["tool_call_id"]
    thoughts = message.get("reasoning_content")
    if thoughts and UpstreamField.REASONING_CONTENT in honoured.fields:
        sent["reasoning_content"] = thoughts
    if calls := message.get("tool_calls"):
        sent["tool_calls"] = [_call(call) for call in calls]
    elif sent["content"] is None:
        sent["content"] = ""
    return sent


def _content(content: str | list[TextPart | ImagePart] | None, honoured: Honoured) -> str | list[dict[str, Any]] | None:
    if not isinstance(content, list):
        return content
    return [_part(part, honoured) for part in content]


def _part(part: TextPart | ImagePart, honoured: Honoured) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    honoured.need(UpstreamField.IMAGES, part.param, "ask another model")
    data = base64.b64encode(part.data).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/{_format(part.data)};base64,{data}"}}


def _format(data: bytes) -> str:
    if data[8:12] == b"WEBP":
        return "webp"
    return next((name for signature, name in _SIGNATURES if data.startswith(signature)), "jpeg")


def _call(call: dict[str, Any]) -> dict[str, Any]:
    """Return a call with its arguments as a text, as the protocol has them."""
    function = call["function"]
    arguments = function.get("arguments", {})
    text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
    return {**call, "type": "function", "function": {**function, "arguments": text}}
