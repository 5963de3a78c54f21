"""Data folders, config files and proxies as users have them (what held; c16)."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.cases.case import Case, Server
from tests.support.gateway_process import GatewayProcess, environment, run_cli
from tests.support.waiting import WITHIN_S

_STRANGE: Final = 'it\'s "my" höme 日本 😀 ' + "long" * 30
_DEAD: Final = "127.0.0.1:1"


def _served(home: Path) -> None:
    gateway = GatewayProcess(home)
    try:
        assert gateway.get("/health")["status"] == "ok"
    finally:
        assert gateway.stop() == 0


def _served_from(name: str, write: Callable[[Path], Path]) -> Case:
    """Return the case of a server on the home that `write` makes in an empty folder."""

    def run(_: Server) -> None:
        with tempfile.TemporaryDirectory() as folder:
            _served(write(Path(folder)))

    return Case(row="held", name=name, run=run)


def _refused_from(name: str, write: Callable[[Path], Path]) -> Case:
    """Return the case of a home that no server can have: one sentence says so."""

    def run(_: Server) -> None:
        with tempfile.TemporaryDirectory() as folder:
            ended = run_cli(write(Path(folder)), "serve", "--port", "0")
            assert ended.returncode not in {0, -9}, ended
            assert "Traceback" not in ended.stderr
            assert len(ended.stderr.strip().splitlines()) <= 3, ended.stderr

    return Case(row="held", name=name, run=run)


def _made(folder: Path, name: str = "home") -> Path:
    home = folder / name
    home.mkdir()
    return home


def _with_config(folder: Path, content: bytes) -> Path:
    home = _made(folder)
    (home / "config").mkdir()
    (home / "config" / "server.yaml").write_bytes(content)
    return home


def _stale(folder: Path) -> Path:
    """Leave behind what a killed server leaves, behind a link and with a config as Windows' editors write it."""
    home = _with_config(folder, b"\xef\xbb\xbfengine: auto\r\n")
    (home / "data").mkdir()
    (home / "data" / "gateway.json").write_text(json.dumps({"pid": 999_999, "address": "http://127.0.0.1:1"}))
    (home / "data" / "gateway.lock").touch()
    (folder / "link").symlink_to(home)
    return folder / "link"


def _file(folder: Path) -> Path:
    (folder / "home").write_text("")
    return folder / "home"


def _behind(proxies: dict[str, str]) -> Case:
    """Return the case of the command line beside proxies that are not there: loopback never goes through them."""

    def run(server: Server) -> None:
        ended = subprocess.run(
            [sys.executable, "-P", "-m", "router.cli", "ps"],
            env=environment(server.gateway.home) | proxies,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr

    return Case(row="held", name=f"a proxy by {', '.join(proxies)}", run=run)


CASES: Final[list[Case]] = [
    _served_from("a home of blanks, quotes, emoji and many letters", lambda folder: _made(folder, _STRANGE)),
    _served_from("a linked home that a killed server left", _stale),
    _served_from("an empty config", lambda folder: _with_config(folder, b"")),
    _refused_from("a home that is a file", _file),
    _refused_from("a config with a tab", lambda folder: _with_config(folder, b"server:\n\tport: 1\n")),
    _behind({"HTTP_PROXY": f"http://{_DEAD}", "http_proxy": _DEAD}),
    _behind({"ALL_PROXY": f"socks5h://{_DEAD}", "NO_PROXY": "10.0.0.0/8, [::1]"}),
]
