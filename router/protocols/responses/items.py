"""Input items of a request to the form in which they are kept: checked, with an id each. Pure, but for fresh ids.

What an item may be is read by its `type`; one that no model can be shown is left out, by name. Not here: items of tools
that clients know without a definition (`hosted`), what the model is shown (`request`), where a reference is looked up.

Source: OpenAI API reference, "Create a model response", `input`.
"""

import base64
import binascii
import secrets
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from router.errors import InvalidRequestError, UnsupportedFieldError
from router.http.body import convert_part
from router.protocols.fields.carried import carried_context
from router.protocols.fields.json_types import JSONObject, JSONValue, read_by_type
from router.protocols.fields.ranges import CallId
from router.protocols.fields.support import honoured
from router.protocols.fields.tools import CalledName
from router.protocols.fields.unseen import in_words
from router.protocols.responses.files import FILE, kept_file
from router.protocols.responses.hosted import (
    InputAgentMessage,
    InputHostedItem,
    agent_text,
    hosted_fields,
    is_hosted,
)
from router.protocols.responses.images import IMAGE, kept_image
from router.protocols.responses.schemas import MAX_ID_CHARS
from router.protocols.responses.tools import ignored_name

Item = dict[str, Any]

_ENCODED: Final = "mlxr1."
_TEXT_PARTS: Final = {"input_text", "output_text", "text"}
_OTHER_PARTS: Final = {"input_audio": "input_audio"}

_ItemId = Annotated[str, Meta(max_length=MAX_ID_CHARS)]
_Status = Literal["in_progress", "completed", "incomplete"]
PartObject = Annotated[
    JSONObject,
    read_by_type(
        "Part",
        "responses.InputTextPart",
        "responses.InputImagePart",
        "responses.InputFilePart",
        "responses.InputRefusalPart",
    ),
]


class _Input(msgspec.Struct, kw_only=True):
    id: _ItemId | None = None
    status: _Status | None = None
    metadata: JSONValue = None
    internal_chat_message_metadata_passthrough: JSONValue = None


class InputMessage(_Input, kw_only=True, forbid_unknown_fields=True):
    """One turn of the conversation."""

    role: Literal["user", "assistant", "system", "developer"]
    content: Annotated[str | list[PartObject] | None, honoured("may be null in messages of assistants")]
    type: Literal["message"] = "message"
    phase: str | None = None


class InputTextPart(msgspec.Struct, forbid_unknown_fields=True):
    """`annotations`, `logprobs` and `parsed` are what came with an answer; they have no effect."""

    type: str
    text: str
    annotations: JSONValue = None
    logprobs: JSONValue = None
    parsed: JSONValue = None


class InputRefusalPart(msgspec.Struct, forbid_unknown_fields=True):
    """What the model refused."""

    type: str
    refusal: str


class InputFunctionCall(_Input, kw_only=True, forbid_unknown_fields=True):
    """`parsed_arguments` is what OpenAI's own client read of them; it has no effect."""

    type: Literal["function_call"]
    call_id: CallId
    name: CalledName
    arguments: str | JSONObject | list[JSONValue] | None = None
    namespace: str | None = None
    parsed_arguments: JSONValue = None


class InputFunctionCallOutput(_Input, kw_only=True, forbid_unknown_fields=True):
    """What a call came to."""

    type: Literal["function_call_output"]
    call_id: CallId
    output: str | list[PartObject] | None
    name: CalledName | None = None


class InputCustomCall(_Input, kw_only=True, forbid_unknown_fields=True):
    """A call of a custom tool."""

    type: Literal["custom_tool_call"]
    call_id: CallId
    name: CalledName
    input: str
    namespace: str | None = None


class InputCustomCallOutput(_Input, kw_only=True, forbid_unknown_fields=True):
    """What it came to."""

    type: Literal["custom_tool_call_output"]
    call_id: CallId
    output: str | list[PartObject] | None
    name: CalledName | None = None


class InputReasoningPart(msgspec.Struct, forbid_unknown_fields=True):
    """A thought."""

    type: str
    text: str


class InputReasoning(_Input, kw_only=True, forbid_unknown_fields=True):
    """What the model thought."""

    type: Literal["reasoning"]
    summary: list[InputReasoningPart] = []
    content: list[InputReasoningPart] | None = None
    encrypted_content: str | None = None


class InputReference(msgspec.Struct, forbid_unknown_fields=True):
    """An item of a stored response, by its id."""

    id: Annotated[_ItemId, Meta(min_length=1)]
    type: Literal["item_reference"] | None = "item_reference"


