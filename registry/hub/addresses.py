"""Web addresses: whose they are, whether they are public, and how they are shown. Nothing is looked up."""

import ipaddress
import re
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from registry.credentials import without_credentials

_NUMERIC: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""Last label of `2130706433` or `127.1`, which resolvers read as addresses. Source: WHATWG URL, "ends in a number"."""

_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


class Origin(NamedTuple):
    """Who is behind an address."""

    scheme: str
    host: str
    port: int | None


def origin_of(url: str) -> Origin | None:
    """Give scheme, host and port of an address; None when it is no http(s) address, or has a user in it."""
    import httpx  # noqa: PLC0415 - a gateway that pulls nothing does without

    try:
        parts = httpx.URL(url)
    except (httpx.InvalidURL, ValueError, TypeError):
        return None
    if parts.scheme not in _DEFAULT_PORTS or not parts.host or parts.userinfo:
        return None
    return Origin(parts.scheme, parts.host.lower(), parts.port or _DEFAULT_PORTS[parts.scheme])


def may_be_address(url: str) -> bool:
    """Tell whether a text looks like an http(s) address, at once; `origin_of` has the last word."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in _DEFAULT_PORTS and bool(parts.hostname) and parts.username is None


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine by its name alone: `localhost`, names below it, and loopback addresses."""
    address = _address(host)
    if address is not None:
        return address.is_loopback
    return host.rstrip(".").rpartition(".")[2] == "localhost"


def is_private(host: str) -> bool:
    """Tell whether a host is no public one, by its name alone; nothing is looked up.

    This machine, addresses that are not global, and numbers that only a resolver takes for an address are none.
    """
    address = _address(host)
    if address is not None:
        return not address.is_global
    return is_loopback(host) or _NUMERIC.fullmatch(host.rstrip(".").rpartition(".")[2]) is not None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def short(url: str) -> str:
    """Make an address fit for a message, at most 200 printable characters.

    Its query, which may hold a signature, and a password are left out.
    """
    return ascii(without_credentials(url.partition("?")[0])[:200])[1:-1]
