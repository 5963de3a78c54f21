"""`mlxr ui`: open the page in a browser, with a one-time code where keys are. Not here: the page."""

import contextlib
import html
import io
import os
import secrets
import socket
import sys
import time
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from router.cli.detach import start_detached
from router.cli.terminal.context import CommandError, current_paths
from router.cli.terminal.server import client_or_error
from router.cli.terminal.verbs import option, verb
from router.config.capability import is_private_folder
from router.config.instance import LOOPBACK_OF, read_instance
from router.config.paths import Paths
from router.config.server import is_loopback
from router.keys.sessions import PageCode, PageCodeState

if TYPE_CHECKING:
    from router.cli.client.base import Client

POLL_S: Final = 0.2
"""How often it is asked whether the page has used its code."""

_FILE_PREFIX: Final = "ui-"
_NOWHERE: Final = "192.0.2.1"
"""An address of nobody's, to which nothing is sent: the way to it tells this machine's own. Source: RFC 5737."""


@verb
@option("--print", "is_printed", is_flag=True, help="Print the address instead, e.g. for another machine's browser.")
@option("--qr", "is_qr", is_flag=True, help="Show it as a QR code for a phone; the server must listen on the network.")
def ui(is_printed: bool, is_qr: bool) -> None:
    """Open the page in a browser; start the server, without this terminal, if none runs.

    Where API keys are, the address has a code that lets one browser in, once, within a minute. Over SSH:
    `mlxr ui --print` there, `ssh -L 11434:127.0.0.1:11434 HOST` here, and the address in a browser here.

    Examples: `mlxr ui`, `mlxr ui --print`, `mlxr ui --qr`.
    """
    paths = current_paths()
    paths.ensure_folders()
    if read_instance(paths) is None:
        instance = start_detached(paths, ["serve", "--log-file-only"], os.environ)
        print(f"Started the server as process {instance.pid}; `kill {instance.pid}` stops it.", file=sys.stderr)
    with client_or_error(paths) as client:
        if is_qr:
            _check_reachable(paths)
        made = client.post("/v1/mlxr/ui/codes", PageCode, {})
        if is_qr:
            _show_qr(made)
        elif is_printed:
            print(_address(made))
            _tell_how_long(made)
        else:
            _open(paths, client, made)


def _address(made: PageCode, url: str | None = None) -> str:
    """Give the page's address; the code stands where no server, log or other page is told of it."""
    return (url or made.url) + ("" if made.code is None else f"#code={quote(made.code, safe='')}")


def _tell_how_long(made: PageCode) -> None:
    if made.code is not None:
        print(f"It lets one browser in, once, within {made.valid_s:.0f} seconds.", file=sys.stderr)


def _open(paths: Paths, client: "Client", made: PageCode) -> None:
    if made.code is None:
        if not _has_opened(made.url):
            print(f"No browser could be started; open {made.url}")
        return
    with _private_file(paths.runtime_dir, _address(made)) as file:
        if not _has_opened(file.as_uri()):
            print("No browser could be started here; the address:", file=sys.stderr)
            print(_address(made))
            _tell_how_long(made)
            return
        print("The page opens in your browser. If it does not: `mlxr ui --print`.")
        deadline = time.monotonic() + made.valid_s
        while time.monotonic() < deadline:
            if client.get(f"/v1/mlxr/ui/codes/{made.id}", PageCodeState).state != "waiting":
                return
            time.sleep(POLL_S)
    raise CommandError("No browser has opened the page; `mlxr ui --print` prints the address.")


def _has_opened(address: str) -> bool:
    with contextlib.suppress(webbrowser.Error):
        return webbrowser.open(address)
    return False


@contextlib.contextmanager
def _private_file(folder: Path, address: str) -> Iterator[Path]:
    """Write a page that only this user can read and that leads to an address: no process list has it then."""
    if not is_private_folder(folder):
        raise CommandError(f"{folder} cannot be made yours alone; `mlxr ui --print` prints the address.")
    for old in folder.glob(f"{_FILE_PREFIX}*.html"):  # of one that was killed; its code is long gone
        old.unlink(missing_ok=True)
    path = folder / f"{_FILE_PREFIX}{secrets.token_hex(8)}.html"
    shown = html.escape(address, quote=True)
    text = (
        '<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer"><title>mlxr</title>'
        f'<meta http-equiv="refresh" content="0;url={shown}"><a href="{shown}">mlxr</a>\n'
    )
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
        yield path
    finally:
        path.unlink(missing_ok=True)


def _check_reachable(paths: Paths) -> None:
    instance = read_instance(paths)
    host = "localhost" if instance is None else urlsplit(instance.url).hostname or "localhost"
    if is_loopback(host):
        raise CommandError(
            "The server listens on this machine only. For a phone make a key (`mlxr keys create NAME`), let it listen "
            "on the network (`mlxr config set server.host=0.0.0.0`) and restart it."
        )


def _show_qr(made: PageCode) -> None:
    """Show the address as others reach it as a QR code."""
    if made.code is None:
        raise CommandError(
            "The server wants no key, so whoever is in its network may use it; `mlxr keys create NAME` changes that."
        )
    import segno  # noqa: PLC0415 - here only

    address = _address(made, _network_url(made.url))
    shown = io.StringIO()
    segno.make(address, error="l", micro=False).terminal(out=shown, compact=True)
    print(shown.getvalue(), end="")
    print(address)
    if urlsplit(address).scheme == "http":
        print("It is not encrypted on its way (docs/tls.md).", file=sys.stderr)
    _tell_how_long(made)


def _network_url(url: str) -> str:
    """Put this machine's address in its network in the place of one that only it reaches."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host not in LOOPBACK_OF.values():
        return url
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((_NOWHERE, 9))
            own = str(probe.getsockname()[0])
        except OSError as exc:
            raise CommandError("This machine is in no network, as far as it knows.") from exc
    return f"{parts.scheme}://{own}:{parts.port}{parts.path}"
