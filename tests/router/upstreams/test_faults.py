"""Five hundred seeded faults of an upstream: one end for each answer, no key told, and nothing left over."""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from backends.wire.messages import Aborted, Failed, Finished, Generate
from backends.wire.prompts import ChatPrompt
from backends.wire.request import SamplingParams, SequenceSpec
from router.config.upstreams import UpstreamConfig
from router.errors import RouterError
from router.models.defaults import RequestDefaults
from router.upstreams.chunks import Answer
from router.upstreams.dialects import OPENAI
from router.upstreams.fields import Honoured
from router.upstreams.keys import UpstreamKey
from router.upstreams.link import Peer, UpstreamLink
from router.upstreams.listing import honoured_by
from router.upstreams.transport import Transport, base_url
from router.workers.streams import RequestStream
from tests.support.scripted_upstream import (
    END,
    HEAD,
    Script,
    ScriptedUpstream,
    chunk,
    event,
    piece,
    plain,
    sending,
    usage,
)
from tests.support.waiting import until

KEY = "sk-very-secret-9f8e7d6c5b4a"
NUM_FAULTS = 500
ASKED = Generate(0, ChatPrompt([{"role": "user", "content": "hi"}]), SequenceSpec(SamplingParams(temperature=0)))


class Told:
    """What came of the requests, as an upstream is told of it."""

    def __init__(self) -> None:
        self.ends: list[str] = []

    def on_answered(self, _answer: Answer) -> None:
        self.ends.append("answered")

    def on_error(self, error: RouterError, _answer: Answer) -> None:
        self.ends.append(error.code)

    def on_left(self, _answer: Answer) -> None:
        self.ends.append("left")


def good_stream(rng: random.Random) -> bytes:
    """Return an answer as it should be, of some pieces."""
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
    parts = [
        *(event(chunk(content=rng.choice(["a", "ß日本", "x" * 500]))) for _ in range(rng.randrange(4))),
        *([event(chunk(tool_calls=[call]))] if rng.random() < 0.2 else []),
        *([piece(b": comment\n\n")] if rng.random() < 0.3 else []),
        event(chunk("stop")),
        event(usage()),
        event(b"[DONE]"),
    ]
    return HEAD + b"".join(parts) + END


ERROR = {"error": {"message": f"wrong with {KEY}", "type": "x"}}
STATUSES = (400, 401, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504, 529)
LIAR = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99999\r\n\r\n{}"
NO_ANSWERS: tuple[Any, ...] = (ERROR, {"choices": []}, [], "x", b"<html>", b"")
NO_DELTAS: tuple[Any, ...] = (None, 3, [], {"content": 5}, {"tool_calls": 7})
NO_CHUNKS: tuple[Any, ...] = (
    *({"choices": [{"delta": delta}]} for delta in NO_DELTAS),
    {"x": 1},
    3,
)
HOSTS = ("http://e.example/", "//", "")
ENDS = (b"", event(chunk("content_filter")), event(b"[DONE]"))
STOPPED = event(chunk("stop")) + event(b"[DONE]") + END


def _other_byte(rng: random.Random, stream: bytes, at: int) -> Script:
    return sending(stream[:at] + bytes([rng.randrange(256)]) + stream[at + 1 :], closes=True)


FAULTS: tuple[Callable[[random.Random, bytes, int], Script], ...] = (
    lambda _rng, stream, _at: sending(stream),
    lambda _rng, stream, at: sending(stream[:at], closes=True),
    _other_byte,
    lambda _rng, stream, at: _stalling(stream[:at]),
    lambda rng, _stream, _at: sending(plain(rng.choice(STATUSES), ERROR)),
    lambda _rng, _stream, _at: sending(HEAD + event(chunk(content="a")) + event(ERROR) + END),
    lambda _rng, stream, at: sending(stream[:at] + plain(500, ERROR), closes=True),
    lambda _rng, _stream, _at: sending(LIAR, closes=True),
    lambda rng, _stream, _at: sending(plain(200, rng.choice(NO_ANSWERS))),
    lambda rng, _stream, _at: sending(plain(rng.choice([301, 302, 307, 308]), b"", location=rng.choice(HOSTS))),
    lambda rng, _stream, _at: sending(rng.randbytes(rng.randrange(1, 2000)), closes=True),
    lambda rng, _stream, _at: sending(HEAD + event(rng.choice(NO_CHUNKS)) + STOPPED),
    lambda rng, _stream, _at: sending(HEAD + event(chunk(content="a")) + rng.choice(ENDS) + END),
)
"""What an upstream may do to an answer: break off, stall, change a byte, lie, refuse, send garbage, end early."""


