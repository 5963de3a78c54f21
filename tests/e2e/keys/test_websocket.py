"""The WebSocket of Responses asks for a key as every endpoint does, over every way to it, also where it is open."""

import json
from typing import Any, Final

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect, unix_connect

from router.http.websocket import SOCKET_PATH
from tests.support.gateway_process import run_cli
from tests.support.keyed_server import KeyedServer
from tests.support.waiting import WITHIN_S

ASKED: Final = {"type": "response.create", "model": "tiny", "input": "hi", "max_output_tokens": 2, "store": False}
WAYS: Final = ("tcp", "unix")


def opened(server: KeyedServer, way: str, headers: dict[str, str]) -> ClientConnection:
    options: Any = {"additional_headers": headers, "open_timeout": WITHIN_S, "max_size": None}
    if way == "unix":
        over_unix: ClientConnection = unix_connect(
            str(server.socket), f"ws://localhost{SOCKET_PATH.decode()}", **options
        )
        return over_unix
    port = httpx.URL(server.gateway.url).port
    over_tcp: ClientConnection = connect(f"ws://localhost:{port}{SOCKET_PATH.decode()}", proxy=None, **options)
    return over_tcp


def answered(socket: ClientConnection) -> dict[str, Any]:
    """Ask, and return the last event."""
    socket.send(json.dumps(ASKED))
    while True:
        event: dict[str, Any] = json.loads(socket.recv(WITHIN_S))
        if event["type"] in {"response.completed", "response.incomplete", "response.failed", "error"}:
            return event


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("none", 401, "invalid_api_key"),
        ("wrong", 401, "invalid_api_key"),
        ("revoked", 401, "invalid_api_key"),
        ("expired", 401, "invalid_api_key"),
        ("metrics", 403, "insufficient_scope"),
    ],
)
def test_without_a_good_key_there_is_no_websocket(
    server: KeyedServer, way: str, kind: str, status: int, code: str
) -> None:
    headers = {} if kind == "none" else {"Authorization": f"Bearer {server.secrets[kind]}"}
    with pytest.raises(InvalidStatus) as refused:
        opened(server, way, headers)
    response = refused.value.response
    assert response.status_code == status
    assert json.loads(response.body or b"")["error"]["code"] == code


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["inference", "models", "admin"])
@pytest.mark.parametrize("header", ["Authorization", "x-api-key"])
def test_a_good_key_opens_it(server: KeyedServer, way: str, kind: str, header: str) -> None:
    secret = server.secrets[kind]
    with opened(server, way, {header: f"Bearer {secret}" if header == "Authorization" else secret}) as socket:
        assert answered(socket)["type"] in {"response.completed", "response.incomplete"}


def test_the_token_opens_it_over_the_socket_alone(server: KeyedServer) -> None:
    headers = {"x-api-key": (server.home / "run" / "mlxr.token").read_text()}
    with opened(server, "unix", headers) as socket:
        assert answered(socket)["type"] in {"response.completed", "response.incomplete"}
    with pytest.raises(InvalidStatus):
        opened(server, "tcp", headers)


@pytest.mark.parametrize("way", WAYS)
def test_a_key_that_is_revoked_asks_nothing_more_where_it_is_open(server: KeyedServer, way: str) -> None:
    secret = server.make(f"open-{way}")
    with opened(server, way, {"Authorization": f"Bearer {secret}"}) as socket:
        assert answered(socket)["type"] in {"response.completed", "response.incomplete"}
        run_cli(server.home, "keys", "revoke", f"open-{way}")
        refused = answered(socket)
    assert refused["type"] == "error"
    assert "no longer good" in json.dumps(refused)


@pytest.mark.parametrize("way", WAYS)
def test_a_key_sees_its_models_alone(server: KeyedServer, way: str) -> None:
    secret = server.make(f"narrow-{way}", "--models", "oth*")
    with opened(server, way, {"Authorization": f"Bearer {secret}"}) as socket:
        assert answered(socket)["type"] == "error"
