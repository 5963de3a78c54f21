"""GET requests to a hub and to where it redirects, on httpx: whose token goes where, and what an answer's status means.

Redirects are followed by hand. The token goes to the hub's own scheme, host and port and nowhere else; https is never
left for http, but on this machine; an address of a private network is only visited when the hub itself is on one.
Nothing encoded is asked for or accepted, so that no answer grows after it was measured. Not here: what is asked (the
client and the transfer) and when to ask again (`retry.py`).
"""

import asyncio
import contextlib
import datetime as dt
import email.utils
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urljoin

import msgspec

from registry.errors import (
    HubAnswerError,
    HubAuthError,
    HubError,
    HubGatedError,
    HubNotFoundError,
    HubOfflineError,
    HubUnreachableError,
)
from registry.hub.addresses import Origin, is_loopback, is_private, may_be_address, origin_of, short
from registry.hub.retry import TroubleError

if TYPE_CHECKING:
    import httpx

MAX_REDIRECTS: Final = 5
MAX_URL_CHARS: Final = 8_192
"""Signed addresses of content networks have one or two thousand."""

_LOG_IN: Final = "log in with `hf auth login` (before the server starts), or set HF_TOKEN to a token"
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_COME_BACK: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_REFUSALS: Final = frozenset({401, 403, 404, 410})


class HubSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach the hub.

    Attributes:
        endpoint: Its address, without a path.
        token: The user's token; None for none.
        proxy: Address of a proxy; the environment is not looked at.
        ca_file: Certificates to trust in place of the usual ones.
        answer_timeout_s: From the request to the end of the answer's header, and for the whole of a small answer.
        stall_s: Silence in the middle of an answer.
        is_offline: Nothing may be asked for; HF_HUB_OFFLINE is set.
        ollama_endpoint: Address of the registry for models by their names in Ollama's library; no token goes there.
    """

    endpoint: str = "https://huggingface.co"
    token: str | None = None
    proxy: str | None = None
    ca_file: Path | None = None
    connect_timeout_s: float = 10.0
    answer_timeout_s: float = 60.0
    stall_s: float = 30.0
    is_offline: bool = False
    ollama_endpoint: str = "https://registry.ollama.ai"

    def __repr__(self) -> str:
        """Leave token and proxy out: settings are printed into logs and error reports."""
        return f"HubSettings(endpoint={self.endpoint!r}, token={'set' if self.token else None})"


class Answer:
    """An answer whose body is still to come.

    Attributes:
        headers: As sent; names in any case.
        url: Where it came from in the end.
    """

    def __init__(self, response: "httpx.Response") -> None:
        self._response = response
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.url = str(response.url)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the body as it comes; a TroubleError says that it broke off or went silent."""
        with translate_errors():
            async for chunk in self._response.aiter_raw():
                yield chunk


