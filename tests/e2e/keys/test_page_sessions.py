"""How the page gets in where keys are: `mlxr ui`, its code, and the session that it opens."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.support.gateway_process import environment, run_cli
from tests.support.keyed_server import KeyedServer
from tests.support.waiting import WITHIN_S

CODES: Final = "/v1/mlxr/ui/codes"
SESSION: Final = "/v1/mlxr/ui/session"
SESSIONS: Final = "/v1/mlxr/ui/sessions"


def code_for(server: KeyedServer, kind: str) -> dict[str, Any]:
    with server.client(kind=kind) as client:
        answer = client.post(CODES)
        assert answer.headers["cache-control"] == "no-store"
        made: dict[str, Any] = answer.json()
        return made


def redeem(server: KeyedServer, code: str, **headers: str) -> httpx.Response:
    with server.client() as stranger:
        return stranger.post(SESSION, json={"code": code}, headers=headers)


def session_of(server: KeyedServer, kind: str) -> dict[str, Any]:
    answer = redeem(server, code_for(server, kind)["code"], **{"User-Agent": f"tests for {kind}"})
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    opened: dict[str, Any] = answer.json()
    server.secrets[opened["id"]] = opened["token"]
    return opened


def test_a_code_opens_one_session_with_the_rights_of_its_key(server: KeyedServer) -> None:
    made = code_for(server, "inference")
    assert made["url"] == f"{server.gateway.url}/ui/"
    opened = redeem(server, made["code"])
    assert opened.status_code == 200
    again = redeem(server, made["code"])
    assert (again.status_code, again.json()["error"]["code"]) == (401, "invalid_api_key")
    with server.client(kind="inference") as client:
        assert client.get(f"{CODES}/{made['id']}").json() == {"state": "used"}
        key = client.get("/v1/mlxr/keys/me").json()
    server.secrets["opened"] = opened.json()["token"]
    with server.client(kind="opened") as page:
        own = page.get("/v1/mlxr/keys/me").json()
        assert (own["id"], own["scope"], own["session_id"]) == (key["id"], "inference", opened.json()["id"])
        assert page.get("/v1/models").status_code == 200
        assert page.get("/v1/mlxr/status").status_code == 403, "no more than its key"
        refused = page.post(CODES)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "session_not_allowed")


def test_strangers_send_no_large_bodies(server: KeyedServer) -> None:
    with server.client() as stranger:
        answer = stranger.post(SESSION, content=b'{"code": "' + b"x" * 2000 + b'"}')
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


def test_sessions_are_seen_and_ended_by_their_key_and_by_administrators(server: KeyedServer) -> None:
    mine, others = session_of(server, "models"), session_of(server, "inference")
    with server.client(kind=mine["id"]) as page, server.client(kind="admin") as admin:
        seen = {each["id"]: each["is_current"] for each in page.get(SESSIONS).json()["sessions"]}
        assert seen[mine["id"]] is True
        assert others["id"] not in seen
        assert page.delete(f"{SESSIONS}/{others['id']}").status_code == 404
        listed = {each["id"]: each["client"] for each in admin.get(SESSIONS).json()["sessions"]}
        assert (listed[mine["id"]], listed[others["id"]]) == ("tests for models", "tests for inference")
        assert admin.delete(f"{SESSIONS}/{others['id']}").status_code == 200
        assert page.delete(f"{SESSIONS}/{mine['id']}").status_code == 200
        assert page.get("/v1/models").status_code == 401
    with server.client(kind=others["id"]) as page:
        assert page.get("/v1/models").status_code == 401


def test_what_is_made_by_a_session_is_its_keys(server: KeyedServer) -> None:
    kind = server.key("pages")
    opened = session_of(server, kind)
    with server.client(kind=opened["id"]) as page, server.client(kind=kind) as client:
        made = page.post("/v1/conversations", json={}).json()["id"]
        assert client.get(f"/v1/conversations/{made}").status_code == 200
    with server.client(kind="inference") as stranger:
        assert stranger.get(f"/v1/conversations/{made}").status_code == 404


def test_the_command_line_lists_and_ends_sessions(server: KeyedServer) -> None:
    opened = session_of(server, "inference")
    assert opened["id"] in run_cli(server.home, "keys", "sessions").stdout
    assert run_cli(server.home, "keys", "end", opened["id"]).returncode == 0
    with server.client(kind=opened["id"]) as page:
        assert page.get("/v1/models").status_code == 401
    assert "There is no session" in run_cli(server.home, "keys", "end", opened["id"]).stderr


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1:1"])
def test_the_page_of_another_program_opens_no_session(server: KeyedServer, origin: str) -> None:
    code = code_for(server, "admin")["code"]
    refused = redeem(server, code, Origin=origin)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "origin_not_allowed")
    assert redeem(server, code, Origin=server.gateway.url).status_code == 200, "which it did not use up"


def test_ui_prints_an_address_that_lets_in_as_the_owner(server: KeyedServer) -> None:
    done = run_cli(server.home, "ui", "--print")
    match = re.fullmatch(rf"{re.escape(server.gateway.url)}/ui/#code=(\S{{43}})\n", done.stdout)
    assert match is not None, done.stderr
    opened = redeem(server, match[1]).json()
    server.secrets["owner"] = opened["token"]
    with server.client(kind="owner") as page:
        own = page.get("/v1/mlxr/keys/me").json()
        assert (own["id"], own["name"], own["scope"]) == (None, "owner", "admin")
    kept = b"".join(file.read_bytes() for file in server.home.rglob("*") if file.is_file())
    assert opened["id"].encode() in kept, "the session is"
    assert not any(secret.encode() in kept for secret in (match[1], opened["token"]))


# What a browser does with the file: it reads the address there, which stands on no command line.
_BROWSER: Final = """
import html, pathlib, re, stat, sys, urllib.parse, urllib.request
path = pathlib.Path(urllib.parse.unquote(urllib.parse.urlsplit(sys.argv[1]).path))
assert stat.S_IMODE(path.stat().st_mode) == 0o600
url, code = re.search(r'url=([^"]+)"', html.unescape(path.read_text()))[1].split("#code=")
body = ('{"code": "' + code + '"}').encode()
session = urllib.request.urlopen(urllib.request.Request(url.replace("/ui/", "/v1/mlxr/ui/session"), body)).read()
pathlib.Path(sys.argv[0] + ".done").write_bytes(session)
"""


def test_ui_opens_a_browser_by_a_private_file_that_is_gone_afterwards(server: KeyedServer, tmp_path: Path) -> None:
    browser = tmp_path / "browser.py"
    browser.write_text(_BROWSER)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "router.cli", "ui"],
        env=environment(server.home) | {"BROWSER": f"{sys.executable} {browser} %s"},
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert b'"token"' in (tmp_path / "browser.py.done").read_bytes()
    assert list((server.home / "run").glob("ui-*")) == []


def test_a_code_for_a_phone_needs_a_server_in_the_network(server: KeyedServer) -> None:
    refused = run_cli(server.home, "ui", "--qr")
    assert refused.returncode == 1
    assert "listens on this machine only" in refused.stderr


def test_a_server_in_the_network_shows_a_code_for_a_phone(tmp_path: Path, tiny_gguf: Path) -> None:
    config = {"server": {"host": "0.0.0.0", "unix_socket": str(tmp_path / "s.sock")}}  # noqa: S104 - the test is about it
    server = KeyedServer(tmp_path / "home", tiny_gguf, config=config)
    try:
        shown = run_cli(server.home, "ui", "--qr")
        *code, address = shown.stdout.splitlines()
        assert (shown.returncode, len(code) > 10, set("".join(code)) <= set(" █▀▄")) == (0, True, True), shown.stderr
        assert re.fullmatch(r"http://\d+\.\d+\.\d+\.\d+:\d+/ui/#code=\S{43}", address)
    finally:
        assert server.gateway.stop() == 0


def test_without_keys_the_page_needs_no_code_and_ui_starts_a_server(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "config").mkdir(parents=True)
    (home / "config" / "server.yaml").write_text("server: {port: 0}\n")
    try:
        done = run_cli(home, "ui", "--print")
        assert re.fullmatch(r"http://(127\.0\.0\.1|\[::1\]):\d+/ui/\n", done.stdout), done.stderr
        assert "Started the server" in done.stderr
    finally:
        _stop(home)


def _stop(home: Path) -> None:
    """End the server of a home, if one runs."""
    import msgspec
    import psutil

    from router.config.instance import RunningInstance

    for file in home.rglob("gateway.json"):
        process = psutil.Process(msgspec.json.decode(file.read_bytes(), type=RunningInstance).pid)
        process.terminate()
        process.wait(WITHIN_S)
