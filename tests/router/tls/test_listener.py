"""Encrypted connections on the real server and the program's own event loop, with real certificates."""

import asyncio
import logging
import socket
import ssl
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import psutil
import pytest

from router.http.hosts import HostRules
from router.http.server import run
from router.tls.listener import TlsListener
from router.tls.pair import Pair, load_pair
from tests.router.http.gateway import LIMITS, Gateway, Peer, request
from tests.support.certificates import RSA, Authority
from tests.support.waiting import WITHIN_S, until


class Serving:
    """What servers of a test are made with; `pair` may be replaced while they run."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.pair = load_pair(authority.make())

    def gateway(self, **options: Any) -> Gateway:
        return Gateway(tls=lambda: self.pair.context, trusting=self.authority.trusting(), **options)


@pytest.fixture
def serving(authority: Authority) -> Serving:
    return Serving(authority)


def listener_of(gateway: Gateway) -> TlsListener:
    listener = gateway.server._listeners[0]
    assert isinstance(listener, TlsListener)
    return listener


async def plain_connection(gateway: Gateway) -> Peer:
    peer = Peer(*await asyncio.open_connection(*gateway.addresses.tcp[0]))
    gateway._peers.append(peer)
    return peer


def certificate_of(peer: Peer) -> bytes:
    der = peer.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    assert isinstance(der, bytes)
    return der


def shake_hands(address: tuple[str, int], context: ssl.SSLContext) -> str | None:
    """Do it as most clients do, which say why they go; uvloop's does not."""
    with (
        socket.create_connection(address, WITHIN_S) as sock,
        context.wrap_socket(sock, server_hostname="localhost") as wrapped,
    ):
        return wrapped.version()


def test_a_request_and_a_stream_are_served(serving: Serving) -> None:
    async def main() -> None:
        async with serving.gateway() as gateway:
            assert await gateway.is_healthy()
            peer = await gateway.get("/v1/stream/wait")
            await peer.until(b"data: first\n\n")
            gateway.events.go_on.set()
            await peer.until(b"data: [DONE]\n\n\r\n0\r\n\r\n")
            peer.send(request("POST", "/v1/echo", body=msgspec.json.encode({"text": "x" * 500_000})))
            assert len((await peer.reply()).body) > 500_000

    run(main())


def test_what_is_older_than_tls_1_2_is_refused(serving: Serving) -> None:
    async def main() -> None:
        async with serving.gateway() as gateway:
            old, newer = serving.authority.trusting(), serving.authority.trusting()
            with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
                old.minimum_version = ssl.TLSVersion.TLSv1
                old.maximum_version = ssl.TLSVersion.TLSv1_1
            newer.maximum_version = ssl.TLSVersion.TLSv1_2
            address = gateway.addresses.tcp[0]
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await asyncio.to_thread(shake_hands, address, old)
            assert await asyncio.to_thread(shake_hands, address, newer) == "TLSv1.2"

    run(main())


def test_a_client_without_tls_is_closed_with_one_line_in_the_log(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with serving.gateway() as gateway:
            peer = await plain_connection(gateway)
            peer.send(request("GET", "/health"))
            assert await peer.rest() == b""
            await until(lambda: listener_of(gateway).num_handshakes == 0, "it is forgotten")
            assert await gateway.is_healthy()

    with caplog.at_level(logging.INFO):
        run(main())
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("router.")]
    assert lines == ["no TLS with 127.0.0.1: it speaks plain HTTP; the address begins with https://"]


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"\x00" * 4096])
def test_what_is_no_handshake_leaves_nothing_behind(serving: Serving, sent: bytes) -> None:
    async def main() -> None:
        async with serving.gateway() as gateway:
            peer = await plain_connection(gateway)
            peer.send(sent)
            if not sent:
                await until(lambda: listener_of(gateway).num_handshakes, "it is accepted")
            await peer.close()
            await until(lambda: listener_of(gateway).num_handshakes == 0, "it is forgotten")
            assert gateway.num_connections == 0
            assert await gateway.is_healthy()

    run(main())


