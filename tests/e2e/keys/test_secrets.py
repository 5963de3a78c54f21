"""What nobody is shown."""

from typing import Final

from tests.support.gateway_process import run_cli
from tests.support.keyed_server import WRONG, KeyedServer

ASKED: Final = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}


def test_nothing_secret_stands_in_what_the_server_writes_and_shows(server: KeyedServer) -> None:
    shown: list[str] = []
    with server.client(kind="admin") as client:
        paths = (
            *("/v1/mlxr/status", "/v1/mlxr/requests", "/v1/mlxr/capabilities", "/schema", "/health", "/nothing"),
            *("/metrics", "/v1/metrics", "/v1/mlxr/bench"),
            *("/v1/mlxr/keys", "/v1/mlxr/keys/me", "/v1/mlxr/keys/usage"),
        )
        headers = {"User-Agent": server.secrets["admin"]}
        answer = client.post("/v1/chat/completions", json={"model": "tiny", **ASKED}, headers=headers)
        assert answer.status_code == 200
        answers = [client.get(path, headers=headers) for path in paths]
        assert [each.status_code for each in answers if each.url.path != "/nothing"] == [200] * (len(paths) - 1)
        shown += [each.text for each in answers]
        with client.stream("GET", "/v1/mlxr/events", headers=headers) as response:
            shown.append(next(line for line in response.iter_lines() if line.startswith("data: ")))
    for verb in (("config", "show"), ("keys",), ("keys", "list", "--json"), ("keys", "usage"), ("doctor",)):
        done = run_cli(server.home, *verb)
        shown += [done.stdout, done.stderr]
    files = [path for path in server.home.rglob("*") if path.is_file()]
    held = b"".join(path.read_bytes() for path in files) + "".join(shown).encode()
    for secret in {*server.secrets.values()} - {WRONG}:
        assert secret.encode() not in held
        assert secret[20:].encode() not in held