def fault(rng: random.Random) -> Script:
    """Return what an upstream does to the next answer."""
    stream = good_stream(rng)
    return rng.choice(FAULTS)(rng, stream, rng.randrange(len(stream)))


def _stalling(first: bytes) -> Script:
    async def answer(writer: asyncio.StreamWriter, _asked: Any) -> None:
        writer.write(first)
        await writer.drain()
        await asyncio.Event().wait()

    return answer


def _are_over(links: Sequence[UpstreamLink]) -> bool:
    return not any(link.progress for link in links)


async def ends_of(stream: RequestStream) -> list[str]:
    """Read a stream until its end; return all ends that it has: kinds of events, or an error's words."""
    found: list[str] = []
    while not found:
        try:
            events = await stream.read()
        except RouterError as exc:
            found.append(str(exc))
        else:
            found += _ends(events)
    await asyncio.sleep(0)
    return found + (_ends(await stream.read()) if stream.has_unread else [])


def _ends(events: Sequence[object]) -> list[str]:
    return [type(each).__name__ for each in events if isinstance(each, Finished | Failed | Aborted)]


def _peer(config: UpstreamConfig, transport: Transport, told: Told, tasks: asyncio.TaskGroup) -> Peer:
    return Peer(
        config=config,
        dialect=OPENAI,
        transport=transport,
        model_id="m",
        honoured=Honoured(upstream="box", fields=honoured_by(config)),
        defaults=RequestDefaults(),
        headers={},
        results=told,
        spawn=tasks.create_task,
    )


@pytest.mark.parametrize("part", range(5))
async def test_every_fault_has_one_end_and_tells_no_key(part: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    rng = random.Random(4711 + part)
    config = UpstreamConfig(name="box", url="http://h", first_token_timeout_s=0.2, inter_token_timeout_s=0.2)
    told = Told()
    async with ScriptedUpstream() as server, asyncio.TaskGroup() as tasks:
        transport = Transport(config, base_url(server.url), UpstreamKey(KEY))
        peer = _peer(config, transport, told, tasks)
        for _ in range(NUM_FAULTS // 5 // 10):
            server.scripts.extend(fault(rng) for _ in range(10))
            links = [UpstreamLink(peer) for _ in range(10)]
            ends = await asyncio.gather(*(ends_of(link.generate([ASKED])) for link in links))
            assert [len(each) for each in ends] == [1] * 10, ends
            words = {end for each in ends for end in each} - {"Finished"}
            assert all(each.startswith("the upstream 'box': ") and KEY not in each for each in words), words
            await until(partial(_are_over, links), "nothing is left of the requests")
        assert len(told.ends) == NUM_FAULTS // 5
        assert "answered" in told.ends
        await transport.close()
    assert KEY not in caplog.text
    assert "Traceback" not in caplog.text


async def test_a_request_that_is_given_up_at_any_time_leaves_nothing() -> None:
    rng = random.Random(99)
    config = UpstreamConfig(name="box", url="http://h", parallel=8)
    told = Told()
    async with ScriptedUpstream() as server, asyncio.TaskGroup() as tasks:
        transport = Transport(config, base_url(server.url), UpstreamKey(KEY))
        peer = _peer(config, transport, told, tasks)
        for _ in range(50):
            link = UpstreamLink(peer)
            stream = link.generate([ASKED, ASKED])
            for _ in range(rng.randrange(12)):
                await asyncio.sleep(0)
            link.cancel(stream)
            await until(partial(_are_over, [link]), "nothing is left of the request")
        await transport.close()
    assert len(told.ends) == 100, "each is settled once, also those that had not begun"
