"""Servers that need keys, the unix socket and its token, keys without a store."""

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.support import gateway_process
from tests.support.gateway_process import GatewayProcess, environment, run_cli
from tests.support.keyed_server import KeyedServer
from tests.support.waiting import WITHIN_S

TOKEN: Final = "run/mlxr.token"


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


def test_the_command_line_needs_no_key_on_its_own_server(server: KeyedServer) -> None:
    for verb in (("ps",), ("requests",), ("stop", "tiny"), ("batch", "list"), ("run", "tiny", "hi")):
        done = run_cli(server.home, *verb)
        assert "API key" not in done.stderr
        assert done.returncode == 0, (verb, done.stderr)


def test_the_token_opens_the_socket_and_nothing_else(server: KeyedServer) -> None:
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
                "s.sendall(b'GET /health HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n'); "
                "print(b''.join(iter(lambda: s.recv(4096), b'')).decode())"
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
