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

_VENDOR: Final = "vendor/"
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

    @property
    def has_libraries(self) -> bool:
        """Whether the libraries were built, without which the page does not run."""
        return (self._folder / _VENDOR / "preact.js").is_file()

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
