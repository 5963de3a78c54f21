"""No way of writing a request leads around the key that it needs."""

import socket

import httpx
import pytest

from tests.support.keyed_server import KeyedServer
from tests.support.waiting import WITHIN_S


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/",
        "//v1/models",
        "///v1/models",
        "/v1//models",
        "/v1/./models",
        "/health/../v1/models",
        "/v1/../v1/models",
        "/V1/models",
        "/v1/models%2f",
        "/v1%2fmodels",
        "/%76%31/models",
        "/v1/models;/health",
        "/v1/models?/health",
        "/v1/models#/health",
        "/v1/models%00/health",
        "/v1/models%3f/health",
        "/health%2f..%2fv1/models",
        "/api/tags/",
        "/nothing/there",
        "*",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "DELETE", "PUT", "PATCH"])
def test_no_way_of_writing_a_path_leads_around_the_key(server: KeyedServer, path: str, method: str) -> None:
    status, body = raw(server, method, path)
    assert status in {400, 401}
    assert b"tiny" not in body


@pytest.mark.parametrize(
    "host",
    [
        "localhost/health?x=",
        "localhost/health",
        "localhost#/health",
        "x@localhost",
        "evil.example",
        "localhost:1/health",
    ],
)
def test_no_host_leads_around_the_key(server: KeyedServer, host: str) -> None:
    """CVE-2026-48710."""
    status, body = raw(server, "GET", "/v1/models", f"Host: {host}")
    assert status in {400, 401, 403}
    assert b"tiny" not in body


@pytest.mark.parametrize(
    "headers", [("X-Original-URL: /health",), ("X-Forwarded-For: 127.0.0.1",), ("X-Rewrite-URL: /",)]
)
def test_no_header_of_proxies_leads_around_the_key(server: KeyedServer, headers: tuple[str, ...]) -> None:
    assert raw(server, "GET", "/v1/models", "Host: localhost", *headers)[0] == 401


def raw(server: KeyedServer, method: str, path: str, *headers: str) -> tuple[int, bytes]:
    """Send a request as it stands; httpx would tidy it up."""
    url = httpx.URL(server.gateway.url)
    head = "\r\n".join([f"{method} {path} HTTP/1.1", *(headers or ("Host: localhost",)), "Connection: close", "", ""])
    received = b""
    with socket.create_connection((url.host, url.port), WITHIN_S) as sock:
        sock.sendall(head.encode("latin-1"))
        while chunk := sock.recv(65536):
            received += chunk
    return int(received.split(b" ", 2)[1]), received.partition(b"\r\n\r\n")[2]
