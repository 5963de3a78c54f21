import asyncio
import contextlib
import socket

import pytest

from backends.wire.messages import (
    Command,
    Delta,
    Finished,
    Generate,
    Pause,
    Resume,
    SequenceEnd,
    SequenceTimings,
    Usage,
)
from backends.wire.output import Output
from backends.wire.prompts import ForkPrompt, Prompt, TextPrompt, TokenPrompt
from backends.wire.request import SamplingParams, SequenceSpec
from router.errors import EngineCrashedError
from router.workers import client as worker_client
from router.workers import streams
from router.workers.client import start_worker
from router.workers.launch import WorkerLaunch
from router.workers.streams import RequestStream
from tests.support.fake_fleet import ENVIRONMENT

END = Finished(1, Output(), SequenceEnd("stop", Usage(1, 0, 1), SequenceTimings(0.0, 0.0, 0.0)))


def stream_with_log() -> tuple[RequestStream, list[Command]]:
    sent: list[Command] = []
    return RequestStream((1, 2), sent.append), sent


async def test_a_read_waits_for_an_event_and_returns_all_that_are_there() -> None:
    stream, _ = stream_with_log()
    reader = asyncio.create_task(stream.read())
    await asyncio.sleep(0)
    assert not reader.done()
    stream.push(Delta(1, Output("a"), 1))
    stream.push(END)
    assert await reader == [Delta(1, Output("a"), 1), END]


async def test_an_error_comes_after_the_events_that_came_before_it() -> None:
    stream, _ = stream_with_log()
    stream.push(Delta(1, Output("a"), 1))
    stream.fail(EngineCrashedError("gone"))
    assert await stream.read() == [Delta(1, Output("a"), 1)]
    for _ in range(2):
        with pytest.raises(EngineCrashedError, match="gone"):
            await stream.read()


async def test_all_sequences_are_paused_once_behind_a_slow_reader_and_resumed_by_the_next_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams, "MAX_BUFFERED_CHARS", 10)
    stream, sent = stream_with_log()
    for _ in range(5):
        stream.push(Delta(1, Output("abcd"), 1))
    assert sent == [Pause(1), Pause(2)]
    assert stream.is_paused
    assert len(await stream.read()) == 5
    assert sent[2:] == [Resume(1), Resume(2)]
    assert not stream.is_paused


async def test_a_cancelled_read_loses_no_event() -> None:
    stream, _ = stream_with_log()
    reader = asyncio.create_task(stream.read())
    await asyncio.sleep(0)
    reader.cancel()
    stream.push(END)
    assert await stream.read() == [END]


def test_the_command_line_keeps_the_current_folder_off_the_import_path() -> None:
    argv = WorkerLaunch("mlx", {}).argv(7)
    assert argv[1:] == ["-P", "-m", "backends.process.worker", "--engine", "mlx", "--fd", "7"]
    assert WorkerLaunch("fake", {}, '{"load_s":1}').argv(7)[-2:] == ["--options", '{"load_s":1}']


async def test_an_engine_that_cannot_be_imported_says_so_instead_of_hello() -> None:
    changed = asyncio.Event()
    client = await start_worker(WorkerLaunch("no-such-engine", ENVIRONMENT), changed.set)
    assert await client.wait() == 1
    assert changed.is_set()
    assert client.hello is None
    assert "no-such-engine" in str(client.load_error)
    with pytest.raises(EngineCrashedError):
        client.generate([])


def test_a_fork_travels_in_the_frame_of_its_source_and_names_it_by_its_id() -> None:
    sampling = SamplingParams()
    prompts: list[Prompt] = [
        TextPrompt("a"),
        ForkPrompt(0),
        ForkPrompt(0),
        TextPrompt("b"),
        ForkPrompt(3),
        TokenPrompt([1]),
    ]
    ids = tuple(range(11, 17))
    numbered = [
        worker_client._with_ids(Generate(0, prompt, SequenceSpec(sampling)), sequence_id, ids)
        for sequence_id, prompt in zip(ids, prompts, strict=True)
    ]
    groups = worker_client._frame_groups(numbered)
    assert [[(each.sequence_id, each.prompt) for each in group if isinstance(each, Generate)] for group in groups] == [
        [(11, TextPrompt("a")), (12, ForkPrompt(11)), (13, ForkPrompt(11))],
        [(14, TextPrompt("b")), (15, ForkPrompt(14))],
        [(16, TokenPrompt([1]))],
    ]


async def test_both_ends_of_the_channel_have_room_for_long_prompts_and_vectors() -> None:
    """Of 8 kB, which a Mac gives by itself, a worker would wait for the gateway in every step."""
    with contextlib.ExitStack() as closing:
        for end in map(closing.enter_context, worker_client._socket_pair()):
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                assert end.getsockopt(socket.SOL_SOCKET, option) >= 200 << 10, "what Linux allows at least"
