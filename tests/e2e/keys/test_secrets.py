"""What nobody is shown."""

from tests.support.gateway_process import run_cli
from tests.support.keyed_server import WRONG, KeyedServer


def test_nothing_secret_stands_in_what_the_server_writes_and_shows(server: KeyedServer) -> None:
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
