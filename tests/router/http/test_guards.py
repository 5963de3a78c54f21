import urllib.parse
from typing import Any

import msgspec
import pytest

from router.http.asgi import json_reply
from router.http.guards import Guards
from router.http.hosts import HostRules
from router.http.limits import HttpLimits
from router.protocols.table import DIALECTS

LIMITS = HttpLimits(max_body_bytes=1000, max_header_bytes=500, max_headers=10, max_url_bytes=100)
TCP = ("127.0.0.1", 11434)


class Result:
    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.has_reached_the_app = False
        self.scope: Any = None

    async def send(self, message: Any) -> None:
        self.messages.append(message)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.messages[0]["headers"])

    @property
    def code(self) -> str:
        return str(msgspec.json.decode(self.messages[1]["body"])["error"]["code"])


async def call(
    path: str = "/v1/models",
    headers: list[tuple[str, str]] | None = None,
    *,
    method: str = "GET",
    server: tuple[str, int | None] = TCP,
    query: bytes = b"",
) -> Result:
    result = Result()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        result.has_reached_the_app = True
        result.scope = scope
        await json_reply({"ok": True})(scope, receive, send)

    async def receive() -> Any:
        raise AssertionError("a guard reads no body")

    scope = {
        "type": "http",
        "method": method,
        "path": urllib.parse.unquote(path),
        "raw_path": path.encode("latin-1"),
        "query_string": query,
        "headers": [
            (n.encode(), v.encode("latin-1")) for n, v in ([("host", "localhost")] if headers is None else headers)
        ],
        "server": server,
    }
    await Guards(app, rules=HostRules(), limits=LIMITS, dialects=DIALECTS)(scope, receive, result.send)
    return result


async def test_a_plain_local_request_passes() -> None:
    result = await call()
    assert result.has_reached_the_app
    assert b"access-control-allow-origin" not in result.headers


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ([], 400, "malformed_http"),
        ([("host", "localhost"), ("host", "localhost")], 400, "malformed_http"),
        ([("host", "evil.com")], 403, "host_not_allowed"),
        ([("host", "evil.com"), ("x-forwarded-host", "localhost")], 403, "host_not_allowed"),
        ([("host", "localhost"), ("origin", "http://evil.com")], 403, "origin_not_allowed"),
        ([("host", "localhost"), ("origin", "null")], 403, "origin_not_allowed"),
        ([("host", "localhost"), ("origin", "http://localhost"), ("origin", "x")], 403, "origin_not_allowed"),
        ([("host", "localhost"), ("sec-fetch-site", "cross-site")], 403, "origin_not_allowed"),
        ([("host", "localhost"), ("content-length", "5"), ("transfer-encoding", "chunked")], 400, "malformed_http"),
        ([("host", "localhost"), ("content-length", "5"), ("content-length", "6")], 400, "malformed_http"),
        ([("host", "localhost"), ("content-length", "+5")], 400, "malformed_http"),
        ([("host", "localhost"), ("content-length", "1001")], 413, "request_too_large"),
        ([("host", "localhost"), ("content-length", "9" * 5000)], 431, "headers_too_large"),
        ([("host", "localhost"), ("content-length", "9" * 400)], 413, "request_too_large"),
        ([("host", "localhost")] + [("x", "y")] * 10, 431, "headers_too_large"),
        ([("host", "localhost"), ("x", "y" * 500)], 431, "headers_too_large"),
    ],
    ids=lambda v: repr(v)[:60],
)
async def test_bad_headers_never_reach_the_app(headers: list[tuple[str, str]], status: int, code: str) -> None:
    result = await call(headers=headers, method="POST")
    assert (result.status, result.code) == (status, code)
    assert not result.has_reached_the_app


@pytest.mark.parametrize(
    "path",
    [
        "///v1/models",
        "//v1//models",
        "//v1/../models",
        "//v1/models%2f",
        "/v1//models",
        "/v1/../v1/models",
        "/v1/%2e%2e/v1/models",
        "/v1/./models",
        "/v1/models/..",
        "/v1/models%2f",
        "/v1%2Fmodels",
        "/v1/models/..%2f..%2fetc",
        "/v1/models/%2fetc",
        "/v1/models;x",
        "/v1/models%3bx",
        "/v1/models%00",
        "/v1/models%0d%0aX:y",
        "/v1/models%5c",
        "/v1/models%252f",
        "/v1/models/%ff",
        "v1/models",
        "",
    ],
)
async def test_odd_paths_never_reach_the_app(path: str) -> None:
    result = await call(path)
    assert (result.status, result.code) == (400, "malformed_http")
    assert not result.has_reached_the_app


