"""Start, stop, drain, sockets; and the stack of guards, streams and error handlers over a real server."""

import asyncio
import contextlib
import logging
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import msgspec
import pytest

from router.errors import AddressInUseError, BindError, SocketInUseError
from router.http import sockets
from router.http.limits import HttpLimits
from router.http.sockets import bind_tcp, bind_unix
from tests.router.http.gateway import LIMITS, Gateway, request, served
from tests.support.plain_http import answer_on
from tests.support.waiting import WITHIN_S, wait_until

REPO = Path(__file__).parents[3]
HAS_IPV6 = sockets._has_address(socket.AF_INET6, "::1")


@served()
async def test_a_stream_is_sent_chunk_by_chunk(gateway: Gateway) -> None:
    peer = await gateway.get("/v1/stream/wait")
    status, headers = await peer.read_head()
    assert (status, headers["content-type"], headers["cache-control"]) == (200, "text/event-stream", "no-store")
    await peer.until(b"data: first\n\n")
    assert not gateway.events.is_closed.is_set()
    gateway.events.go_on.set()
    await peer.until(b"data: [DONE]\n\n\r\n0\r\n\r\n")


@served()
async def test_an_error_before_the_first_chunk_is_an_http_error_and_after_it_a_chunk(gateway: Gateway) -> None:
    early = await (await gateway.get("/v1/stream/early")).reply()
    assert (early.status, early.code, early.headers["retry-after"]) == (429, "queue_full", "2")
    late = await gateway.get("/v1/stream/late")
    assert (await late.read_head())[0] == 200
    body = await late.until(b"0\r\n\r\n")
    assert b'data: {"error":{"message":"the worker is gone"' in body
    assert b"[DONE]" not in body


@served()
async def test_a_defect_in_a_stream_cuts_it_off_visibly(gateway: Gateway) -> None:
    peer = await gateway.get("/v1/stream/defect")
    rest = await peer.rest()
    assert not rest.endswith(b"0\r\n\r\n")
    assert b"secret" not in rest
    assert await gateway.is_healthy()


@pytest.mark.parametrize("path", ["/v1/boom", "/api/boom"])
@served()
async def test_a_defect_is_a_500_without_its_text(gateway: Gateway, path: str) -> None:
    reply = await (await gateway.get(path)).reply()
    assert reply.status == 500
    assert b"secret" not in reply.body
    assert b"Traceback" not in reply.body
    error = msgspec.json.decode(reply.body)["error"]
    assert isinstance(error, str) == path.startswith("/api/")


@served()
async def test_a_wrong_method_names_the_right_ones(gateway: Gateway) -> None:
    reply = await (await gateway.get("/v1/echo")).reply()
    assert (reply.status, reply.code) == (405, "method_not_allowed")
    assert "post" in reply.headers["allow"]


@served()
async def test_a_local_page_may_read_the_answers(gateway: Gateway) -> None:
    peer = await gateway.get("/v1/stream/wait", "Origin: http://localhost:3000")
    _, headers = await peer.read_head()
    assert headers["access-control-allow-origin"] == "http://localhost:3000"


@served()
async def test_a_drain_lets_running_requests_end_and_takes_no_new_ones(gateway: Gateway) -> None:
    idle = await gateway.get("/health")
    await idle.reply()
    peer = await gateway.get("/v1/stream/wait")
    await peer.until(b"data: first\n\n")
    gateway.server.stop()
    assert await idle.rest() == b""
    with pytest.raises(ConnectionRefusedError):
        await gateway.connect()
    gateway.events.go_on.set()
    assert (await peer.rest()).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    await gateway.stopped()


@pytest.mark.parametrize("second_stop", [False, True], ids=["at the limit", "at the second signal"])
@served(drain_s=0.2)
async def test_a_stream_that_is_cut_by_the_drain_says_so(gateway: Gateway, second_stop: bool) -> None:  # noqa: FBT001
    peer = await gateway.get("/v1/stream/wait")
    await peer.until(b"data: first\n\n")
    gateway.server.stop()
    if second_stop:
        gateway.server.stop()
    rest = await peer.rest()
    assert b'"code":"shutting_down"' in rest
    assert b"[DONE]" not in rest
    assert rest.endswith(b"0\r\n\r\n")
    await gateway.stopped()
    assert gateway.events.is_closed.is_set()


@served(drain_s=0.1)
async def test_a_request_without_an_answer_yet_is_cut_with_a_503(gateway: Gateway) -> None:
    peer = await gateway.get("/v1/wait")
    await asyncio.wait_for(gateway.events.is_streaming.wait(), WITHIN_S)
    gateway.server.stop()
    reply = await peer.reply()
    assert (reply.status, reply.code, reply.headers["connection"]) == (503, "shutting_down", "close")
    await gateway.stopped()


@served(drain_s=0.1, limits=HttpLimits(write_stall_s=60.0))
@pytest.mark.slow
async def test_a_client_that_does_not_read_cannot_hold_up_the_end(gateway: Gateway) -> None:
    peer = await gateway.connect(receive_buffer_bytes=4096)
    peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is a read transport as well
    peer.send(request("GET", "/v1/stream/flood"))
    await asyncio.wait_for(gateway.events.is_streaming.wait(), WITHIN_S)
    gateway.server.stop()
    await gateway.stopped()
    assert gateway.events.is_closed.is_set()


