"""Who may, on a real gateway with keys: every endpoint of the table by every scope, over every way to it.

The table is the one that routes are made of, so that an endpoint that is added is asked here without a line more.
"""

import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import anthropic
import httpx
import ollama
import openai
import pytest

from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths
from router.http.caller import Scope
from router.protocols.endpoint import Endpoint
from router.protocols.table import ENDPOINTS
from tests.support import gateway_process, tiny_model
from tests.support.gateway_process import GatewayProcess, environment, run_cli
from tests.support.waiting import WITHIN_S, wait_until

WRONG: Final = "sk-mlxr-" + "x" * 43
KINDS: Final = ("none", "wrong", "revoked", "metrics", "inference", "models", "admin")
GIVEN: Final = {"none": Scope.PUBLIC, "wrong": Scope.PUBLIC, "revoked": Scope.PUBLIC}
WAYS: Final = ("tcp", "unix")
TOKEN: Final = "run/mlxr.token"


class Server:
    """A gateway with a key of each scope."""

    def __init__(self, home: Path, tiny: Path) -> None:
        paths = Paths.under(home)
        paths.ensure_folders()
        with Registry(paths.registry_db) as registry:
            register_path(registry, tiny, name="tiny")
            register_path(registry, tiny_model.write_gguf(home / "other.gguf", name="other"), name="other")
        self.home = home
        self.secrets = {kind: self.make(kind, "--scope", kind) for kind in ("metrics", "inference", "models", "admin")}
        self.secrets |= {"revoked": self.make("revoked", "--scope", "admin"), "wrong": WRONG}
        run_cli(home, "keys", "revoke", "revoked")
        self.socket = home / "run" / "test.sock"
        config = {"server": {"unix_socket": str(self.socket)}, "standby": False}
        self.gateway = GatewayProcess(home, config=config, fake_options={"answer_tokens": 4, "context_length": 512})

    def make(self, name: str, *options: str) -> str:
        done = run_cli(self.home, "keys", "create", name, *options)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def client(self, way: str = "tcp", kind: str = "none") -> httpx.Client:
        headers = {} if kind == "none" else {"Authorization": f"Bearer {self.secrets[kind]}"}
        transport = httpx.HTTPTransport(uds=str(self.socket)) if way == "unix" else None
        return httpx.Client(
            base_url=self.gateway.url, headers=headers, timeout=WITHIN_S, trust_env=False, transport=transport
        )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tiny_gguf: Path) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("keys") / "home", tiny_gguf)
    yield server
    assert server.gateway.stop() == 0


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
def test_every_endpoint_is_for_those_whose_scope_it_declares(server: Server, way: str, kind: str) -> None:
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


PUBLIC: Final = {"GET /", "HEAD /", "GET /api/version", "GET /health", "GET /v1/health", "GET /ready"}
"""Whoever adds to these opens an endpoint to everybody who reaches the server."""


def test_what_needs_no_key_is_a_short_list() -> None:
    assert {label(endpoint) for endpoint in ENDPOINTS if endpoint.scope is Scope.PUBLIC} == PUBLIC


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
def test_no_way_of_writing_a_path_leads_around_the_key(server: Server, path: str, method: str) -> None:
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
def test_no_host_leads_around_the_key(server: Server, host: str) -> None:
    """CVE-2026-48710."""
    status, body = raw(server, "GET", "/v1/models", f"Host: {host}")
    assert status in {400, 401, 403}
    assert b"tiny" not in body


@pytest.mark.parametrize(
    "headers", [("X-Original-URL: /health",), ("X-Forwarded-For: 127.0.0.1",), ("X-Rewrite-URL: /",)]
)
def test_no_header_of_proxies_leads_around_the_key(server: Server, headers: tuple[str, ...]) -> None:
    assert raw(server, "GET", "/v1/models", "Host: localhost", *headers)[0] == 401


