"""Slow, silent and too many clients on raw sockets; `gateway.py` has the clock."""

import asyncio
from functools import partial

import pytest

from router.http.limits import HttpLimits
from router.http.protocol import DeadlineProtocol
from tests.router.http.gateway import LIMITS, Gateway, request, served
from tests.support.waiting import WITHIN_S, until

ECHO = b'{"text":"hello"}'


@pytest.mark.parametrize(
    "data",
    [b"", b"GET /health HT", b"GET /health HTTP/1.1\r\nHost: localhost\r\nX:", b"\r\n\r\n"],
    ids=["silence", "half a request line", "half a header", "empty lines"],
)
@served()
async def test_headers_that_do_not_arrive_in_time_are_a_408(gateway: Gateway, data: bytes) -> None:
    peer = await gateway.connect(data)
    await gateway.connection_of(peer)
    gateway.clock.move(LIMITS.header_timeout_s)
    reply = await peer.reply()
    assert (reply.status, reply.code, reply.headers["connection"]) == (408, "request_timeout", "close")
    assert await peer.rest() == b""
    assert await gateway.is_healthy()


@served(limits=HttpLimits(header_timeout_s=0.05), has_clock=False)
async def test_the_clock_of_the_program_is_the_machines(gateway: Gateway) -> None:
    assert (await (await gateway.connect()).reply()).status == 408


def has_come(connection: DeadlineProtocol, num_bytes: int) -> bool:
    return connection._num_unframed_bytes == num_bytes


@served()
async def test_a_byte_now_and_then_does_not_move_the_deadline_of_the_headers(gateway: Gateway) -> None:
    peer = await gateway.connect()
    connection = await gateway.connection_of(peer)
    for number, byte in enumerate(b"GET /health HTTP/1.1\r\nX", start=1):
        assert not connection.transport.is_closing()
        peer.send(bytes([byte]))
        await until(partial(has_come, connection, number), "the byte has come")
        gateway.clock.move(LIMITS.header_timeout_s / len(b"GET /health HTTP/1.1\r\n"))
    assert (await peer.reply()).status == 408


@served()
async def test_a_body_that_does_not_arrive_in_time_is_a_408(gateway: Gateway) -> None:
    peer = await gateway.connect(request("POST", "/v1/echo", "Content-Length: 100", body=b"x"))
    connection = await gateway.connection_of(peer)
    await until(lambda: connection._is_in_body, "its headers have come")
    gateway.clock.move(LIMITS.body_timeout_s)
    reply = await peer.reply()
    assert (reply.status, reply.code) == (408, "request_timeout")
    assert await peer.rest() == b""
    assert await gateway.is_healthy()


@served()
async def test_an_idle_connection_is_closed_and_empty_lines_do_not_keep_it(gateway: Gateway) -> None:
    idle, lines = await gateway.get("/health"), await gateway.get("/health")
    await idle.reply()
    await lines.reply()
    lines.send(b"\r\n")
    connection = await gateway.connection_of(lines)
    await until(lambda: connection.timeout_keep_alive_task is None, "the empty line has come")
    gateway.clock.move(LIMITS.idle_timeout_s)
    assert await idle.rest() == b""
    assert b"408" in await lines.rest()


@served()
async def test_the_deadlines_do_not_touch_a_request_that_is_being_worked_on(gateway: Gateway) -> None:
    peer = await gateway.get("/v1/stream/wait")
    await peer.until(b"data: first\n\n")
    gateway.clock.move(3600)
    gateway.events.go_on.set()
    await peer.until(b"data: [DONE]\n\n")
    await peer.until(b"0\r\n\r\n")


@served()
async def test_a_pipelined_request_waits_its_turn_without_a_deadline(gateway: Gateway) -> None:
    peer = await gateway.get("/v1/stream/wait")
    await peer.until(b"data: first\n\n")
    peer.send(request("POST", "/v1/echo", f"Content-Length: {len(ECHO)}"))
    connection = await gateway.connection_of(peer)
    await until(lambda: connection.flow.read_paused, "it is read no further")
    gateway.clock.move(3600)
    gateway.events.go_on.set()
    await peer.until(b"0\r\n\r\n")
    peer.send(ECHO)
    assert (await peer.reply()).status == 200


@served()
async def test_garbage_during_a_stream_ends_it_without_a_second_answer_in_it(gateway: Gateway) -> None:
    peer = await gateway.get("/v1/stream/wait")
    await peer.until(b"data: first\n\n")
    peer.send(b"\x00\x01garbage\r\n\r\n")
    assert b"HTTP/1.1" not in await peer.rest()
    await asyncio.wait_for(gateway.events.is_closed.wait(), WITHIN_S)


@pytest.mark.parametrize("path", ["/v1/stream/wait", "/v1/stream/flood", "/v1/wait"])
@served()
async def test_a_client_that_goes_away_ends_the_work(gateway: Gateway, path: str) -> None:
    peer = await gateway.get(path)
    await asyncio.wait_for(gateway.events.is_streaming.wait(), WITHIN_S)
    await peer.close()
    await asyncio.wait_for(gateway.events.is_closed.wait(), WITHIN_S)
    assert await gateway.is_healthy()


@served()
async def test_a_client_that_does_not_read_pauses_the_stream_and_is_cut(gateway: Gateway) -> None:
    sock_peer = await gateway.connect(receive_buffer_bytes=4096)
    sock_peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is a read transport as well
    sock_peer.send(request("GET", "/v1/stream/flood"))
    connection = await gateway.connection_of(sock_peer)
    await until(lambda: connection._stall is not None, "the stream stands still")
    gateway.clock.move(LIMITS.write_stall_s)
    await asyncio.wait_for(gateway.events.is_closed.wait(), WITHIN_S)
    # What the kernel buffers on both sides, and not the endless stream.
    assert gateway.events.num_chunks < 200
    assert await gateway.is_healthy()


@served()
async def test_a_slow_but_steady_reader_is_not_cut(gateway: Gateway) -> None:
    peer = await gateway.connect(request("GET", "/v1/stream/flood"), receive_buffer_bytes=4096)
    connection = await gateway.connection_of(peer)

    def what_waits() -> tuple[object, int]:
        return connection._stall, connection.transport.get_write_buffer_size()

    for _ in range(8):
        before = what_waits()
        while what_waits() == before:
            assert await peer.reader.read(20_000)
        gateway.clock.move(LIMITS.write_stall_s / 2)
    assert not gateway.events.is_closed.is_set()


@served(limits=HttpLimits(max_connections=3))
async def test_a_connection_over_the_cap_is_answered_503_and_closed(gateway: Gateway) -> None:
    holders = [await gateway.get("/health") for _ in range(3)]
    for holder in holders:
        await holder.reply()
    over = await gateway.get("/health")
    reply = await over.reply()
    assert (reply.status, reply.code, reply.headers["connection"]) == (503, "too_many_connections", "close")
    assert await over.rest() == b""
    await holders[0].close()
    await until(lambda: gateway.num_connections == 2, "the server has seen it")
    assert await gateway.is_healthy()


@served()
async def test_many_silent_connections_are_reaped_while_others_are_served(gateway: Gateway) -> None:
    silent = [await gateway.connect() for _ in range(150)]
    assert await gateway.is_healthy()
    gateway.clock.move(LIMITS.header_timeout_s)
    for peer in silent:
        assert b"408" in await peer.rest()
    assert await gateway.is_healthy()
