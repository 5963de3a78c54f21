"""What makes two requests the same one, sent again, and what is kept of an answer for the second. No I/O.

Clients that time out close their connection and send the request once more, after half a second or so (OpenAI's client
after 0.375 to 0.5 s). Whether the first one's answer may still be taken over is decided in `requests`.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

from router.http.headers import (
    CONTEXT_HEADER,
    ENGINE_HEADER,
    IMAGE_SIDE_HEADER,
    LOAD_HEADER,
    PRIORITY_HEADER,
    PROGRESS_HEADER,
    SESSION_HEADER,
    SPECULATION_HEADER,
    STRICT_HEADER,
    TIMEOUT_HEADER,
    WORKER_HEADER,
)

_OWN: Final = (
    *(ENGINE_HEADER, LOAD_HEADER, PRIORITY_HEADER, PROGRESS_HEADER),
    *(TIMEOUT_HEADER, SESSION_HEADER, STRICT_HEADER, IMAGE_SIDE_HEADER, SPECULATION_HEADER),
    *(CONTEXT_HEADER, WORKER_HEADER),
)
RELEVANT_HEADERS: Final = ("authorization", "x-api-key", *(name.lower() for name in _OWN))
"""Those that say who asks and how to answer. Others differ when a client tries again, such as its count of retries."""

MAX_KEPT_BYTES: Final = 1 << 20
"""Of one stream: about 5,000 chunks of a token each. A longer one can no longer be given from its start."""


def fingerprint(path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Return what only the same request has.

    Args:
        headers: Names in any case; of keys only the digest is kept.

    Returns:
        32 bytes.
    """
    parts = [path.encode(), *(headers.get(name, "\0").encode("utf-8", "surrogateescape") for name in RELEVANT_HEADERS)]
    digest = hashlib.blake2b(digest_size=32)
    for part in (*parts, body):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


class KeptAnswer:
    """The chunks of a stream from its start, up to a size.

    Attributes:
        chunks: Everything so far, or nothing once it was too much.
    """

    def __init__(self, max_bytes: int = MAX_KEPT_BYTES) -> None:
        self._num_free = max_bytes
        self.chunks: list[bytes] = []
        self.is_whole = True

    def add(self, chunk: bytes) -> None:
        """Keep one more chunk."""
        if not self.is_whole:
            return
        self._num_free -= len(chunk)
        self.chunks.append(chunk)
        if self._num_free < 0:
            self.is_whole = False
            self.chunks = []
