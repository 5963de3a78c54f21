"""Fetching a picture from the public internet: nothing else is ever reached, whatever an address says.

A name is resolved once, every address that it has must be public, and the connection goes to the one that was looked
at: a name that means something else a moment later changes nothing. Each redirect is an address like the first.

Source: WHATWG URL; RFC 6890 for addresses that are not public; RFC 9110 section 15.4 for redirects.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from backends.errors import ImageError
from backends.wire.prompts import MAX_IMAGE_BYTES, image_too_large
from registry.threads import in_thread

if TYPE_CHECKING:
    import httpx

MAX_REDIRECTS: Final = 3
TIMEOUT_S: Final = 10.0
"""For a picture with all of its redirects."""
_MAX_URL_CHARACTERS: Final = 8192
_EXCERPT_CHARACTERS: Final = 80
_OK: Final = 200
_MOVED: Final = frozenset({301, 302, 303, 307, 308})
_MAX_PORT: Final = 65_535
_PORTS: Final = {"http": 80, "https": 443}
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_SEND_DATA: Final = "send the file's content as data:image/png;base64,..."

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Gives the addresses of a host, as text."""


async def resolved(host: str, port: int) -> list[str]:
    """Return the addresses of a host, by the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def is_public(text: str) -> bool:
    """Tell whether an address belongs to the public internet, and not to this machine or a network of somebody's."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return all(_is_public(each) for each in (address, *_inner(address)))


def _is_public(address: Address) -> bool:
    is_site_local = isinstance(address, ipaddress.IPv6Address) and (
        address.is_site_local or address.scope_id is not None
    )
    is_special = address.is_multicast or address.is_reserved or address.is_unspecified or is_site_local
    # A mapped address is judged by what it stands for: as IPv6 it is of a reserved block.
    is_mapped = isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None
    return is_mapped or (address.is_global and not is_special)


def _inner(address: Address) -> list[Address]:
    """Return the IPv4 addresses that an IPv6 address leads to."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found: list[Address | None] = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    return [each for each in found if each is not None]


class _Moved(msgspec.Struct, frozen=True):
    """Where a redirect leads."""

    url: str


class PublicFetcher:
    """Fetches pictures; without proxies, cookies or credentials of anybody's.

    Args:
        resolve: Host and port to addresses.
        transport: Carries requests whose host is an address; None = the network.
    """

    def __init__(self, *, resolve: Resolve = resolved, transport: "httpx.AsyncBaseTransport | None" = None) -> None:
        self._resolve = resolve
        self._transport = transport

    async def fetch(self, url: str) -> bytes:
        """Return what stands behind an address, at most `MAX_IMAGE_BYTES`.

        Raises:
            ImageError: It cannot be fetched, or must not be.
        """
        excerpt = repr(url[:_EXCERPT_CHARACTERS])
        try:
            async with asyncio.timeout(TIMEOUT_S):
                async with await in_thread(self._new_client) as client:
                    return await self._followed(client, url)
        except TimeoutError as exc:
            raise ImageError(f"{excerpt} did not answer within {TIMEOUT_S:.0f} s; {_SEND_DATA}") from exc
        except OSError as exc:
            raise ImageError(f"{excerpt} cannot be reached: {exc}; {_SEND_DATA}") from exc

    def _new_client(self) -> "httpx.AsyncClient":
        """Return a client for one picture; importing its library and reading certificates takes a while."""
        import httpx  # noqa: PLC0415 - see above

        return httpx.AsyncClient(
            transport=self._transport,
            trust_env=False,
            follow_redirects=False,
            timeout=TIMEOUT_S,
            headers={"accept": "image/*", "accept-encoding": "identity", "user-agent": "mlxr"},
        )

    async def _followed(self, client: "httpx.AsyncClient", url: str) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            found = await self._got(client, url)
            if isinstance(found, bytes):
                return found
            url = found.url
        raise ImageError(f"the address leads on more than {MAX_REDIRECTS} times; {_SEND_DATA}")

    async def _got(self, client: "httpx.AsyncClient", text: str) -> bytes | _Moved:
        import httpx  # noqa: PLC0415 - imported by then

        url = _checked(text)
        address = await self._address(url)
        pinned = url.copy_with(host=address, port=url.port)
        request = client.build_request(
            "GET", pinned, headers={"host": url.netloc.decode()}, extensions={"sni_hostname": url.host}
        )
        try:
            response = await client.send(request, stream=True)
            try:
                if response.status_code in _MOVED and "location" in response.headers:
                    return _Moved(str(url.join(response.headers["location"])))
                return await _body(response)
            finally:
                await response.aclose()
        except httpx.InvalidURL as exc:
            raise ImageError(f"the address leads on to one that cannot be read: {exc}; {_SEND_DATA}") from exc
        except httpx.HTTPError as exc:
            reason = str(exc) or type(exc).__name__
            raise ImageError(f"the image at {url.host!r:.100} cannot be fetched: {reason}; {_SEND_DATA}") from exc

    async def _address(self, url: "httpx.URL") -> str:
        """Return the address that a URL's host is reached by; all that it has must be public."""
        port = url.port or _PORTS[url.scheme]
        try:
            found = await self._resolve(url.host, port)
        except (OSError, UnicodeError) as exc:
            raise ImageError(f"the host {url.host!r:.100} is not known: {exc}; {_SEND_DATA}") from exc
        if not found or not all(map(is_public, found)):
            raise ImageError(
                f"the host {url.host!r:.100} is not in the public internet, and nothing else is fetched; {_SEND_DATA}"
            )
        return found[0]


def _checked(text: str) -> "httpx.URL":
    """Return a URL that may be asked for."""
    import httpx  # noqa: PLC0415 - imported by then

    problem = "cannot be read"
    try:
        if len(text) <= _MAX_URL_CHARACTERS:
            url = httpx.URL(text)
            if url.scheme not in _PORTS or not url.host:
                problem = "is none of http or https"
            elif url.userinfo:
                problem = "has a user name or password in it"
            elif url.port is not None and not 0 < url.port <= _MAX_PORT:
                problem = "cannot be read (there is no such port)"
            else:
                return url
    except (httpx.InvalidURL, ValueError) as exc:
        problem = f"cannot be read ({exc})"
    raise ImageError(f"the address {text[:_EXCERPT_CHARACTERS]!r} {problem}; {_SEND_DATA}")


async def _body(response: "httpx.Response") -> bytes:
    if response.status_code != _OK:
        raise ImageError(f"the address answers with status {response.status_code}; {_SEND_DATA}")
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise ImageError(f"the address answers compressed, though it was asked not to; {_SEND_DATA}")
    declared = response.headers.get("content-length", "")
    if declared.isdigit() and (len(declared) > len(str(MAX_IMAGE_BYTES)) or int(declared) > MAX_IMAGE_BYTES):
        raise image_too_large()
    chunks: list[bytes] = []
    num_bytes = 0
    async for chunk in response.aiter_raw():
        num_bytes += len(chunk)
        if num_bytes > MAX_IMAGE_BYTES:
            raise image_too_large()
        chunks.append(chunk)
    return b"".join(chunks)
