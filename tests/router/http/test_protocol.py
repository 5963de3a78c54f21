"""Attacks and slow clients on raw sockets, each followed by a health check; `gateway.py` has the clock."""

import asyncio
from functools import partial

import msgspec
import pytest

from router.http.limits import HttpLimits
from router.http.protocol import DeadlineProtocol
from tests.router.http.gateway import LIMITS, Gateway, request, served
from tests.support.waiting import WITHIN_S, until

ECHO = b'{"text":"hello"}'


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


@served()
async def test_a_request_is_answered_and_the_connection_kept(gateway: Gateway) -> None:
    peer = await gateway.connect(request("POST", "/v1/echo", body=ECHO))
    reply = await peer.reply()
    assert (reply.status, reply.body) == (200, b'{"text":"hello"}')
    assert "server" not in reply.headers
    assert reply.headers["date"]
    peer.send(request("POST", "/v1/echo", "Transfer-Encoding: chunked", body=chunked(ECHO[:5], ECHO[5:])))
    assert (await peer.reply()).status == 200


H2C = (
    "Connection: Upgrade, HTTP2-Settings",
    "Upgrade: h2c",
    "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
)


@pytest.mark.parametrize("num_bytes", [None, 1, 7])
@pytest.mark.parametrize(
    "data",
    [
        request("POST", "/v1/echo", *H2C, body=ECHO),
        request("POST", "/v1/echo", *H2C, "Transfer-Encoding: chunked", body=chunked(ECHO[:5], ECHO[5:])),
        request("POST", "/v1/echo", "Connection: upgrade", "Upgrade: other/1", body=ECHO),
    ],
    ids=["declared", "chunked", "other"],
)
@served()
async def test_an_offer_of_another_protocol_is_ignored_and_the_body_kept(
    gateway: Gateway, data: bytes, num_bytes: int | None
) -> None:
    """Java's client offers h2c with its first request."""
    head, _, body = data.partition(b"\r\n\r\n")
    pieces = [data] if num_bytes is None else [head + b"\r\n\r\n", *sliced(body, num_bytes)]
    peer = await gateway.connect(b"")
    connection = await gateway.connection_of(peer)
    for piece in pieces:
        connection.data_received(piece)
    reply = await peer.reply()
    assert (reply.status, reply.body) == (200, b'{"text":"hello"}')
    peer.send(
        request("GET", "/health", *H2C) + request("POST", "/v1/echo", *H2C, body=ECHO) + request("GET", "/health")
    )
    assert [(await peer.reply()).body for _ in range(3)] == [
        b'{"status":"ok"}',
        b'{"text":"hello"}',
        b'{"status":"ok"}',
    ]


