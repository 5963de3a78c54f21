"""The limits of the HTTP server: what a client may send, how long it may take, and how many the system lets in."""

import logging
import resource
from typing import Final

import msgspec

OTHER_FILES: Final = 128
"""Open files beside connections: databases, logs, workers, pulls."""

MAX_OPEN_FILES: Final = 10_240
"""The most that macOS lets a program ask for, whatever its hard limit. Source: <sys/syslimits.h>, OPEN_MAX."""

logger = logging.getLogger(__name__)

UPLOAD_PREFIX = (b"/api/blobs/", b"/v1/files")
"""Below these paths a body is a file, that is written to disk as it comes; how long it may be is the route's to say."""

UPLOAD_STEP_BYTES = 64 << 10
"""What has to come of a file within `body_timeout_s`."""


class HttpLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one server; the config fills them.

    Attributes:
        max_body_bytes: Largest request body. 32 MiB holds a 20 MiB image in base64 with its prompt.
        max_upload_bytes: The same below `UPLOAD_PREFIX`, where bodies are files.
        max_header_bytes: Names and values of all headers of a request.
        header_timeout_s: From the first moment of a connection, or the first byte of a later request, to the end of
            the headers.
        body_timeout_s: From the end of the headers to the end of the body; of an upload, for each `UPLOAD_STEP_BYTES`.
        idle_timeout_s: How long a connection may stay open between two requests.
        write_stall_s: A client that takes nothing of its answer for this long is cut off.
        max_connections: Open connections; one more is answered 503 and closed, over TLS only closed.
    """

    max_body_bytes: int = 32 << 20
    max_upload_bytes: int = 64 << 30
    max_header_bytes: int = 32 << 10
    max_headers: int = 100
    max_url_bytes: int = 8 << 10
    header_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    idle_timeout_s: float = 75.0
    write_stall_s: float = 60.0
    max_connections: int = 2048


def affordable_connections(wanted: int) -> int:
    """Raise the process's limit of open files as far as it is needed, and return how many connections it allows."""
    limit = _raised_open_files(wanted + OTHER_FILES)
    affordable = min(wanted, max(1, limit - OTHER_FILES))
    if affordable < wanted:
        logger.warning(
            "at most %d connections at a time instead of server.max_connections: this process may open %d files "
            "(ulimit -n)",
            affordable,
            limit,
        )
    return affordable


def _raised_open_files(needed: int) -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (needed, MAX_OPEN_FILES):
        if soft == resource.RLIM_INFINITY or soft >= wanted:
            break
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        except (ValueError, OSError):
            continue
        return limit
    return needed if soft == resource.RLIM_INFINITY else soft