class InputCompaction(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What stands for all that was said before it, as this server made it; `context_id` and `wound` are only told."""

    type: Literal["compaction"]
    encrypted_content: str
    id: _ItemId | None = None
    created_by: str | None = None
    context_id: _ItemId | None = None
    wound: JSONValue = None


class InputCompactionTrigger(msgspec.Struct, forbid_unknown_fields=True):
    """A wish to have all of it compacted, in the place of an answer."""

    type: Literal["compaction_trigger"]


class ItemReference(msgspec.Struct, frozen=True):
    """An item that is meant by its id.

    Attributes:
        where: Path of the reference in the body.
    """

    item_id: str
    where: str


def read_items(sent: str | list[dict[str, Any]] | None, field: str = "input") -> dict[str, Item | ItemReference]:
    """Return the input items of a request by their paths, in order.

    Args:
        sent: The field's value.
    """
    if sent is None:
        return {}
    if isinstance(sent, str):
        return {field: message_item("user", sent)}
    question = question_path(sent, field)
    paths = [(f"{field}[{index}]", item) for index, item in enumerate(sent)]
    read = {path: _read(item, path, is_question=path == question) for path, item in paths}
    return {path: item for path, item in read.items() if item is not None}


def question_path(sent: str | list[dict[str, Any]] | None, field: str = "input") -> str | None:
    """Return the path of the user's last message; None where there is none."""
    if not isinstance(sent, list):
        return field
    asking = [index for index, item in enumerate(sent) if item.get("role") == "user"]
    return f"{field}[{asking[-1]}]" if asking else None


def ignored_items(sent: str | list[dict[str, Any]] | None, field: str = "input") -> tuple[str, ...]:
    """Return which input items are left out, for the client."""
    items = enumerate(sent) if isinstance(sent, list) else ()
    kinds = [(index, item.get("type")) for index, item in items]
    return tuple(
        ignored_name(f"{field}[{index}]", kind)
        for index, kind in kinds
        if isinstance(kind, str) and kind not in _READERS and not is_hosted(kind)
    )


def message_item(role: str, text: str) -> Item:
    """Return a message of one text, as it is kept."""
    part = {"type": "input_text", "text": text}
    return {"id": fresh_id("msg"), "type": "message", "status": "completed", "role": role, "content": [part]}


def fresh_id(prefix: str) -> str:
    """Return an id that no other item has."""
    return f"{prefix}_{secrets.token_hex(16)}"


def encoded_reasoning(text: str) -> str:
    """Return what `encrypted_content` is here: the thoughts, in a form that clients hand back unread.

    It is not encrypted. Nothing has left the user's machine that could be hidden from the user.
    """
    return _ENCODED + base64.urlsafe_b64encode(text.encode()).decode()


def _read(item: dict[str, Any], where: str, *, is_question: bool) -> Item | ItemReference | None:
    kind = item.get("type")
    if kind is None:
        kind = "message" if "role" in item else "item_reference"
    if not isinstance(kind, str):
        raise InvalidRequestError(f"{where}.type: a text is needed, such as message", f"{where}.type")
    if is_question and kind == "message":
        return _message(convert_part(item, InputMessage, where), where, is_question=True)
    if kind in _READERS:
        form, kept = _READERS[kind]
        return kept(convert_part(item, form, where), where)
    if is_hosted(kind):
        read = convert_part(item, InputHostedItem, where)
        return _kept(_Input(id=read.id), "fc", **hosted_fields(read, item, where))
    return None


def _message(message: InputMessage, where: str, *, is_question: bool = False) -> Item:
    is_answer = message.role == "assistant"
    kind = "output_text" if is_answer else "input_text"
    sent = message.content
    if sent is None and not is_answer:
        raise InvalidRequestError(f"{where}.content: a text is needed", f"{where}.content")
    if not isinstance(sent, list):
        sent = [{"type": kind, "text": sent or ""}]
    parts = []
    for index, part in enumerate(sent):
        path = f"{where}.content[{index}]"
        if part.get("type") == IMAGE and not is_answer:
            parts.append(kept_image(part))
            continue
        if part.get("type") == FILE and not is_answer:
            parts.append(kept_file(part, path, is_question=is_question))
            continue
        text = _text_of(part, path, is_question=is_question)
        parts.append({"type": kind, "text": text, **({"annotations": []} if is_answer else {})})
    phase = {} if message.phase is None else {"phase": message.phase}
    return _kept(message, "msg", type=message.type, role=message.role, content=parts, **phase)


def _text_of(part: dict[str, Any], where: str, *, is_question: bool = False) -> str:
    """Return the text of a part; what is none is said in words where it lies behind the question."""
    kind = str(part.get("type"))
    if kind == "refusal":
        return convert_part(part, InputRefusalPart, where).refusal
    if kind in _TEXT_PARTS:
        return convert_part(part, InputTextPart, where).text
    if (kind in _OTHER_PARTS or kind == IMAGE) and not is_question:
        name = part.get("filename")
        return in_words(kind, where, name if isinstance(name, str) else None)
    path = f"{where}.{_OTHER_PARTS[kind]}" if kind in _OTHER_PARTS else f"{where}.type"
    hint = "only texts, images and documents are understood: parts of type input_text, input_image, input_file"
    raise UnsupportedFieldError(f"{path} is not supported, got a part of type {kind!r:.60}: {hint}", path)


def _call(call: InputFunctionCall, _where: str) -> Item:
    arguments = call.arguments if isinstance(call.arguments, str) else msgspec.json.encode(call.arguments).decode()
    return _kept(call, "fc", type=call.type, call_id=call.call_id, arguments=arguments, **_called(call))


def _custom_call(call: InputCustomCall, _where: str) -> Item:
    return _kept(call, "ctc", type=call.type, call_id=call.call_id, input=call.input, **_called(call))


def _called(call: InputFunctionCall | InputCustomCall) -> dict[str, str]:
    return {"name": call.name} if call.namespace is None else {"name": call.name, "namespace": call.namespace}


def _call_output(output: InputFunctionCallOutput | InputCustomCallOutput, where: str) -> Item:
    prefix = "fco" if isinstance(output, InputFunctionCallOutput) else "ctco"
    shown = _shown_output(output.output or "", f"{where}.output")
    return _kept(output, prefix, type=output.type, call_id=output.call_id, output=shown)


def _shown_output(output: str | list[dict[str, Any]], where: str) -> str | list[dict[str, Any]]:
    """Return what a call came to: one text, or its parts where there are pictures and documents."""
    if isinstance(output, str):
        return output
    if all(part.get("type") not in {IMAGE, FILE} for part in output):
        return "\n".join(_text_of(part, f"{where}[{index}]") for index, part in enumerate(output))
    return [_kept_part(part, f"{where}[{index}]") for index, part in enumerate(output)]


def _kept_part(part: dict[str, Any], path: str) -> dict[str, Any]:
    match part.get("type"):
        case "input_image":
            return kept_image(part)
        case "input_file":
            return kept_file(part, path, is_question=False)
    return {"type": "input_text", "text": _text_of(part, path)}


def _reasoning(item: InputReasoning, where: str) -> Item:
    text = "".join(part.text for part in item.content or [])
    if not text and item.encrypted_content:
        text = _decoded_reasoning(item.encrypted_content, f"{where}.encrypted_content")
    summary = [{"type": "summary_text", "text": part.text} for part in item.summary]
    content = [{"type": "reasoning_text", "text": text}] if text else []
    return _kept(item, "rs", type=item.type, summary=summary, content=content)


def _kept(item: _Input, prefix: str, **fields: Any) -> Item:
    return {"id": item.id or fresh_id(prefix), "status": item.status or "completed", **fields}


def _decoded_reasoning(encoded: str, where: str) -> str:
    try:
        if not encoded.startswith(_ENCODED):
            return ""  # Another server's, which only that one can read.
        return base64.b64decode(encoded.removeprefix(_ENCODED), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as exc:
        raise InvalidRequestError(f"{where}: it was changed on its way; send it as it came", where) from exc


def _compaction(item: InputCompaction, where: str) -> Item:
    carried_context(item.encrypted_content, f"{where}.encrypted_content")
    kept = {"id": item.id or fresh_id("cmp"), "type": item.type, "encrypted_content": item.encrypted_content}
    return kept | ({} if item.context_id is None else {"context_id": item.context_id})


def _compaction_trigger(_: InputCompactionTrigger, where: str) -> Item:
    path = f"{where}.type"
    raise UnsupportedFieldError(
        f"{path}: compaction_trigger is not supported; send the same input to POST /v1/responses/compact", path
    )


def _agent_message(message: InputAgentMessage, where: str) -> Item:
    return message_item("user", agent_text(message, where))


def _reference(item: InputReference, where: str) -> ItemReference:
    return ItemReference(item.id, where)


_READERS: Final[dict[str, tuple[Any, Callable[[Any, str], Item | ItemReference]]]] = {
    "message": (InputMessage, _message),
    "function_call": (InputFunctionCall, _call),
    "function_call_output": (InputFunctionCallOutput, _call_output),
    "custom_tool_call": (InputCustomCall, _custom_call),
    "custom_tool_call_output": (InputCustomCallOutput, _call_output),
    "reasoning": (InputReasoning, _reasoning),
    "compaction": (InputCompaction, _compaction),
    "compaction_trigger": (InputCompactionTrigger, _compaction_trigger),
    "agent_message": (InputAgentMessage, _agent_message),
    "item_reference": (InputReference, _reference),
}
"""By `type`: the form of an item, and what makes what is kept of it."""
