"""Every endpoint of the table by every scope, over every way to it.

The table is the one that routes are made of, so that an endpoint that is added is asked here without a line more.
"""

from typing import Final

import httpx
import pytest

from router.http.caller import Scope
from router.protocols.endpoint import Endpoint
from router.protocols.table import ENDPOINTS
from tests.support.keyed_server import KeyedServer

KINDS: Final = ("none", "wrong", "revoked", "expired", "metrics", "inference", "models", "admin")
GIVEN: Final = {"none": Scope.PUBLIC, "wrong": Scope.PUBLIC, "revoked": Scope.PUBLIC, "expired": Scope.PUBLIC}
WAYS: Final = ("tcp", "unix")


def label(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path}"


def ask(client: httpx.Client, endpoint: Endpoint) -> httpx.Response:
    """Ask for something that there is not, so that nothing comes of it where it is allowed."""
    path = endpoint.url
    for name in endpoint.path_parameters:
        path = path.replace(f"{{{name}}}", "0" if name == "id_slot" else "none")
    body = None if endpoint.body is None else b"{}"
    with client.stream(endpoint.method, path, content=body) as response:
        if response.status_code in {401, 403}:
            response.read()
        return response


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_every_endpoint_is_for_those_whose_scope_it_declares(server: KeyedServer, way: str, kind: str) -> None:
    has = GIVEN.get(kind) or Scope(kind)
    wrong: dict[str, int] = {}
    with server.client(way, kind) as client:
        for endpoint in ENDPOINTS:
            answer = ask(client, endpoint)
            if has.covers(endpoint.scope):
                is_right = answer.status_code not in {401, 403}
            else:
                is_right = answer.status_code == (401 if has is Scope.PUBLIC else 403)
            if not is_right:
                wrong[label(endpoint)] = answer.status_code
    assert wrong == {}


PUBLIC: Final = {
    *("GET /", "HEAD /", "GET /api/version", "GET /health", "GET /v1/health", "GET /ready"),
    "POST /v1/mlxr/ui/session",  # for a code that only who has a key is given
}
"""Whoever adds to these opens an endpoint to everybody who reaches the server."""


def test_what_needs_no_key_is_a_short_list() -> None:
    assert {label(endpoint) for endpoint in ENDPOINTS if endpoint.scope is Scope.PUBLIC} == PUBLIC
