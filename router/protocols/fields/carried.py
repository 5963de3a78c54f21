"""A conversation in the shorter form that a model was shown, as clients carry it from request to request. Pure.

Protocols call it opaque: clients hand it back unread. It is not encrypted, because nothing has left the user's machine
that could be hidden from the user; what is read of it is checked like anything else that a client sends. Pictures are
only mentioned in it: whether the model of a later request can see, and how large it may be, nobody knows yet.
"""

import base64
import binascii
import hashlib
import zlib
from collections.abc import Iterable
from typing import Any, Final, Literal, Self, cast

import msgspec

from backends.wire.prompts import ChatPrompt, PromptMessage, TextPart, images_in, shown_content
from router.context.transcript import mentioned
from router.context.turns import is_pinned
from router.errors import InvalidRequestError, UnsupportedFieldError
from router.requests.generation import Generation

_PREFIX: Final = "mlxr-context-1."
_MAX_BYTES: Final = 16 << 20
"""Of one that is unpacked; no context holds so much text."""
_DIGEST_BYTES: Final = 12
_encode = msgspec.json.Encoder(order="sorted").encode


class _CalledFunction(msgspec.Struct, frozen=True):
    name: str
    arguments: dict[str, Any]


class _Call(msgspec.Struct, frozen=True):
    id: str
    type: Literal["function"]
    function: _CalledFunction


class _Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message as it is carried: of a `PromptMessage` exactly what templates are given."""

    role: Literal["user", "assistant", "tool"]
    content: str | list[TextPart] | None
    name: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None

    def message(self) -> PromptMessage:
        """Return the message."""
        fields = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}
        calls = {} if self.tool_calls is None else {"tool_calls": msgspec.to_builtins(self.tool_calls)}
        return cast("PromptMessage", {**fields, **calls, "content": self.content})


class CarriedContext(msgspec.Struct, frozen=True, kw_only=True):
    """What stands for the beginning of a conversation.

    Attributes:
        context_id: By which the server knows it; None = it does not.
        narrative: What was told; None = nobody told anything.
        messages: What the model is shown instead, without those of the system.
        covered: Digests of the messages for which these stand.
    """

    context_id: str | None = None
    narrative: str | None = None
    messages: list[_Message]
    covered: list[bytes]

    @classmethod
    def of(
        cls,
        shown: Iterable[PromptMessage],
        sent: Iterable[PromptMessage],
        *,
        context_id: str | None = None,
        narrative: str | None = None,
    ) -> Self:
        """Return what stands for the messages that were sent, where the model was shown others."""
        own = [each for each in shown if not is_pinned(each)]
        return cls(
            context_id=context_id,
            narrative=narrative,
            messages=[_without_pictures(each) for each in own],
            covered=sorted({_digest(each) for each in sent if not is_pinned(each)}),
        )

    def encoded(self) -> str:
        """Return what clients carry."""
        packed = zlib.compress(msgspec.msgpack.encode(self), level=6)
        return _PREFIX + base64.urlsafe_b64encode(packed).decode()

    @property
    def standing(self) -> list[PromptMessage]:
        """What stands for the messages that were sent; [] where it only tells that a conversation was wound."""
        return [each.message() for each in self.messages]

    def put_behind(self, before: list[PromptMessage]) -> list[PromptMessage]:
        """Return a conversation up to here: what was sent before stands in it only as far as it is not covered.

        Messages of the system always stay; clients also put new ones of their own before what they carry.
        """
        if not self.messages:
            return before
        covered = set(self.covered)
        new = [each for each in before if is_pinned(each) or _digest(each) not in covered]
        return [*new, *self.standing]


def carried_of(generation: Generation) -> CarriedContext | None:
    """Return what stands for the conversation of a request that was wound; None = its model is shown what was sent."""
    kept = generation.kept
    if kept is None or kept.wound is None:
        return None
    (shown,), (sent,) = kept.request.prompts, generation.request.prompts
    assert isinstance(shown, ChatPrompt)
    assert isinstance(sent, ChatPrompt)
    return CarriedContext.of(shown.messages, sent.messages, context_id=kept.context_id, narrative=kept.narrative)


def carried_as_sent(generation: Generation) -> CarriedContext:
    """Return what stands for the conversation of a request that was short enough already: itself."""
    (sent,) = generation.request.prompts
    assert isinstance(sent, ChatPrompt)
    return CarriedContext.of(sent.messages, sent.messages)


def is_carried(encoded: str) -> bool:
    """Tell whether this server has made what a client carries."""
    return encoded.startswith(_PREFIX)


def carried_context(encoded: str, where: str) -> CarriedContext:
    """Return what a client carries.

    Args:
        where: Path of the text in the body.

    Raises:
        UnsupportedFieldError: Another server has made it, which alone can read it.
        InvalidRequestError: It was changed on its way.
    """
    if not is_carried(encoded):
        raise UnsupportedFieldError(
            f"{where}: another server has made it, which alone can read it; send the conversation itself, or compact "
            "it here",
            where,
        )
    try:
        return msgspec.msgpack.decode(_unpacked(encoded.removeprefix(_PREFIX)), type=CarriedContext)
    except (binascii.Error, ValueError, zlib.error, msgspec.DecodeError, RecursionError) as exc:
        raise InvalidRequestError(f"{where}: it was changed on its way; send it as it came", where) from exc


def _without_pictures(message: PromptMessage) -> _Message:
    content = message["content"]
    if images_in([message]):
        content = mentioned(content)
    return msgspec.convert({**message, "content": content}, _Message)


def _unpacked(text: str) -> bytes:
    unpacker = zlib.decompressobj()
    plain = unpacker.decompress(base64.b64decode(text, altchars=b"-_", validate=True), _MAX_BYTES)
    if not unpacker.eof:
        raise zlib.error("it is cut, or too long")
    return plain


def _digest(message: PromptMessage) -> bytes:
    """Return what is the same of a message however a client sends it back: its role, its words, its calls."""
    calls = [call.get("function") for call in message.get("tool_calls") or []]
    words = (shown_content(message) or "").strip()
    return hashlib.blake2b(_encode([message["role"], words, calls]), digest_size=_DIGEST_BYTES).digest()