@served()
async def test_an_offer_of_another_protocol_hides_nothing_from_the_limits(gateway: Gateway) -> None:
    for data, status in [
        (request("POST", "/v1/echo", *H2C, "Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
        (request("POST", "/v1/echo", *H2C, f"Content-Length: {LIMITS.max_body_bytes + 1}"), 413),
        (request("POST", "/v1/echo", *H2C, "Origin: http://evil.com", body=ECHO), 403),
        (request("GET", "/health", *H2C, "X: " + "y" * 9000), 431),
        (request("GET", "/" + "a" * 3000, *H2C), 414),
        (request("GET", "/health", *H2C, host="evil.com"), 403),
    ]:
        peer = await gateway.connect(data)
        assert (await peer.reply()).status == status
    assert gateway.events.num_side_effects == 0
    slow = await gateway.connect(request("POST", "/v1/echo", *H2C, "Content-Length: 9", body=b"1"))
    await gateway.connection_of(slow)
    await gateway.is_healthy()
    gateway.clock.move(LIMITS.body_timeout_s)
    assert (await slow.reply()).status == 408


def sliced(data: bytes, num_bytes: int) -> list[bytes]:
    return [data[start : start + num_bytes] for start in range(0, len(data), num_bytes)]


@pytest.mark.parametrize("path", ["/health", "//health", "/v1/echo", "/nothing", "/v1/boom", "/v1/stream/endless"])
@served()
async def test_a_head_has_the_status_and_headers_of_a_get_and_no_body(gateway: Gateway, path: str) -> None:
    peer = await gateway.connect(request("HEAD", path))
    status, headers = await peer.read_head()
    if "stream" in path:
        async with asyncio.timeout(WITHIN_S):
            await gateway.events.is_closed.wait()
    peer.send(request("GET", path))
    expected_status, expected = await peer.read_head()
    assert status == expected_status
    assert headers["content-type"] == expected["content-type"]
    assert status >= 400 or headers.get("content-length") == expected.get("content-length")
    assert await gateway.is_healthy()


@served()
async def test_a_route_for_head_alone_is_asked_itself(gateway: Gateway) -> None:
    peer = await gateway.connect(request("HEAD", "/v1/only-head"))
    assert (await peer.read_head())[0] == 200
    assert gateway.events.num_side_effects == 1
    peer.send(request("GET", "/v1/only-head"))
    assert (await peer.reply()).status == 405


@served()
async def test_one_leading_slash_too_many_is_taken_off(gateway: Gateway) -> None:
    peer = await gateway.connect(request("POST", "//v1/echo", body=ECHO))
    assert (await peer.reply()).body == b'{"text":"hello"}'
    refused = await gateway.connect(request("GET", "/v1//models"))
    assert "two slashes in a row" in msgspec.json.decode((await refused.reply()).body)["error"]["message"]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET / HTTP/1.1\nHost: localhost\n\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", 400),
        (b"GARBAGE\r\n\r\n", 400),
        (b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (request("GET", "http://localhost/health"), 400),
        (request("GET", "http://evil.com/health"), 400),
        (request("GET", "/health#x"), 400),
        (request("GET", "/a\x00b"), 400),
        (request("GET", "///health"), 400),
        (request("GET", "//v1//models"), 400),
        (request("GET", "/v1/../health"), 400),
        (request("GET", "/health%2f"), 400),
        (request("GET", "/health;x"), 400),
        (request("GET", "/health", "Host: localhost"), 400),
        (request("GET", "/health", host="evil.com"), 403),
        (request("GET", "/health", host="localhost.evil.com"), 403),
        (request("GET", "/health", "X-Forwarded-Host: localhost", host="evil.com"), 403),
        (request("GET", "/health", "User-Agent: \x1b[2J\x07"), 400),
        (request("GET", "/health", "Bad Name: x"), 400),
        (request("GET", "/health", "Folded: a\r\n b"), 400),
        (request("POST", "/v1/echo", "Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
        (request("POST", "/v1/echo", "Transfer-Encoding: chunked", "Content-Length: 5", body=b"0\r\n\r\n"), 400),
        (request("POST", "/v1/echo", "Content-Length: 5", "Content-Length: 6", body=b"hello"), 400),
        (request("POST", "/v1/echo", "Content-Length: -1"), 400),
        (request("POST", "/v1/echo", "Content-Length: 99999999999999999999999"), 400),
        (request("POST", "/v1/echo", "Transfer-Encoding: gzip", body=b"x"), 400),
        (request("POST", "/v1/echo", "Transfer-Encoding: chunked", body=b"3\r\nabcX\r\n0\r\n\r\n"), 400),
        (request("POST", "/v1/echo", "Transfer-Encoding: chunked", body=b"3\nabc\n0\n\n"), 400),
        (request("POST", "/v1/echo", "Transfer-Encoding: chunked", body=b"zz\r\n"), 400),
        (request("POST", "/v1/echo", "Content-Length: 99999999999"), 413),
        (request("POST", "/v1/echo", f"Content-Length: {LIMITS.max_body_bytes + 1}"), 413),
        (request("POST", "/v1/echo", "Transfer-Encoding: chunked", body=chunked(*[b" " * 65536] * 17)), 413),
        (request("GET", "/" + "a" * 3000), 414),
        (request("GET", "/?" + "a" * 3000), 414),
        (request("GET", "/" + "a" * 100_000), 414),
        (request("GET", "/health", "X: " + "y" * 9000), 431),
        (request("GET", "/health", "X: " + "y" * 70_000), 431),
        (request("GET", "/health", *["X: y"] * 60), 431),
        (request("GET", "/health", *["X: y"] * 1000), 431),
        (request("POST", "/v1/echo", "Content-Type: multipart/form-data; boundary=" + "-" * 5000, body=b"--"), 415),
        (request("POST", "/v1/echo", "Content-Encoding: gzip", body=b"\x1f\x8b"), 415),
        (request("GET", "/nothing"), 404),
        (request("GET", "/v1/echo"), 405),
        (request("DELETE", "/health"), 405),
        (request("PUT", "/v1/echo", body=ECHO), 405),
    ],
    ids=lambda v: repr(v[:60]) if isinstance(v, bytes) else str(v),
)
@served()
async def test_what_is_malformed_or_too_big_is_refused_in_our_envelope(
    gateway: Gateway, data: bytes, status: int
) -> None:
    peer = await gateway.connect(data)
    reply = await peer.reply()
    assert reply.status == status
    assert set(msgspec.json.decode(reply.body)["error"]) == {"message", "type", "param", "code"}
    assert gateway.events.num_side_effects == 0
    assert await gateway.is_healthy()


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"[" * 100_000, None),
        (b'{"text":NaN}', None),
        (b'{"text":"\\ud800"}', None),
        (b'{"text":"\xff"}', None),
        (b'{"text":"a","text":"b"}', "text"),
        (b'{"text":"a","extra":' + b"9" * 100_000 + b"}", None),
        (b"null", None),
        (b"[]", None),
        (b'{"text":1}', "text"),
        (b"text=hello", None),
    ],
    ids=lambda v: repr(v[:30]) if isinstance(v, bytes) else str(v),
)
@served()
async def test_a_malformed_body_is_a_400_that_names_the_field(gateway: Gateway, body: bytes, param: str | None) -> None:
    peer = await gateway.connect(request("POST", "/v1/echo", body=body))
    reply = await peer.reply()
    assert reply.status == 400
    assert msgspec.json.decode(reply.body)["error"]["param"] == param
    assert await gateway.is_healthy()


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/json"])
@pytest.mark.parametrize("header", ["Origin: http://evil.com", "Origin: null", "Sec-Fetch-Site: cross-site"])
@served()
async def test_a_foreign_page_is_refused_without_a_side_effect(
    gateway: Gateway, header: str, content_type: str
) -> None:
    peer = await gateway.connect(request("POST", "/v1/echo", header, f"Content-Type: {content_type}", body=ECHO))
    reply = await peer.reply()
    assert (reply.status, reply.code) == (403, "origin_not_allowed")
    assert gateway.events.num_side_effects == 0


