"""The config of the HTTP front: where it listens, what it lets in, how long it waits for a client.

Not here: the other sections (`schema.py`).
"""

import ipaddress
from typing import Annotated

import msgspec
from msgspec import Meta

from registry.settings import NonEmpty
from router.config.background import Seconds

MAX_SOCKET_PATH_CHARS = 103
"""Longest unix socket path: `sun_path` is 104 bytes on macOS with its NUL. Source: unix(4)."""

Port = Annotated[int, Meta(ge=0, le=65_535)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
AbsolutePath = Annotated[str, Meta(pattern=r"^(/|~/)", max_length=4096, description="a path that begins with / or ~/")]
SocketPath = Annotated[
    str,
    Meta(
        pattern=r"^(auto$|/|~/)",
        max_length=MAX_SOCKET_PATH_CHARS,
        description=f"auto, or a path that begins with / or ~/, of at most {MAX_SOCKET_PATH_CHARS} characters",
    ),
]
PageOrigin = Annotated[
    str,
    Meta(
        # Only an application's scheme may have no host (file://) or stand for all hosts: ids of extensions differ per
        # installation.
        pattern=r"^(https?://[^/\s*]+|(?!https?:)[a-z][a-z0-9+.-]*://([^/\s*]*|\*))$",
        description="an origin like http://localhost:3000 or app://obsidian.md, without a path, or moz-extension://*",
    ),
]


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address.

    Args:
        host: An IPv4 or IPv6 address, brackets allowed, or a name. Names other than `localhost` are not looked up and
            count as reachable.

    Returns:
        True for 127.0.0.0/8, ::1 and `localhost`.
    """
    bare = host.removeprefix("[").removesuffix("]")
    if bare.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The HTTP front: where it listens, what it lets in, how long it waits for a client.

    Attributes:
        host: Address or name to bind; `localhost` is 127.0.0.1 and ::1.
        port: TCP port; 0 = any free one.
        unix_socket: Path of a unix socket to listen on as well; `auto` = in mlxr's own folder, None = none.
        allowed_hosts: Host header names accepted beside loopback names and `host`.
        allowed_origins: Origins of pages that may call, e.g. `http://localhost:3000` or `app://obsidian.md`.
        strict_fields: Whether a request with a field that nobody knows is refused (400), instead of served without it.
        insecure_bind: Whether whoever reaches an address beyond this machine may ask without a key, as long as no key
            was made.
        api_key_file: A file whose first line is a key that may everything, or None.
        tls_cert_file: PEM: the server's certificate, then those of who signed it; TCP is served over TLS then.
        tls_key_file: PEM: its key, without a passphrase.
        max_body_bytes: Largest request body.
        max_upload_bytes: Largest file that may be uploaded to make a model of.
        header_timeout_s: From the connection's first byte to the end of the headers.
        body_timeout_s: From the end of the headers to the end of the body.
        idle_timeout_s: Idle keep-alive connection.
        write_stall_s: A client that takes nothing of its answer for this long is cut off.
        drain_timeout_s: What running requests get to finish on shutdown.
        keepalive_s: Silence on a stream after which a comment line is sent.
        max_connections: Open connections.
    """

    host: NonEmpty = "localhost"
    port: Port = 11434
    unix_socket: SocketPath | None = "auto"
    allowed_hosts: tuple[NonEmpty, ...] = ()
    allowed_origins: tuple[PageOrigin, ...] = ()
    strict_fields: bool = False
    insecure_bind: bool = False
    api_key_file: AbsolutePath | None = None
    tls_cert_file: AbsolutePath | None = None
    tls_key_file: AbsolutePath | None = None
    max_body_bytes: Annotated[int, Meta(ge=1024, le=1 << 30)] = 33_554_432
    max_upload_bytes: Annotated[int, Meta(ge=1024, le=1 << 46)] = 68_719_476_736
    header_timeout_s: Seconds = 10.0
    body_timeout_s: Seconds = 30.0
    idle_timeout_s: Seconds = 75.0
    write_stall_s: Seconds = 60.0
    drain_timeout_s: Seconds = 30.0
    keepalive_s: Seconds = 10.0
    max_connections: Count = 2048

    def __post_init__(self) -> None:
        """Refuse half a pair.

        Raises:
            ValueError: A certificate without its key, or the other way round.
        """
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            there, missing = ("cert", "key") if self.tls_key_file is None else ("key", "cert")
            raise ValueError(
                f"server.tls_{there}_file is set and server.tls_{missing}_file is not: set both, which may be the same "
                "file, for TLS, or none"
            )
