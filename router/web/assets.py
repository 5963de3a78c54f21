"""The page's files, kept in memory from their first use on: our own (`static/`), and the libraries' (`vendor/`).

The libraries are built at set-up (`scripts/web`) and may be missing. Not here: headers and routes.
"""

import gzip
import hashlib
import re
from pathlib import Path
from typing import Final, NamedTuple

INDEX: Final = "index.html"
BUILD_COMMAND: Final = "scripts/web"
"""What builds the libraries."""

ROOT: Final = b"/ui/"
VERSION_SIGN: Final = "@"
"""Begins the part of a file's address that changes with the files: `/ui/@3f0c.../app.js`."""

_VENDOR: Final = "vendor/"
_VERSION_CHARS: Final = 16
_MEDIA_TYPES: Final = {
    "css": b"text/css; charset=utf-8",
    "html": b"text/html; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "svg": b"image/svg+xml",
    "txt": b"text/plain; charset=utf-8",
    "woff2": b"font/woff2",
}
# No dots but the one before the ending: no name leads out of the folders.
_NAME: Final = re.compile(r"(?:[A-Za-z0-9_-]{1,64}/){0,3}[A-Za-z0-9_-]{1,64}\.(?P<ending>[a-z0-9]{2,5})", re.ASCII)


class Asset(NamedTuple):
    """A file of the page; `gzipped` is None where that saves nothing. `etag` is quoted, as in the header."""

    body: bytes
    gzipped: bytes | None
    media_type: bytes
    etag: bytes


class Assets:
    """Finds the page's files; one that changed on the disk is read again.

    Args:
        folder: Has `static/` and `vendor/`.
    """

    def __init__(self, folder: Path = Path(__file__).parent) -> None:
        self._folder = folder
        self._kept: dict[str, tuple[tuple[int, int], Asset]] = {}
        self._page: tuple[str, Asset] | None = None

    @property
    def has_libraries(self) -> bool:
        """Whether the libraries were built, without which the page does not run."""
        return (self._folder / _VENDOR / "preact.js").is_file()

    def is_current(self, version: str) -> bool:
        """Tell whether a version is the one that the page names."""
        return self._page is not None and self._page[0] == version

    def _version(self) -> str:
        """Return another one when any file has changed: what a browser has under an address with it never grows old."""
        digest = hashlib.sha256()
        for folder in (self._folder / "static", self._folder / _VENDOR):
            for path in sorted(folder.rglob("*.*")):
                stat = path.stat()
                digest.update(f"{path}\0{stat.st_mtime_ns}\0{stat.st_size}\0".encode())
        return digest.hexdigest()[:_VERSION_CHARS]

    def page(self) -> Asset | None:
        """Return the page, which names its files by addresses with the version; theirs are relative to these."""
        version = self._version()
        if self._page is None or self._page[0] != version:
            plain = self.find(INDEX)
            if plain is None:
                return None
            root = ROOT + f"{VERSION_SIGN}{version}/".encode()
            body = re.sub(rb'((?:href|src)=")' + ROOT, lambda match: match[1] + root, plain.body)
            self._page = (version, _asset(body, plain.media_type))
        return self._page[1]

    def find(self, name: str) -> Asset | None:
        """Return a file by its path below /ui/, or None.

        Args:
            name: E.g. `app.js`, `vendor/preact.js`.
        """
        match = _NAME.fullmatch(name)
        media_type = _MEDIA_TYPES.get(match["ending"]) if match is not None else None
        if media_type is None:
            return None
        path = self._folder / name if name.startswith(_VENDOR) else self._folder / "static" / name
        try:
            stat = path.stat()
            version = (stat.st_mtime_ns, stat.st_size)
            kept = self._kept.get(name)
            if kept is None or kept[0] != version:
                kept = self._kept[name] = (version, _asset(path.read_bytes(), media_type))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        return kept[1]


def _asset(body: bytes, media_type: bytes) -> Asset:
    gzipped = gzip.compress(body, 6, mtime=0) if media_type != _MEDIA_TYPES["woff2"] else body
    etag = b'"' + hashlib.sha256(body).hexdigest()[:32].encode() + b'"'
    return Asset(body, gzipped if len(gzipped) < len(body) else None, media_type, etag)