def raw(server: Server, method: str, path: str, *headers: str) -> tuple[int, bytes]:
    """Send a request as it stands; httpx would tidy it up."""
    url = httpx.URL(server.gateway.url)
    head = "\r\n".join([f"{method} {path} HTTP/1.1", *(headers or ("Host: localhost",)), "Connection: close", "", ""])
    received = b""
    with socket.create_connection((url.host, url.port), WITHIN_S) as sock:
        sock.sendall(head.encode("latin-1"))
        while chunk := sock.recv(65536):
            received += chunk
    return int(received.split(b" ", 2)[1]), received.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/v1/chat/completions", {"error": {"type": "authentication_error", "code": "invalid_api_key"}}),
        ("/v1/responses", {"error": {"type": "authentication_error", "code": "invalid_api_key"}}),
        ("/v1/messages", {"type": "error", "error": {"type": "authentication_error"}}),
        ("/api/chat", {"error": str}),
        ("/completion", {"error": {"type": "authentication_error"}}),
        ("/v1/mlxr/report", {"error": {"type": "authentication_error"}}),
    ],
)
def test_a_refusal_has_the_shape_of_its_protocol(server: Server, path: str, shape: dict[str, Any]) -> None:
    with server.client() as client:
        answer = client.post(path, json={})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    _assert_within(shape, answer.json())


def _assert_within(shape: Any, value: Any) -> None:
    if isinstance(shape, dict):
        for key, inner in shape.items():
            _assert_within(inner, value[key])
    elif isinstance(shape, type):
        assert isinstance(value, shape)
    else:
        assert value == shape


def test_a_key_comes_as_bearer_or_as_x_api_key(server: Server) -> None:
    secret = server.secrets["inference"]
    with server.client() as client:
        for headers in (
            {"Authorization": f"Bearer {secret}"},
            {"Authorization": f"bearer {secret}"},
            {"x-api-key": secret},
            {"x-api-key": secret, "Authorization": "Bearer dummy"},
        ):
            assert client.get("/v1/models", headers=headers).status_code == 200


def test_keys_count_from_the_moment_they_are_made_until_they_are_revoked(server: Server) -> None:
    secret = server.make("short-lived")
    with server.client() as client:
        headers = {"Authorization": f"Bearer {secret}"}
        assert client.get("/v1/models", headers=headers).status_code == 200
        run_cli(server.home, "keys", "revoke", "short-lived")
        refused = client.get("/v1/models", headers=headers)
    assert refused.status_code == 401
    assert refused.json()["error"]["message"] == "The API key 'short-lived' was revoked."


def test_a_key_sees_only_the_models_that_it_may_use(server: Server) -> None:
    run_cli(server.home, "models", "alias", "other", "elsewhere")
    secret = server.make("narrow", "--models", "tin*")
    body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
    with server.client() as client:
        client.headers["Authorization"] = f"Bearer {secret}"
        assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["tiny"]
        assert {model["name"] for model in client.get("/api/tags").json()["models"]} == {"tiny:latest"}
        assert client.post("/v1/chat/completions", json={"model": "tiny", **body}).status_code == 200
        for reference in ("other", "elsewhere", "other@llamacpp", "other+lora", "OTHER", "other:latest", "./other"):
            refused = client.post("/v1/chat/completions", json={"model": reference, **body})
            assert refused.status_code in {400, 404}, reference
            assert "Did you mean" not in refused.text
            for path in ("/api/show", "/api/chat", "/api/generate"):
                assert client.post(path, json={"model": reference, "stream": False}).status_code in {400, 404}
        for path in ("/v1/models/other", "/v1/models/elsewhere", "/api/v0/models/other", "/props?model=other"):
            assert client.get(path).status_code == 404, path
        missing = client.post("/v1/chat/completions", json={"model": "othex", **body}).json()
        hidden = client.post("/v1/chat/completions", json={"model": "other", **body}).json()
    assert json.dumps(missing).replace("othex", "other") == json.dumps(hidden)