def test_a_client_that_does_not_trust_the_certificate_is_told_in_the_log(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with serving.gateway() as gateway:
            with pytest.raises(ssl.SSLCertVerificationError):
                await asyncio.to_thread(shake_hands, gateway.addresses.tcp[0], ssl.create_default_context())
            await until(lambda: "does not trust" in caplog.text, "it is logged")

    with caplog.at_level(logging.INFO):
        run(main())


def test_handshakes_that_never_end_do_not_keep_others_out(serving: Serving) -> None:
    async def main() -> None:
        async with serving.gateway(limits=msgspec.structs.replace(LIMITS, max_connections=400)) as gateway:
            for number in range(200):
                peer = await plain_connection(gateway)
                peer.send(b"\x16\x03\x01\x02\x00"[: number % 6])
            await until(lambda: listener_of(gateway).num_handshakes == 200, "they all shake hands")
            for _ in range(20):
                assert await gateway.is_healthy()
            assert listener_of(gateway).num_handshakes == 200
            num_files = psutil.Process().num_fds()
            while gateway._peers:
                await gateway._peers.pop().close()
            await until(lambda: listener_of(gateway).num_handshakes == 0, "they are forgotten")
            await until(lambda: psutil.Process().num_fds() <= num_files - 2 * 200, "their files are closed")
            assert gateway.num_connections == 0

    run(main())


def test_a_handshake_has_a_deadline(serving: Serving, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        limits = msgspec.structs.replace(LIMITS, header_timeout_s=0.05)
        async with serving.gateway(limits=limits, has_clock=False) as gateway:
            peers = [await plain_connection(gateway) for _ in range(20)]
            for peer in peers:
                assert await peer.rest() == b""
            await until(lambda: listener_of(gateway).num_handshakes == 0, "they are forgotten")

    with caplog.at_level(logging.INFO):
        run(main())
    assert [record for record in caplog.records if record.name.startswith("router.")] == []


def test_handshakes_count_as_connections(serving: Serving) -> None:
    async def main() -> None:
        async with serving.gateway(limits=msgspec.structs.replace(LIMITS, max_connections=5)) as gateway:
            held = [await plain_connection(gateway) for _ in range(4)]
            await until(lambda: listener_of(gateway).num_handshakes == 4, "they shake hands")
            served = await gateway.get("/health")
            assert (await served.reply()).status == 200
            refused = await plain_connection(gateway)
            assert await refused.rest() == b""
            await held[0].close()
            await until(lambda: listener_of(gateway).num_handshakes == 3, "one has gone")
            assert await gateway.is_healthy()

    run(main())


@pytest.fixture(params=["same kind", "other kind"])
def renewed(authority: Authority, request: pytest.FixtureRequest) -> Pair:
    return load_pair(authority.make(kind=RSA) if request.param == "other kind" else authority.make())


def test_a_renewal_counts_for_new_connections_and_old_ones_go_on(serving: Serving, renewed: Pair) -> None:
    async def main() -> None:
        async with serving.gateway() as gateway:
            peer = await gateway.get("/v1/stream/wait")
            await peer.until(b"data: first\n\n")
            serving.pair = renewed
            other = await gateway.get("/health")
            assert (await other.reply()).status == 200
            assert certificate_of(other) != certificate_of(peer)
            gateway.events.go_on.set()
            await peer.until(b"data: [DONE]\n\n\r\n0\r\n\r\n")
            peer.send(request("GET", "/health"))
            assert (await peer.reply()).status == 200

    run(main())


def test_the_unix_socket_stays_as_it_is(serving: Serving, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("s") / "s"

    async def main() -> None:
        async with serving.gateway(unix_socket=path):
            peer = Peer(*await asyncio.open_unix_connection(path))
            peer.send(request("GET", "/health"))
            assert (await peer.reply()).status == 200
            await peer.close()

    run(main())


def test_a_page_of_the_same_host_without_tls_is_another_origin(serving: Serving) -> None:
    async def main() -> None:
        async with serving.gateway(rules=HostRules(allowed_hosts=("box.local",))) as gateway:
            for origin, status in (
                ("https://box.local:8443", 200),
                ("http://box.local:8443", 403),
                ("https://box.local", 403),
                ("https://127.0.0.1:1", 200),
                ("http://localhost:3000", 200),
                ("https://elsewhere.example", 403),
            ):
                peer = await gateway.get("/health", f"Origin: {origin}", host="box.local:8443")
                assert (await peer.reply()).status == status, origin

    run(main())


@pytest.mark.parametrize("second_stop", [False, True], ids=["at the limit", "at the second signal"])
def test_a_stream_that_is_cut_at_the_end_says_so(serving: Serving, second_stop: bool) -> None:  # noqa: FBT001
    async def main() -> None:
        async with serving.gateway(drain_s=0.2) as gateway:
            idle = await gateway.get("/health")
            await idle.reply()
            peer = await gateway.get("/v1/stream/wait")
            await peer.until(b"data: first\n\n")
            shaking = await plain_connection(gateway)
            await until(lambda: listener_of(gateway).num_handshakes, "it shakes hands")
            gateway.server.stop()
            if second_stop:
                gateway.server.stop()
            rest = await peer.rest()
            assert b'"code":"shutting_down"' in rest
            assert rest.endswith(b"0\r\n\r\n")
            assert await idle.rest() == b""
            assert await shaking.rest() == b""
            with pytest.raises(ConnectionRefusedError):
                await gateway.connect()
            await gateway.stopped()
            assert gateway.num_connections == 0

    run(main())


def test_a_client_that_takes_nothing_is_cut_off(serving: Serving) -> None:
    async def main() -> None:
        async with serving.gateway() as gateway:
            peer = await gateway.connect(receive_buffer_bytes=4096)
            connection = await gateway.connection_of(peer)
            peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is a read transport as well
            peer.send(request("GET", "/v1/stream/flood"))
            await until(lambda: connection._stall is not None, "the server waits for its client")
            assert gateway.events.num_chunks < 200
            gateway.clock.move(LIMITS.write_stall_s + 1)
            await asyncio.wait_for(gateway.events.is_closed.wait(), WITHIN_S)
            await until(lambda: gateway.num_connections == 0, "it is forgotten")

    run(main())


def test_a_process_without_free_files_accepts_again_when_there_are(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("router.tls.listener._RETRY_S", 0.001)

    async def main() -> None:
        async with serving.gateway() as gateway:
            loop = asyncio.get_running_loop()
            accept: Callable[..., Coroutine[Any, Any, Any]] = loop.sock_accept
            failures = iter([OSError(24, "Too many open files"), ConnectionAbortedError()])
            listener = listener_of(gateway)

            class Loop:
                async def sock_accept(self, sock: socket.socket) -> Any:
                    for failure in failures:
                        raise failure
                    return await accept(sock)

                def __getattr__(self, name: str) -> Any:
                    return getattr(loop, name)

            monkeypatch.setattr("router.tls.listener.asyncio.get_running_loop", Loop)
            for task in listener._accepting:
                task.cancel()
            listener._accepting = [asyncio.create_task(listener._accept(listener._socks[0]))]
            await until(lambda: "no connection can be accepted for now" in caplog.text, "it is told")
            monkeypatch.undo()
            assert await gateway.is_healthy()

    run(main())
