"""A real gateway over TLS: unmodified clients that trust an authority of their own, renewals, the command line."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import openai
import pytest
from websockets.sync.client import connect

from registry.scan import register_path
from registry.store import Registry
from router.bench.plan.scenarios import ScenarioRequest
from router.bench.run.client import OurServer, make_own_http, stream_answer
from router.config.paths import Paths
from router.tls.pair import PairFiles
from tests.support.certificates import RSA, Authority
from tests.support.gateway_process import GatewayProcess, run_cli, sse_events
from tests.support.waiting import WITHIN_S, wait_until

pytestmark = pytest.mark.slow

CHAT: Final[dict[str, Any]] = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}


class Server:
    """A gateway with a certificate that `authority` has signed, on the fake engine, without a unix socket."""

    def __init__(self, folder: Path, tiny: Path) -> None:
        self.home, self.gates = folder / "home", folder / "gates"
        self.gates.mkdir()
        self.authority = Authority(folder)
        self.files = self.renew()
        paths = Paths.under(self.home)
        paths.ensure_folders()
        with Registry(paths.registry_db) as registry:
            register_path(registry, tiny, name="tiny")
        server = {"tls_cert_file": str(self.files.certificate), "tls_key_file": str(self.files.key)}
        self.config: dict[str, Any] = {"server": {**server, "unix_socket": None}, "standby": False}
        self.gateway = GatewayProcess(
            self.home,
            config=self.config,
            fake_options={"answer_tokens": 8, "gates": str(self.gates)},
            trusting=self.authority.trusting(),
        )

    def renew(self, **options: Any) -> PairFiles:
        return self.authority.install(self.authority.make(**options))

    @property
    def port(self) -> int:
        return httpx.URL(self.gateway.url).port or 0

    def certificate(self) -> dict[str, Any]:
        """Return what a new client is shown, whoever it is for."""
        context = self.authority.trusting()
        context.check_hostname = False
        with (
            socket.create_connection(("127.0.0.1", self.port), WITHIN_S) as sock,
            context.wrap_socket(sock) as wrapped,
        ):
            return dict(wrapped.getpeercert() or {})

    def names(self) -> set[str]:
        return {name for _, name in self.certificate()["subjectAltName"]}

    def log(self) -> str:
        return (self.home / "stderr.txt").read_text()


@pytest.fixture
def server(tmp_path: Path, tiny_gguf: Path) -> Iterator[Server]:
    server = Server(tmp_path, tiny_gguf)
    yield server
    assert server.gateway.stop() == 0


def test_clients_that_trust_the_authority_are_served(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert server.gateway.url.startswith("https://127.0.0.1:")
    assert server.gateway.status()["url"] == server.gateway.url
    monkeypatch.setenv("SSL_CERT_FILE", str(server.authority.cert))
    with openai.OpenAI(base_url=f"{server.gateway.url}/v1", api_key="none") as client:
        answer = client.chat.completions.create(**CHAT)
        assert answer.choices[0].message.content
        pieces = list(client.chat.completions.create(**CHAT, stream=True))
        assert pieces[-1].choices[0].finish_reason == "stop"
    assert httpx.get(f"{server.gateway.url}/health").status_code == 200
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{server.gateway.url}/health", trust_env=False)


def test_a_websocket_is_served(server: Server) -> None:
    url = f"wss://localhost:{server.port}/v1/responses"
    with connect(url, ssl=server.authority.trusting(), compression=None) as client:
        client.send(json.dumps({"type": "response.create", "model": "tiny", "input": "hi"}))
        while (event := json.loads(client.recv(WITHIN_S)))["type"] != "response.completed":
            assert event["type"].startswith("response.")


def test_a_renewal_in_mid_stream_cuts_nothing_and_counts_for_who_comes_next(server: Server) -> None:
    with server.gateway.client() as client:
        gate = server.gates / "token-3"
        gate.touch()
        with client.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as stream:
            events = sse_events(stream.iter_lines())
            next(events)
            server.renew(kind=RSA, names="DNS:localhost,DNS:renewed.example")
            wait_until(lambda: "renewed.example" in server.names(), "the renewal counts")
            gate.unlink()
            assert list(events)[-1] == "[DONE]"
        assert client.get("/health").status_code == 200


def test_half_a_renewal_and_what_is_no_certificate_change_nothing(server: Server) -> None:
    before = server.certificate()
    other = server.authority.make(names="DNS:localhost,DNS:renewed.example")
    server.files.certificate.write_bytes(other.certificate.read_bytes())
    os.kill(server.gateway.pid, signal.SIGHUP)
    wait_until(lambda: "is not the key of the first certificate" in server.log(), "the half is refused")
    assert server.certificate() == before
    server.files.key.write_bytes(b"nonsense")
    os.kill(server.gateway.pid, signal.SIGHUP)
    wait_until(lambda: "has no private key in PEM form" in server.log(), "the nonsense is refused")
    assert server.certificate() == before
    server.files.key.write_bytes(other.key.read_bytes())
    wait_until(lambda: "renewed.example" in server.names(), "the whole pair counts, also without an order")


def test_a_change_of_the_config_reads_the_certificate_again(server: Server) -> None:
    before = server.certificate()
    server.files.key.write_bytes(b"nonsense")
    changed = {**server.config, "limits": {"max_queue": 7}}
    (server.home / "config" / "server.yaml").write_text(json.dumps(changed))
    wait_until(lambda: "has no private key in PEM form" in server.log(), "it was read")
    assert server.certificate() == before, "what is no key changes nothing"
    keys = {each["key"]: each["value"] for each in server.gateway.get("/v1/mlxr/config")["keys"]}
    assert keys["limits.max_queue"] == 7, "the rest of the change counts"


def test_the_command_line_trusts_its_own_server_and_no_other(server: Server) -> None:
    """By whatever name the certificate is for, and not one that the same authority signed for somebody else."""
    server.renew(names="DNS:elsewhere.example")
    wait_until(lambda: server.names() == {"elsewhere.example"}, "the renewal counts")
    done = run_cli(server.home, "ps")
    assert done.returncode == 0, done.stderr
    assert server.gateway.url in done.stdout
    assert run_cli(server.home, "run", "tiny", "hi").returncode == 0
    instance = server.home / "data" / "gateway.json"
    told = json.loads(instance.read_text())
    other = server.authority.make(names="DNS:localhost,IP:127.0.0.1").certificate
    instance.write_text(json.dumps(told | {"cert_file": str(other)}))
    refused = run_cli(server.home, "ps")
    assert refused.returncode == 1
    assert "CERTIFICATE_VERIFY_FAILED" in refused.stderr
    assert "Traceback" not in refused.stderr


async def test_a_benchmark_measures_over_tls(server: Server) -> None:
    own = OurServer(url=server.gateway.url, cert_file=str(server.files.certificate), unix_socket="/nowhere")
    asked = ScenarioRequest(messages=({"role": "user", "content": "hi"},), max_tokens=8, seed=0)
    async with await make_own_http(own) as http:
        answer = await stream_answer(http, asked, model="tiny", headers={})
    assert (answer.error, answer.num_output_tokens) == (None, 8)


def test_who_asks_by_plain_http_is_closed(server: Server) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"http://127.0.0.1:{server.port}/health", trust_env=False)
    with server.gateway.client() as client:
        assert client.get("/health").status_code == 200
    assert server.log() == "", "warnings and errors alone stand there"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--tls-cert-file", "cert.pem"), "server.tls_cert_file is set and server.tls_key_file is not"),
        (("--tls-key-file", "key.pem"), "server.tls_key_file is set and server.tls_cert_file is not"),
    ],
)
def test_half_a_pair_is_a_mistake_of_the_config(tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    refused = run_cli(tmp_path / "home", "serve", *arguments)
    assert refused.returncode == 78
    assert told in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_pair_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files = PairFiles(authority.make().certificate, authority.make().key)
    pair = ("--tls-cert-file", str(files.certificate), "--tls-key-file", str(files.key))
    refused = run_cli(tmp_path / "home", "serve", "--port", "0", *pair)
    assert refused.returncode == 1
    last = refused.stderr.strip().splitlines()[-1]
    assert "is not the key of the first certificate" in last
    assert "Traceback" not in refused.stderr
