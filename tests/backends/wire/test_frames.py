"""Frames: whole messages out of any cut, and one kind of error for everything else."""

import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import FrameError
from backends.wire.frames import MAX_FRAME_BYTES, FrameDecoder, FrameEncoder
from backends.wire.load import LoadSpec
from backends.wire.messages import (
    Aborted,
    Accepted,
    Cancel,
    Command,
    Delta,
    Event,
    Failed,
    Finished,
    Generate,
    Load,
    SequenceEnd,
    SequenceTimings,
    Shutdown,
    Usage,
)
from backends.wire.output import Output
from backends.wire.prompts import ChatPrompt, TextPart, TextPrompt, TokenPrompt
from backends.wire.request import SamplingParams, SequenceSpec

COMMANDS: list[list[Command]] = [
    [Load(LoadSpec(model_path="/models/ü.gguf", kv_cells=4096))],
    [
        Generate(
            1,
            ChatPrompt(
                [
                    {"role": "user", "content": "🙂"},
                    {"role": "assistant", "content": None, "reasoning_content": "r", "tool_calls": [{"id": "c"}]},
                    {"role": "tool", "content": [TextPart("a"), TextPart("b")], "name": "f", "tool_call_id": "c"},
                ],
                template_kwargs={"x": [1, None]},
            ),
            SequenceSpec(SamplingParams(seed=2**32 - 1)),
        ),
        Generate(2, TextPrompt("abc"), SequenceSpec(SamplingParams(temperature=0), max_tokens=5, stop=("a", "b"))),
        Generate(3, TokenPrompt([1, 2, 3]), SequenceSpec(SamplingParams())),
    ],
    [],
    [Cancel(2**53), Shutdown()],
]
EVENTS: list[list[Event]] = [
    [Accepted(1, 10), Delta(1, Output("a\0ü"), 1)],
    [
        Finished(1, Output(), SequenceEnd("stop", Usage(1, 2, 3), SequenceTimings(0.5, 1.5, 2.5))),
        Aborted(2, Usage(0, 0, 0)),
    ],
    [Failed(3, "engine_error", "words", None, {"n_ctx": 5})],
]


def encoded(messages: object) -> bytes:
    return FrameEncoder().encode(messages)


@pytest.mark.parametrize(("messages", "kind"), [(COMMANDS, Command), (EVENTS, Event)])
def test_messages_survive_a_cut_at_every_position(messages: list[object], kind: object) -> None:
    data = b"".join(encoded(message) for message in messages)
    for position in range(len(data) + 1):
        decoder: FrameDecoder[object] = FrameDecoder(list[kind])  # type: ignore[valid-type]
        first = list(decoder.feed(data[:position]))
        assert first == messages[: len(first)]
        assert first + list(decoder.feed(data[position:])) == messages


def test_messages_survive_byte_by_byte() -> None:
    decoder: FrameDecoder[list[Command]] = FrameDecoder(list[Command])
    data = b"".join(encoded(message) for message in COMMANDS)
    assert [message for byte in data for message in decoder.feed(bytes([byte]))] == COMMANDS


@pytest.mark.parametrize("length", [MAX_FRAME_BYTES + 1, 2**32 - 1])
def test_an_oversize_length_is_refused_before_any_body(length: int) -> None:
    decoder: FrameDecoder[list[Command]] = FrameDecoder(list[Command])
    with pytest.raises(FrameError, match=str(length)):
        list(decoder.feed(struct.pack(">I", length)))


def test_messages_before_a_bad_frame_are_delivered() -> None:
    decoder: FrameDecoder[list[Command]] = FrameDecoder(list[Command])
    frames = decoder.feed(encoded([Cancel(1)]) + struct.pack(">I", 1) + b"\xc1")
    assert next(frames) == [Cancel(1)]
    with pytest.raises(FrameError):
        next(frames)


def test_an_oversize_message_is_refused_by_the_encoder() -> None:
    with pytest.raises(FrameError, match="longer than"):
        encoded("x" * (MAX_FRAME_BYTES + 1))


@given(st.binary(max_size=200))
def test_garbage_is_a_frame_error_or_waits_for_more(garbage: bytes) -> None:
    decoder: FrameDecoder[list[Command]] = FrameDecoder(list[Command])
    body = struct.pack(">I", len(garbage)) + garbage
    try:
        for message in decoder.feed(body):
            assert isinstance(message, list)
    except FrameError as exc:
        assert len(str(exc)) < 500  # noqa: PT017 - raising is only one of two good ends


@pytest.mark.parametrize(
    "body",
    [
        ["Cancel", 1],  # not in a list
        [["Cancel", "one"]],
        [["Cancel"]],
        [["Delta", 1, "a", 1]],  # the other direction
        [["Generate", 1, {"type": "FilePrompt", "path": "/etc/passwd"}, []]],
        [["Load", {"model_path": 5}]],
        [[]],
        {"a": 1},
        None,
    ],
)
def test_what_is_not_a_command_is_refused(body: object) -> None:
    decoder: FrameDecoder[list[Command]] = FrameDecoder(list[Command])
    data = msgspec.msgpack.encode(body)
    with pytest.raises(FrameError, match="not a message of ours"):
        list(decoder.feed(struct.pack(">I", len(data)) + data))


def test_deep_nesting_is_refused() -> None:
    decoder: FrameDecoder[list[Command]] = FrameDecoder(list[Command])
    body = b"\x91\x93\xa8Generate\x01\x82\xa4type\xaaChatPrompt\xa8messages" + b"\x91\x81\xa1a" * 100_000
    with pytest.raises(FrameError):
        list(decoder.feed(struct.pack(">I", len(body)) + body))