class Web:
    """The connections to one hub and its content network; use as an async context manager."""

    def __init__(self, settings: HubSettings, *, num_connections: int = 8) -> None:
        self.settings = settings
        self.endpoint = settings.endpoint.rstrip("/")
        self._num_connections = num_connections
        self._http: httpx.AsyncClient | None = None
        self._opening = asyncio.Lock()
        if not may_be_address(self.endpoint):
            raise self._no_address()

    @cached_property
    def origin(self) -> Origin:
        """Where the hub is; a HubUnreachableError says that its address is none."""
        origin = origin_of(self.endpoint)
        if origin is None:
            raise self._no_address()
        return origin

    def _no_address(self) -> HubUnreachableError:
        return HubUnreachableError(
            f"{short(self.endpoint)!r} is no address of a hub; set hub.endpoint to one like https://huggingface.co."
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.aclose()

    @asynccontextmanager
    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> AsyncIterator[Answer]:
        """Make one GET request, following redirects; give the answer of status 200 or 206, for the time of the context.

        Raises:
            TroubleError: Another attempt may help.
            HubError: It will not.
        """
        async with AsyncExitStack() as stack:
            response = await self._follow(url, headers or {}, stack)
            if response.headers.get("content-encoding", "identity").lower() not in {"identity", ""}:
                raise HubAnswerError(f"{short(url)} answered with an encoding that was not asked for; it was refused.")
            yield Answer(response)

    async def _client(self) -> "httpx.AsyncClient":
        """Give the client; it is made, and httpx imported, with the first request: a server may never pull."""
        async with self._opening:
            if self._http is None:
                self._http = await asyncio.to_thread(_make_client, self.settings, self._num_connections)
        return self._http

    async def _follow(self, url: str, headers: Mapping[str, str], stack: AsyncExitStack) -> "httpx.Response":
        if self.settings.is_offline:
            raise HubOfflineError(
                f"{short(url)} was not asked: HF_HUB_OFFLINE, or TRANSFORMERS_OFFLINE, is set in the environment of "
                "the process that pulls. Unset it and start that process again: a server has the environment of its "
                "start."
            )
        before: Origin | None = None
        first = origin_of(url)
        for _ in range(MAX_REDIRECTS + 1):
            before = self._check(url, before)
            response = await self._send(url, headers, before, stack)
            if response.status_code not in _REDIRECTS:
                if response.status_code not in {200, 206}:
                    raise self._refusal(response, url, is_redirected=before != first)
                return response
            location = response.headers.get("location")
            if not location or len(location) > MAX_URL_CHARS:
                raise HubAnswerError(f"{short(url)} redirects without saying where to.")
            await response.aclose()
            url = _join(url, location)
        raise HubAnswerError(f"{short(url)} was reached over more than {MAX_REDIRECTS} redirects; it was given up.")

    def _check(self, url: str, before: Origin | None) -> Origin:
        """Judge an address before anything is sent there."""
        hub, origin = self.origin, origin_of(url)
        if origin is None:
            raise HubAnswerError(f"{short(url)} is no web address.")
        if origin.scheme == "http" and not is_loopback(origin.host) and (before is None or before.scheme == "https"):
            if before is not None:
                raise HubAnswerError(f"{short(url)} would leave https for http; the redirect was refused.")
            if origin != hub:
                raise HubAnswerError(f"{short(url)} is not https; only the configured hub may do without.")
        if is_private(origin.host) and not is_private(hub.host):
            raise HubAnswerError(f"{short(url)} is an address of a private network; the hub is not on one.")
        return origin

    async def _send(
        self, url: str, headers: Mapping[str, str], origin: Origin, stack: AsyncExitStack
    ) -> "httpx.Response":
        http = await self._client()
        sent = {"Accept-Encoding": "identity", "User-Agent": "mlxr", **headers}
        if self.settings.token and origin == self.origin:
            sent["Authorization"] = f"Bearer {self.settings.token}"
        with translate_errors():
            async with asyncio.timeout(self.settings.answer_timeout_s):
                request = http.build_request("GET", url, headers=sent)
                response = await http.send(request, stream=True)
        stack.push_async_callback(response.aclose)
        return response

    def _refusal(self, response: "httpx.Response", url: str, *, is_redirected: bool) -> Exception:
        """Say what an error status means and what to do about it."""
        status = response.status_code
        if status in _COME_BACK:
            wait_s = retry_after_s(response.headers.get("retry-after"), dt.datetime.now(dt.UTC))
            return TroubleError(f"{short(url)} answered {status}", retry_after_s=wait_s)
        if is_redirected and status in _REFUSALS:
            # The hub itself had said yes; its content network may be late, or the signed address too old.
            return TroubleError(f"{short(url)} answered {status}", is_violation=True)
        reason = response.headers.get("x-error-code", "")
        host = self.origin.host
        if reason == "GatedRepo":
            return HubGatedError(
                f"{short(url)} is gated: accept its licence at {_page_of(url, self.endpoint)} with your account, "
                f"then {_LOG_IN} of that account."
            )
        if status in {401, 403}:
            has_token = bool(self.settings.token) and origin_of(url) == self.origin
            advice = (
                f"the token was refused; make one that may read it at https://{host}/settings/tokens"
                if has_token
                else f"{_LOG_IN} that may read it, if it is private or gated, and check its name"
            )
            return HubAuthError(f"{short(url)} answered {status}: {advice}.")
        if status in {404, 410}:
            what = {"RevisionNotFound": "revision", "EntryNotFound": "file"}.get(reason, "repository or file")
            return HubNotFoundError(f"{short(url)} answered {status}: there is no such {what}, or it is private.")
        return HubError(f"{short(url)} answered {status}.")


def _make_client(settings: HubSettings, num_connections: int) -> "httpx.AsyncClient":
    import httpx  # noqa: PLC0415 - a gateway that pulls nothing does without

    try:
        verify = ssl.create_default_context(cafile=str(settings.ca_file)) if settings.ca_file else True
    except (OSError, ssl.SSLError) as exc:
        raise HubUnreachableError(f"The certificates in {settings.ca_file} cannot be read: {exc}.") from exc
    return httpx.AsyncClient(
        trust_env=False,
        verify=verify,
        proxy=settings.proxy,
        timeout=httpx.Timeout(settings.stall_s, connect=settings.connect_timeout_s),
        limits=httpx.Limits(max_connections=num_connections, max_keepalive_connections=num_connections),
        follow_redirects=False,
    )


def retry_after_s(value: str | None, now: dt.datetime) -> float | None:
    """Read a Retry-After header: seconds from now, at least 0; None when there is none or it makes no sense.

    Source: RFC 9110, 10.2.3: a date, or a number of seconds.
    """
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        at = email.utils.parsedate_to_datetime(value)
        return max(0.0, (at - now).total_seconds())
    except (ValueError, TypeError):
        return None


def _join(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as exc:
        raise HubAnswerError(f"{short(url)} redirects to what is no address.") from exc


def _page_of(url: str, endpoint: str) -> str:
    """Give the page of the repository that an address belongs to, where licences are accepted."""
    path = url.removeprefix(endpoint).removeprefix("/api/models").partition("?")[0]
    return endpoint + "/".join(path.split("/")[:3])


@contextlib.contextmanager
def translate_errors() -> Iterator[None]:
    """Turn httpx's errors into ours."""
    import httpx  # noqa: PLC0415 - a gateway that pulls nothing does without

    try:
        yield
    except TimeoutError as exc:
        raise TroubleError("the server did not answer in time") from exc
    except httpx.TimeoutException as exc:
        raise TroubleError("the server went silent") from exc
    except httpx.ConnectError as exc:
        if "CERTIFICATE_VERIFY_FAILED" in str(exc):
            raise HubUnreachableError(f"The server's certificate is not trusted ({exc}); set hub.ca_file.") from exc
        raise TroubleError(f"no connection: {exc}") from exc
    except httpx.TransportError as exc:
        raise TroubleError(f"the connection broke: {type(exc).__name__}") from exc
    except (httpx.InvalidURL, httpx.HTTPError, httpx.StreamError) as exc:
        raise HubAnswerError(f"The server's answer makes no sense: {exc}.") from exc