def test_a_keys_priority_goes_before_what_a_request_says(server: Server) -> None:
    secret = server.make("slow", "--priority", "background")
    with server.client() as client:
        answer = client.post(
            "/v1/chat/completions",
            json={"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "service_tier": "default"},
            headers={"Authorization": f"Bearer {secret}", "X-Mlxr-Priority": "interactive"},
        )
    assert answer.json()["service_tier"] == "flex"


def test_nothing_secret_stands_in_what_the_server_writes_and_shows(server: Server) -> None:
    shown: list[str] = []
    with server.client(kind="admin") as client:
        paths = ("/v1/mlxr/status", "/v1/mlxr/requests", "/v1/mlxr/capabilities", "/schema", "/health", "/nothing")
        headers = {"User-Agent": server.secrets["admin"]}
        shown += [client.get(path, headers=headers).text for path in paths]
    for verb in (("config", "show"), ("keys",), ("keys", "list", "--json"), ("keys", "usage"), ("doctor",)):
        done = run_cli(server.home, *verb)
        shown += [done.stdout, done.stderr]
    files = [path for path in server.home.rglob("*") if path.is_file()]
    held = b"".join(path.read_bytes() for path in files) + "".join(shown).encode()
    for secret in {*server.secrets.values()} - {WRONG}:
        assert secret.encode() not in held
        assert secret[20:].encode() not in held


def test_a_server_that_others_reach_starts_with_a_key_only(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "config").mkdir(parents=True)
    config = "server: {host: 0.0.0.0, port: 0}\n"
    (home / "config" / "server.yaml").write_text(config)
    refused = run_cli(home, "serve")
    assert refused.returncode == 1
    assert "mlxr keys create" in refused.stderr
    secret = run_cli(home, "keys", "create", "laptop").stdout.strip()
    gateway = GatewayProcess(home)
    try:
        url = f"http://127.0.0.1:{httpx.URL(gateway.url).port}"
        assert httpx.get(f"{url}/v1/models", trust_env=False).status_code == 401
        headers = {"Authorization": f"Bearer {secret}"}
        assert httpx.get(f"{url}/v1/models", headers=headers, trust_env=False).status_code == 200
    finally:
        assert gateway.stop() == 0


def test_the_command_line_needs_no_key_on_its_own_server(server: Server) -> None:
    for verb in (("ps",), ("requests",), ("stop", "tiny"), ("batch", "list"), ("run", "tiny", "hi")):
        done = run_cli(server.home, *verb)
        assert "API key" not in done.stderr
        assert done.returncode == 0, (verb, done.stderr)


def test_the_token_opens_the_socket_and_nothing_else(server: Server) -> None:
    token = (server.home / TOKEN).read_text()
    headers = {"Authorization": f"Bearer {token}"}
    with server.client("unix") as unix, server.client("tcp") as tcp:
        assert unix.get("/v1/mlxr/status", headers=headers).status_code == 200
        assert unix.get("/v1/mlxr/status", headers={"x-api-key": token}).status_code == 200
        assert unix.get("/v1/mlxr/status", headers={"x-api-key": token[:-1]}).status_code == 401
        assert unix.get("/v1/mlxr/status").status_code == 401
        assert tcp.get("/v1/mlxr/status", headers=headers).status_code == 401
    for path in (server.home / TOKEN, server.socket):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(server.socket.parent.stat().st_mode) == 0o700


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user")
def test_another_user_is_turned_away_also_where_the_socket_lets_him_in(tmp_path: Path) -> None:
    """The modes keep others out; who comes in nevertheless is asked for his user id."""
    with tempfile.TemporaryDirectory(prefix="mlxr-open-") as folder:
        door = Path(folder)
        door.chmod(0o755)
        config = {"server": {"unix_socket": str(door / "s"), "port": 0}}
        gateway = GatewayProcess(tmp_path / "home", config=config)
        try:
            (door / "s").chmod(0o666)
            asked = (
                "import socket,os,sys; os.setuid(65534); s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
                "s.sendall(b'GET /health HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n'); print(s.recv(4096).decode())"
            )
            command = [sys.executable, "-c", asked, str(door / "s")]
            told = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=True).stdout
        finally:
            assert gateway.stop() == 0
    assert told.startswith("HTTP/1.1 403 ")
    assert "peer_not_allowed" in told