@served()
async def test_every_request_is_one_log_record_that_cannot_be_forged(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "tests.access"):
        agent = "User-Agent: x\tsk-abcdef123456 \x85\xe2\x80\xa8"
        await (await gateway.get("/v1/models/a%c2%85b%e2%80%a8c", agent)).reply()
        await (await gateway.get("/health?api_key=hidden")).reply()
        await (await gateway.get("/v1/mlxr/ui/codes/code_1")).reply()
    records = [record for record in caplog.records if record.name == "tests.access"]
    assert [record.levelname for record in records] == ["INFO", "DEBUG", "DEBUG"]  # polled: it would bury the rest
    first, second, _ = (record.getMessage() for record in records)
    assert re.fullmatch(r"[\x20-\x7e]+", first)
    assert "status=404" in first
    assert "sk-abcdef" not in first
    assert "hidden" not in second
    assert "path=/health status=200" in second


def test_a_port_in_use_is_one_clear_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(AddressInUseError, match=rf"127\.0\.0\.1:{port} is in use.*--port"):
            bind_tcp("127.0.0.1", port)


def test_localhost_is_both_loopbacks_on_one_port() -> None:
    bound = bind_tcp("localhost", 0)
    ports = {sock.getsockname()[1] for sock in bound}
    assert [sock.getsockname()[0] for sock in bound] == (["127.0.0.1", "::1"] if HAS_IPV6 else ["127.0.0.1"])
    assert len(ports) == 1
    for sock in bound:
        sock.close()


@pytest.mark.skipif(not HAS_IPV6, reason="this machine has no ::1")
def test_a_port_in_use_on_the_other_loopback_is_said() -> None:
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(AddressInUseError, match=rf"\[::1\]:{port} is in use"):
            bind_tcp("localhost", port)


def test_without_the_other_loopback_localhost_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sockets, "_LOOPBACKS", [(socket.AF_INET, "127.0.0.1", ()), (socket.AF_INET6, "2001:db8::1", ())]
    )
    (sock,) = bind_tcp("localhost", 0)
    assert sock.getsockname()[0] == "127.0.0.1"
    sock.close()


@pytest.mark.parametrize(
    ("address", "named"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),  # noqa: S104 - what Ollama can do
        pytest.param("::1", "[::1]", marks=pytest.mark.skipif(not HAS_IPV6, reason="this machine has no ::1")),
    ],
)
def test_on_a_mac_a_port_is_in_use_where_somebody_answers_on_loopback(address: str, named: str) -> None:
    """There binding 127.0.0.1 works beside a program that has all addresses, and `localhost` means ::1 first."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressInUseError, match=re.escape(f"{named}:{port} is in use")):
            bind_tcp("127.0.0.1", port, is_asking_first=True)
    for sock in bind_tcp("127.0.0.1", port, is_asking_first=True):
        sock.close()


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.1", "a" * 70 + ".x"])
def test_an_address_that_is_not_ours_is_one_clear_sentence(host: str) -> None:
    with pytest.raises(BindError, match="Cannot listen on"):
        bind_tcp(host, 0)


def test_a_unix_socket_is_the_users_own_and_goes_with_the_server(tmp_path: Path) -> None:
    bound = bind_unix(tmp_path / "s.sock")
    assert stat.S_IMODE(bound.path.stat().st_mode) == 0o600
    bound.sock.close()
    bound.unlink()
    assert not bound.path.exists()
    bound.unlink()


def test_a_socket_that_nobody_answers_on_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    bind_unix(path).sock.close()
    live = bind_unix(path)
    live.sock.listen()
    with pytest.raises(SocketInUseError, match="answers"):
        bind_unix(path)
    live.sock.close()


def test_what_is_not_a_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    with pytest.raises(SocketInUseError, match="not a socket"):
        bind_unix(path)
    assert path.read_text() == "mine"
    with pytest.raises(BindError):
        bind_unix(tmp_path / "no folder" / "s.sock")
    with pytest.raises(BindError):
        bind_unix(tmp_path / ("x" * 200))


PROGRAM = """
    import logging
    from pathlib import Path
    from router.http.server import run
    from tests.router.http.gateway import LIMITS, Events, make_app
    from tests.support.http_serving import serve

    def started(addresses):
        print(addresses.tcp[0][1], flush=True)

    async def main():
        await serve(make_app(Events()), unix_socket=Path({path!r}), limits=LIMITS, on_started=started)

    run(main())
"""


@contextlib.contextmanager
def program(path: Path):  # type: ignore[no-untyped-def]  # noqa: ANN201 - a process and its port
    code = textwrap.dedent(PROGRAM).format(path=str(path))
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPO,
        env={**os.environ, "PYTHONPATH": str(REPO)},
    )
    try:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.slow
def test_a_signal_drains_and_the_exit_status_is_0(tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "s.sock"
    with program(path) as (process, port), socket.create_connection(("127.0.0.1", port), WITHIN_S) as peer:
        with socket.socket(socket.AF_UNIX) as local:
            local.connect(str(path))
            local.sendall(request("GET", "/health", host="any"))
            assert answer_on(local)[0] == 200
        peer.sendall(request("GET", "/v1/stream/wait"))
        received = b""
        while b"data: first" not in received:
            received += peer.recv(4096)
        process.send_signal(number)
        # The listening socket closes, the stream goes on; the second signal ends it.
        wait_until(lambda: not path.exists(), "it listens no more")
        assert process.poll() is None
        process.send_signal(number)
        while chunk := peer.recv(4096):
            received += chunk
        assert b"shutting_down" in received
        assert process.wait(WITHIN_S) == 0


def test_the_limits_are_immutable() -> None:
    with pytest.raises(AttributeError):
        LIMITS.max_headers = 1  # type: ignore[misc]