@pytest.mark.parametrize(
    "path", ["/", "/v1/models", "/v1/models/", "/v1/models/org%2Fname@mlx:q4", "/v1/models/a.b..c", "/%C3%A9"]
)
async def test_ordinary_paths_pass(path: str) -> None:
    assert (await call(path)).has_reached_the_app


async def test_the_app_sees_no_leading_slash_too_many() -> None:
    result = await call("//v1/models")
    assert result.scope["path"] == "/v1/models"
    assert result.scope["raw_path"] == b"/v1/models"


async def test_a_long_url_is_414() -> None:
    assert (await call("/" + "a" * 100)).status == 414
    assert (await call("/", query=b"a" * 100)).status == 414


async def test_errors_below_api_have_the_ollama_shape() -> None:
    result = await call("/api/tags", [("host", "evil.com")])
    assert isinstance(msgspec.json.decode(result.messages[1]["body"])["error"], str)


async def test_over_a_unix_socket_the_host_is_free_but_the_origin_is_not() -> None:
    assert (await call(headers=[("host", "anything")], server=("/run/mlxr.sock", None))).has_reached_the_app
    result = await call(headers=[("host", "x"), ("origin", "http://evil.com")], server=("/run/mlxr.sock", None))
    assert result.status == 403


async def test_an_allowed_origin_gets_cors_headers_for_itself_only() -> None:
    result = await call(headers=[("host", "localhost"), ("origin", "http://localhost:3000")])
    assert result.has_reached_the_app
    assert result.headers[b"access-control-allow-origin"] == b"http://localhost:3000"
    assert result.headers[b"vary"] == b"Origin"
    assert b"access-control-allow-credentials" not in result.headers


TO_THE_PAGE = [
    ("host", "localhost"),
    ("sec-fetch-site", "cross-site"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
]


@pytest.mark.parametrize("path", ["/ui", "/ui/", "/ui/chat/conv_1"])
async def test_a_link_of_any_site_leads_to_the_page(path: str) -> None:
    assert (await call(path=path, headers=TO_THE_PAGE)).has_reached_the_app


@pytest.mark.parametrize(
    ("method", "path", "other"),
    [
        ("GET", "/v1/models", ("x", "y")),
        ("GET", "/uix", ("x", "y")),
        ("POST", "/ui/", ("x", "y")),
        ("GET", "/ui/", ("sec-fetch-dest", "iframe")),
        ("GET", "/ui/", ("sec-fetch-mode", "no-cors")),
        ("GET", "/ui/", ("origin", "https://evil.example")),
    ],
)
async def test_nothing_else_of_another_site_is_let_in_beside_the_page(
    method: str, path: str, other: tuple[str, str]
) -> None:
    headers = [*((name, value) for name, value in TO_THE_PAGE if name != other[0]), other]
    assert not (await call(path, headers, method=method)).has_reached_the_app


async def test_an_allowed_origin_may_be_cross_site() -> None:
    headers = [("host", "localhost"), ("origin", "http://127.0.0.1:3000"), ("sec-fetch-site", "cross-site")]
    assert (await call(headers=headers)).has_reached_the_app


async def test_a_preflight_of_an_allowed_origin_is_answered_without_the_app() -> None:
    result = await call(
        headers=[
            ("host", "localhost"),
            ("origin", "http://localhost:3000"),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization, content-type, x-stainless-os"),
            ("access-control-request-private-network", "true"),
        ],
        method="OPTIONS",
    )
    assert not result.has_reached_the_app
    assert result.status == 204
    assert b"POST" in result.headers[b"access-control-allow-methods"]
    assert result.headers[b"access-control-allow-headers"] == b"authorization, content-type, x-stainless-os"
    assert result.headers[b"access-control-allow-private-network"] == b"true"
    assert b"content-length" not in result.headers


async def test_a_preflight_of_another_origin_is_refused() -> None:
    headers = [("host", "localhost"), ("origin", "http://evil.com"), ("access-control-request-method", "POST")]
    result = await call(headers=headers, method="OPTIONS")
    assert result.status == 403
    assert b"access-control-allow-origin" not in result.headers


async def test_lifespan_passes() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001
        seen.append(scope["type"])

    result = Result()

    async def receive() -> Any:
        raise AssertionError

    guards = Guards(app, rules=HostRules(), limits=LIMITS, dialects=DIALECTS)
    await guards({"type": "lifespan"}, receive, result.send)
    assert seen == ["lifespan"]
    assert result.messages == []