@served()
async def test_a_refused_body_leaves_nothing_behind_for_the_next_request(gateway: Gateway) -> None:
    """The body of a refused request is not taken for a request: no smuggling."""
    smuggled = request("POST", "/v1/echo", body=ECHO)
    peer = await gateway.connect(request("POST", "/v1/echo", "Origin: http://evil.com", body=smuggled))
    assert (await peer.reply()).status == 403
    peer.send(request("GET", "/health"))
    assert (await peer.reply()).body == b'{"status":"ok"}'
    assert gateway.events.num_side_effects == 0


@served()
async def test_trailers_cannot_change_the_headers(gateway: Gateway) -> None:
    body = b"10\r\n" + ECHO + b"\r\n0\r\nHost: evil.com\r\nOrigin: http://evil.com\r\n\r\n"
    peer = await gateway.connect(request("POST", "/v1/echo", "Transfer-Encoding: chunked", body=body))
    assert (await peer.reply()).status == 200


@served()
async def test_endless_trailers_are_cut(gateway: Gateway) -> None:
    peer = await gateway.connect(
        request("POST", "/v1/echo", "Transfer-Encoding: chunked", body=b"10\r\n" + ECHO + b"\r\n0\r\nX: ")
    )
    peer.send(b"y" * 2_000_000)
    # Cut at once, and not by the deadline. The answer may be lost, because not all was read that was sent.
    assert b" 408 " not in await peer.rest()
    assert await gateway.is_healthy()


@served()
async def test_a_large_body_within_the_limit_is_served(gateway: Gateway) -> None:
    body = b'{"text":"' + b"x" * 900_000 + b'"}'
    peer = await gateway.connect(request("POST", "/v1/echo", body=body))
    assert len((await peer.reply()).body) == len(body)


@served()
async def test_a_client_that_waits_for_100_continue_gets_it_and_not_when_it_is_refused(gateway: Gateway) -> None:
    head = request("POST", "/v1/echo", "Expect: 100-continue", f"Content-Length: {len(ECHO)}")
    peer = await gateway.connect(head)
    await peer.until(b"HTTP/1.1 100 Continue\r\n\r\n")
    peer.send(ECHO)
    assert (await peer.reply()).status == 200
    refused = await gateway.connect(request("POST", "/v1/echo", "Expect: 100-continue", "Content-Length: 99999999"))
    assert (await refused.reply()).status == 413


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