def test_a_key_of_the_environment_counts_for_server_and_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    own = "one-key-without-a-store"
    monkeypatch.setattr(gateway_process, "environment", lambda home: environment(home) | {"MLXR_API_KEY": own})
    gateway = GatewayProcess(home, config={"server": {"unix_socket": None}})
    try:
        with gateway.client() as client:
            assert client.get("/v1/models").status_code == 401
            assert client.get("/v1/models", headers={"x-api-key": own}).status_code == 200
        assert run_cli(home, "ps").returncode == 0
        assert all("MLXR_API_KEY" not in worker.environ() for worker in gateway.workers())
        monkeypatch.undo()
        refused = run_cli(home, "ps")
        assert refused.returncode == 1
        assert "API key" in refused.stderr
    finally:
        assert gateway.stop() == 0
    assert own not in (home / "stderr.txt").read_text()


@pytest.fixture(scope="module")
def owned(server: Server) -> dict[str, str]:
    """Things that belong to the key `mine`, by what they are."""
    server.secrets["mine"], server.secrets["theirs"] = server.make("mine"), server.make("theirs")
    with server.client(kind="mine") as client:
        made = {}
        body = {"model": "tiny", "input": "my secret question", "max_output_tokens": 2}
        made["response"] = client.post("/v1/responses", json=body).json()["id"]
        items = client.get(f"/v1/responses/{made['response']}/input_items").json()
        made["item"] = items["data"][0]["id"]
        background = client.post("/v1/responses", json=body | {"background": True, "stream": False}).json()
        made["background"] = background["id"]
        line: dict[str, Any] = {
            "custom_id": "a",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "tiny"},
        }
        line["body"] |= {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
        content = {"file": ("f.jsonl", json.dumps(line).encode())}
        made["file"] = client.post("/v1/files", files=content, data={"purpose": "batch"}).json()["id"]
        batch = {"input_file_id": made["file"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        made["batch"] = client.post("/v1/batches", json=batch).json()["id"]

        def batch_now() -> Any:
            return client.get(f"/v1/batches/{made['batch']}").json()

        wait_until(lambda: batch_now()["status"] in {"completed", "failed"}, "the batch has ended")
        final = batch_now()
        assert final["status"] == "completed", final
        made["output"] = final["output_file_id"]
    return made


PLACES: Final = [
    ("GET", "/v1/responses/{response}"),
    ("GET", "/v1/responses/{response}/input_items"),
    ("GET", "/v1/responses/{background}"),
    ("POST", "/v1/responses/{background}/cancel"),
    ("GET", "/v1/files/{file}"),
    ("GET", "/v1/files/{file}/content"),
    ("GET", "/v1/files/{output}/content"),
    ("GET", "/v1/batches/{batch}"),
    ("POST", "/v1/batches/{batch}/cancel"),
    ("GET", "/v1/mlxr/batches/{batch}/ends"),
    ("DELETE", "/v1/responses/{response}"),
    ("DELETE", "/v1/files/{file}"),
]


@pytest.mark.parametrize(("method", "place"), PLACES)
@pytest.mark.parametrize("kind", ["theirs", "models"])
def test_what_belongs_to_another_key_is_not_there(
    server: Server, owned: dict[str, str], method: str, place: str, kind: str
) -> None:
    with server.client(kind=kind) as client:
        refused = client.request(method, place.format_map(owned))
        missing = client.request(method, place.format_map({name: f"{value[:-4]}0000" for name, value in owned.items()}))
    assert refused.status_code == missing.status_code == 404
    assert "secret question" not in refused.text


@pytest.mark.parametrize("kind", ["mine", "admin"])
@pytest.mark.parametrize("place", [place for method, place in PLACES if method == "GET"])
def test_it_is_there_for_its_key_and_for_administrators(
    server: Server, owned: dict[str, str], place: str, kind: str
) -> None:
    with server.client(kind=kind) as client:
        assert client.get(place.format_map(owned)).status_code == 200


def test_lists_have_what_belongs_to_the_key(server: Server, owned: dict[str, str]) -> None:
    for kind, has in (("mine", True), ("theirs", False), ("admin", True)):
        with server.client(kind=kind) as client:
            files = {file["id"] for file in client.get("/v1/files").json()["data"]}
            batches = {batch["id"] for batch in client.get("/v1/batches").json()["data"]}
        assert ({owned["file"], owned["output"]} <= files) is has
        assert (owned["batch"] in batches) is has


def test_nobody_goes_on_from_what_is_anothers(server: Server, owned: dict[str, str]) -> None:
    with server.client(kind="theirs") as client:
        body = {"model": "tiny", "input": "go on", "max_output_tokens": 2}
        refused = client.post("/v1/responses", json=body | {"previous_response_id": owned["response"]})
        assert refused.json()["error"]["code"] == "previous_response_not_found"
        reference = [{"type": "item_reference", "id": owned["item"]}]
        assert client.post("/v1/responses", json=body | {"input": reference}).status_code == 400
        batch = {"input_file_id": owned["file"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        assert client.post("/v1/batches", json=batch).status_code == 404
    with server.client(kind="mine") as client:
        assert client.post("/v1/responses", json=body | {"previous_response_id": owned["response"]}).status_code == 200


def test_a_key_has_its_limits_and_what_it_used_is_shown(server: Server) -> None:
    secret = server.make("limited", "--rate", "2")
    body = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
    with server.client() as client:
        client.headers["x-api-key"] = secret
        answers = [client.post("/v1/chat/completions", json=body) for _ in range(3)]
        shape = client.post("/v1/messages", json=body)
        assert client.get("/v1/models").status_code == 200
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == ["1", "0", "0"]
    assert 1 <= int(answers[2].headers["retry-after"]) <= 30
    assert answers[2].json()["error"]["code"] == "rate_limit_exceeded"
    assert shape.json()["error"]["type"] == "rate_limit_error"
    used = answers[0].json()["usage"], answers[1].json()["usage"]

    def row() -> Any:
        rows = json.loads(run_cli(server.home, "keys", "usage", "--json").stdout)
        keys = json.loads(run_cli(server.home, "keys", "list", "--json").stdout)
        (key_id,) = [key["id"] for key in keys if key["name"] == "limited"]
        return next((each for each in rows if each["key_id"] == key_id), None)

    wait_until(row, "what was used is written")
    found = row()
    assert (found["num_requests"], found["num_refused"]) == (2, 2)
    assert found["num_prompt_tokens"] == sum(each["prompt_tokens"] for each in used)
    assert found["num_answer_tokens"] == sum(each["completion_tokens"] for each in used)


def test_the_clients_themselves_send_their_keys(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    secret, url = server.secrets["inference"], server.gateway.url
    asked: Any = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}
    with openai.OpenAI(base_url=f"{url}/v1", api_key=secret, max_retries=0) as client:
        assert client.chat.completions.create(**asked, max_tokens=2).usage is not None
    stranger = openai.OpenAI(base_url=f"{url}/v1", api_key=WRONG, max_retries=0)
    with stranger, pytest.raises(openai.AuthenticationError, match="not one of this server's"):
        stranger.chat.completions.create(**asked)
    with anthropic.Anthropic(base_url=url, api_key=secret, max_retries=0) as claude:
        assert claude.messages.create(**asked, max_tokens=2).usage.output_tokens > 0
    unknown = anthropic.Anthropic(base_url=url, api_key=WRONG, max_retries=0)
    with unknown, pytest.raises(anthropic.AuthenticationError, match="authentication_error"):
        unknown.messages.create(**asked, max_tokens=2)
    monkeypatch.setenv("OLLAMA_API_KEY", secret)
    with ollama.Client(host=url) as llama:
        assert llama.chat(**asked).message.content is not None
    monkeypatch.setenv("OLLAMA_API_KEY", WRONG)
    with (
        ollama.Client(host=url) as nobody,
        pytest.raises(ollama.ResponseError, match="not one of this server's") as refused,
    ):
        nobody.chat(**asked)
    assert refused.value.status_code == 401
