"""What Ollama's API for models refuses, by plain HTTP: nothing of it leaves anything behind."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.gateway_process import GatewayProcess
from tests.support.plain_http import answer_on
from tests.support.stub_hub import StubHub
from tests.support.stub_ollama_registry import StubOllamaRegistry, digest_of
from tests.support.waiting import WITHIN_S, wait_until


@pytest.fixture(scope="module")
def weights(tiny_gguf: Path) -> bytes:
    return tiny_gguf.read_bytes()


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway for what is refused: nothing happens to it."""
    with StubHub() as hub, StubOllamaRegistry() as registry:
        config = {"hub": {"endpoint": hub.url, "ollama_registry": registry.url}, "server": {"body_timeout_s": 5}}
        gateway = GatewayProcess(tmp_path_factory.mktemp("calm"), config=config)
        try:
            yield gateway
        finally:
            assert gateway.stop() == 0


def test_wrong_uploads_leave_nothing(calm: GatewayProcess, weights: bytes) -> None:
    digest = digest_of(weights)
    with calm.client() as http:
        wrong = http.post(f"/api/blobs/{digest}", content=weights[:-1])
        assert wrong.status_code == 400
        assert "digest mismatch" in wrong.json()["error"]
        for bad in ("sha256:..", "sha256:" + "A" * 64, "md5:" + "0" * 64, "x", "sha256-" + "0" * 64):
            assert http.post(f"/api/blobs/{bad}", content=b"x").status_code in {400, 404}
        for path in ("/api/blobs/sha256:../../../../etc/passwd", "/api/blobs/sha256:%2e%2e%2fetc"):
            assert http.request("HEAD", path).status_code in {400, 404}
        packed = http.post(f"/api/blobs/{digest}", content=b"x", headers={"content-encoding": "gzip"})
        assert packed.status_code == 415
    head = f"POST /api/blobs/{digest} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {1 << 50}\r\n\r\n"
    assert raw_status(calm, head.encode()) == 413
    assert calm.model_files() == []


def test_an_upload_that_breaks_off_or_stalls_leaves_nothing(calm: GatewayProcess, weights: bytes) -> None:
    def halting() -> Iterator[bytes]:
        yield weights[:1000]
        raise ConnectionAbortedError

    with calm.client() as http, pytest.raises(ConnectionAbortedError):
        http.post(f"/api/blobs/{digest_of(weights)}", content=halting())
    wait_until(lambda: calm.model_files() == [], "the beginning is thrown away")
    head = f"POST /api/blobs/{digest_of(weights)} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nabc"
    assert raw_status(calm, head.encode()) == 408
    wait_until(lambda: calm.model_files() == [], "the beginning is thrown away")


def raw_status(gateway: GatewayProcess, data: bytes) -> int:
    url = httpx.URL(gateway.url)
    with socket.create_connection((url.host, url.port or 80), timeout=WITHIN_S) as connection:
        connection.sendall(data)
        return answer_on(connection)[0]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"from": "/etc/passwd"}, "not opened"),
        ({"from": "/no/such/file"}, "not opened"),
        ({"from": "./x.gguf"}, "not opened"),
        ({"modelfile": "FROM /etc/passwd"}, "not opened"),
        ({"path": "/etc/passwd"}, "not opened"),
        ({"modelfile": "FROM a\nFROM b"}, "second FROM"),
        ({"modelfile": "nonsense"}, "no command"),
        ({"files": {"../x.gguf": "sha256:" + "0" * 64}}, "files"),
        ({"files": {"x.gguf": "sha256:../../x"}}, "digest"),
        ({"files": {"x.gguf": "sha256:" + "0" * 64}}, "upload"),
        ({}, "from"),
        ({"from": "a", "files": {"x.gguf": "sha256:" + "0" * 64}}, "either"),
        ({"from": "a", "quantize": "q4_0"}, "not quantized"),
        ({"from": "a", "adapters": {"a": "sha256:" + "0" * 64}}, "adapter add"),
        ({"from": "a", "template": "{{ .Prompt }}"}, "Go template"),
        ({"from": "a", "template": "{% if %}"}, "template"),
        ({"from": "a", "parameters": {"num_keep": 4}}, "num_keep"),
        ({"from": "a", "parameters": {"what": 1}}, "what"),
        ({"from": "a", "messages": [{"role": "tool", "content": "x"}]}, "messages"),
        ({"from": "a", "system": "x" * 70_000}, "system"),
    ],
)
def test_what_cannot_be_made_is_refused_and_nothing_is_done(
    calm: GatewayProcess, body: dict[str, Any], words: str
) -> None:
    reply = calm.post("/api/create", {"model": "mario", "stream": False} | body)
    assert reply.status_code == 400, reply.text
    assert words in reply.json()["error"]
    assert calm.model_files() == []


@pytest.mark.parametrize("name", ["../x", "a/b/c", "/etc/passwd", "x" * 300, "a b", "é", "x:../y", "x@mlx"])
def test_hostile_names_are_refused_everywhere(calm: GatewayProcess, name: str) -> None:
    for path, body in (
        ("/api/create", {"model": name, "from": "a"}),
        ("/api/copy", {"source": "a", "destination": name}),
    ):
        assert calm.post(path, body).status_code == 400
    with calm.client() as http:
        assert http.request("DELETE", "/api/delete", json={"name": name}).status_code in {400, 404}
    assert calm.model_files() == []


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("nobody:1b", 200, "file does not exist"),
        ("../../etc/passwd", 400, "ollama"),
        ("/etc/passwd", 400, "name"),
        ("http://169.254.169.254/x", 400, "name"),
        ("hf.co/x", 400, "repository"),
        ("x" * 3000, 400, "model"),
        ("", 400, "model"),
    ],
)
def test_names_that_cannot_be_pulled_are_told_in_ollamas_shape(
    calm: GatewayProcess, name: str, status: int, words: str
) -> None:
    reply = calm.post("/api/pull", {"model": name})
    assert reply.status_code == status
    last = json.loads(reply.text.strip().splitlines()[-1])
    assert list(last) == ["error"]
    assert words in last["error"].lower()
    assert calm.model_files() == []
