"""Decides which Host and Origin headers are ours. Pure: text in, a verdict out.

Why: a server on loopback has no password, and every web page the user opens can send requests to it. A page of another
origin is told by its `Origin` (CSRF), and a page whose own name was made to resolve to 127.0.0.1 by its `Host` (DNS
rebinding, CVE-2024-28224). An IP address cannot be rebound; a name can.
"""

import ipaddress
import re

from router.config.server import is_loopback

# RFC 9112 section 3.2: Host = uri-host [ ":" port ]. No userinfo, no zone, no percent-encoding, no trailing dot.
_HOST = re.compile(
    r"(?P<name>\[[0-9a-f:.]{2,45}\]|[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*)"
    r"(?::(?P<port>[0-9]{1,5}))?"
)
_MAX_HOST_CHARS = 261  # a name of 255 and a port
_WILDCARDS = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - compared, not bound


class HostRules:
    """Which hosts and origins one server accepts.

    Args:
        bound_host: The address or name the server listens on; with a wildcard every IP address is accepted as Host.
        allowed_hosts: Further names, `name` for any port or `name:port`; compared without case.
        allowed_origins: Further origins, compared exactly, e.g. `https://ui.example` or `app://obsidian.md`;
            `SCHEME://*` stands for all of an application's scheme.
    """

    def __init__(
        self,
        bound_host: str = "127.0.0.1",
        *,
        allowed_hosts: tuple[str, ...] = (),
        allowed_origins: tuple[str, ...] = (),
    ) -> None:
        bound = bound_host.lower().strip("[]")
        self._is_wildcard = bound in _WILDCARDS
        self._bound_name = f"[{bound}]" if ":" in bound else bound
        self._allowed_hosts = frozenset(host.lower() for host in allowed_hosts)
        self._allowed_origins = frozenset(allowed_origins)

    def allows_host(self, host: str, *, is_local_socket: bool = False) -> bool:
        """Judge a Host header.

        Args:
            is_local_socket: The request came over a unix socket, which no web page reaches: any sound host will do.
        """
        match = _HOST.fullmatch(host.lower()) if len(host) <= _MAX_HOST_CHARS else None
        if match is None:
            return False
        name = match["name"]
        if is_local_socket or is_loopback(name) or name == self._bound_name:
            return True
        if self._is_wildcard and _address(name) is not None:
            return True
        return name in self._allowed_hosts or host.lower() in self._allowed_hosts

    def allows_origin(self, origin: str, host: str, *, is_encrypted: bool = False) -> bool:
        """Judge an Origin header.

        Pages served by this machine are let in whatever their port, as Ollama does: local web interfaces are how many
        people use such a server, and whoever serves pages from this machine runs programs on it already.

        Args:
            origin: Its value; `null` (sandboxed frames, files) is never allowed.
            host: The Host header of the same request, which has been judged already.
            is_encrypted: The request came over TLS: a page of the same host that did not may be somebody else's, who
                stands between the browser and that host.
        """
        if self.is_own_origin(origin, host, is_encrypted=is_encrypted):
            return True
        scheme, _, place = origin.partition("://")
        match = _HOST.fullmatch(place) if len(place) <= _MAX_HOST_CHARS else None
        return scheme in {"http", "https"} and match is not None and is_loopback(match["name"])

    def is_own_origin(self, origin: str, host: str, *, is_encrypted: bool = False) -> bool:
        """Tell whether an origin is this server's own, or one that its config names; arguments as of `allows_origin`.

        Pages of other ports of this machine are not: they may ask models, but not read what was said to them.
        """
        if origin in self._allowed_origins:
            return True
        scheme, separator, place = origin.partition("://")
        if scheme not in {"http", "https"}:
            return bool(separator) and len(place) <= _MAX_HOST_CHARS and f"{scheme}://*" in self._allowed_origins
        return (scheme == "https" or not is_encrypted) and place == host.lower()


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return None
