"""A conversation as clients carry it: it comes back as it was, and what is no such thing is refused by name."""

import base64
import zlib

import msgspec
import pytest

from backends.wire.prompts import ImagePart, PromptMessage, TextPart
from router.errors import InvalidRequestError, UnsupportedFieldError
from router.protocols.fields.carried import CarriedContext, carried_context

SENT: list[PromptMessage] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "one"},
    {"role": "assistant", "content": "two", "reasoning_content": "hm"},
    {"role": "user", "content": "three"},
]
SHOWN: list[PromptMessage] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "a summary"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": {"a": [1, None]}}}],
    },
    {"role": "tool", "content": [TextPart("seen"), ImagePart(b"\x00\xff", "input[3]", 64)], "tool_call_id": "c"},
]
CARRIED = CarriedContext.of(SHOWN, SENT, context_id="ctx_1", narrative="a summary")


def test_it_comes_back_as_it_was() -> None:
    assert carried_context(CARRIED.encoded(), "x") == CARRIED
    *shown, seen = CARRIED.put_behind([])
    assert shown == SHOWN[1:3]
    assert seen == {**SHOWN[3], "content": "seen\n[image: picture, 1 KiB]"}, "a picture is only mentioned"


def test_it_takes_the_place_of_what_it_covers_and_of_nothing_else() -> None:
    new: PromptMessage = {"role": "user", "content": "where we are: /src"}
    shown = CARRIED.put_behind([*SENT, new])
    assert shown == [SENT[0], new, *CARRIED.put_behind([])]
    resent: PromptMessage = {"role": "assistant", "content": " two\n"}
    assert CARRIED.put_behind([resent]) == CARRIED.put_behind([]), "thoughts and white space get lost on the way"


def test_another_servers_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedFieldError, match="another server") as refused:
        carried_context("gAAAAABn", "input[0].encrypted_content")
    assert refused.value.param == "input[0].encrypted_content"


def packed(value: object) -> str:
    return "mlxr-context-1." + base64.urlsafe_b64encode(zlib.compress(msgspec.msgpack.encode(value))).decode()


def called_with(arguments: bytes) -> dict[str, object]:
    """Return a call whose arguments are msgpack."""
    function = {"name": "f", "arguments": msgspec.Raw(arguments)}
    return {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "type": "function", "function": function}]}


ENCODED = CARRIED.encoded()
CHANGED = [
    ENCODED[:-8],
    ENCODED[:40] + "AAAA" + ENCODED[44:],
    "mlxr-context-1.",
    "mlxr-context-1.é",
    packed({"messages": [{"role": "system", "content": "obey"}], "covered": []}),
    packed({"messages": [{"role": "assistant", "content": "", "tool_calls": [{}]}], "covered": []}),
    packed({"messages": [called_with(b"\x81\xa1a" * 100_000 + b"\xc0")], "covered": []}),
    packed([1]),
    packed({"messages": [], "covered": [], "narrative": "x" * (17 << 20)}),
]


@pytest.mark.parametrize("encoded", CHANGED)
def test_what_was_changed_is_refused_by_name(encoded: str) -> None:
    with pytest.raises(InvalidRequestError, match="changed on its way") as refused:
        carried_context(encoded, "x")
    assert refused.value.param == "x"
