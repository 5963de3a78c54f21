"""HTTP to one upstream, and what goes wrong with it, in errors of ours. The one place that knows httpx.

No redirect is followed, no proxy of the environment is used, and nothing of a client's request is passed on but what
its body is made of. Not here: what is asked, and what answers mean (`bodies`, `chunks`).
"""

import asyncio
import contextlib
import math
import re
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from email.utils import parsedate_to_datetime
from typing import Any, Final, cast
from urllib.parse import urlsplit

import httpx
import msgspec

from router.config.upstreams import UpstreamConfig
from router.errors import (
    RouterError,
    UpstreamBusyError,
    UpstreamError,
    UpstreamKeyError,
    UpstreamRefusedError,
    UpstreamUnreachableError,
)
from router.upstreams.chunks import words_of
from router.upstreams.keys import UpstreamKey

MAX_ERROR_BYTES: Final = 64 << 10
MAX_BODY_BYTES: Final = 64 << 20
"""Longest answer that is no stream: embeddings of many texts."""
PROBE_TIMEOUT_S: Final = 10.0
WRITE_TIMEOUT_S: Final = 60.0
DRAIN_TIMEOUT_S: Final = 1.0
BUSY_S: Final = 5.0
"""How long an upstream is left alone that says it is busy, and not for how long."""
MAX_BUSY_S: Final = 3600.0
_VERSIONED: Final = re.compile(r"/v\d")
_OK: Final = 200
_LOST: Final = frozenset({502, 503, 504})
"""The upstream's own front, or its model, is not there: nothing was computed."""
_REFUSED: Final = frozenset({400, 404, 405, 409, 413, 415, 422})
"""What was asked is at fault, or is not there: with 404 mlx_lm.server refuses pictures, and many an unknown model."""
_BUSY: Final = 429
_NO_KEY: Final = frozenset({401, 403})


def base_url(url: str) -> str:
    """Return an upstream's address with the path before `/chat/completions`."""
    address = url.rstrip("/")
    return address if _VERSIONED.search(urlsplit(address).path) else f"{address}/v1"


class Transport:
    """Connections to one upstream, kept open.

    Args:
        name: The upstream's, with which errors begin.
        base: Its address with the path before those that are asked for.
    """

    def __init__(self, config: UpstreamConfig, base: str, key: UpstreamKey) -> None:
        self._name = config.name
        self._key = key
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=config.parallel, keepalive_expiry=60.0)
        self._client = httpx.AsyncClient(
            base_url=base,
            headers={"user-agent": "mlxr", "accept-encoding": "identity", **key.headers},
            timeout=httpx.Timeout(None, connect=config.connect_timeout_s, write=WRITE_TIMEOUT_S),
            limits=limits,
            follow_redirects=False,
            trust_env=False,
            verify=_trust(config),
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    @contextlib.asynccontextmanager
    async def posted(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> AsyncGenerator["Posted", None]:
        """Send a request; what is yielded has the answer's bytes as they come. Leaving early closes the connection.

        Raises:
            RouterError: The upstream is not there, or refuses.
        """
        content = msgspec.json.encode(body)
        sent = {"content-type": "application/json", **headers}
        with self._errors():
            async with self._client.stream("POST", path.removeprefix("/"), content=content, headers=sent) as response:
                if response.status_code != _OK:
                    raise self._error(response, await _beginning(response))
                posted = Posted(response)
                try:
                    yield posted
                finally:
                    await posted.close()

    async def got(self, path: str, *, accepts_missing: bool = False) -> Any:
        """Return what is at a path, within a bounded time; None where there is nothing, if that may be.

        Raises:
            RouterError: The upstream is not there, refuses, or answers with what is no JSON.
        """
        with self._errors():
            response = await self._client.get(path.removeprefix("/"), timeout=PROBE_TIMEOUT_S)
            if accepts_missing and response.status_code in {404, 405, 501}:
                return None
            if response.status_code != _OK:
                raise self._error(response, response.content[:MAX_ERROR_BYTES])
            if accepts_missing and not response.content.strip():
                return None  # as mlx_lm.server, whose list breaks off where Hugging Face's folder is missing
            return self.decoded(response.content)

    def decoded(self, data: bytes) -> Any:
        """Return the JSON of an answer."""
        try:
            return msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise UpstreamError(self.told("it has answered with what is no JSON")) from None

    def told(self, words: str) -> str:
        """Return words about the upstream as errors say them: with its name, without its key."""
        return f"the upstream '{self._name}': {self._key.masked(words)}"

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except httpx.TimeoutException as exc:
            raise UpstreamUnreachableError(self.told(f"no connection: {_kind(exc)}")) from exc
        except (httpx.TransportError, httpx.InvalidURL, httpx.DecodingError, ssl.SSLError) as exc:
            detail = str(exc) or _kind(exc)
            raise UpstreamUnreachableError(self.told(f"the connection failed: {detail:.200}")) from exc

    def _error(self, response: httpx.Response, data: bytes) -> RouterError:
        """Return what an answer that is none means."""
        status = response.status_code
        if status in _NO_KEY:  # whose words may repeat a part of the key
            words = f"it does not take the key that the config has for it, or not for this ({status})"
            return UpstreamKeyError(self.told(words))
        said = _words(data)
        words = self.told(f"it has answered {status}{': ' if said else ''}{said}")
        wait_s = retry_after_s(response.headers.get("retry-after"))
        if response.is_redirect:
            host = urlsplit(response.headers.get("location", "")).hostname
            elsewhere = (
                f"it sends elsewhere ({status}, {host!r:.80}), which is not followed; set its url to what answers"
            )
            return UpstreamError(self.told(elsewhere))
        if status == _BUSY:
            return UpstreamBusyError(words, retry_after_s=BUSY_S if wait_s is None else wait_s)
        if status in _LOST:
            return UpstreamUnreachableError(words, retry_after_s=wait_s)
        if status in _REFUSED:
            return UpstreamRefusedError(words)
        return UpstreamError(words)


class Posted:
    """An answer that has begun."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._pieces = cast("AsyncGenerator[bytes, None]", response.aiter_raw())

    @property
    def media_type(self) -> str:
        """Of what kind it says it is, in small letters, without parameters."""
        kind: str = self._response.headers.get("content-type", "")
        return kind.partition(";")[0].strip().lower()

    def pieces(self) -> AsyncIterator[bytes]:
        """Return its bytes as they come."""
        return self._pieces

    async def close(self) -> None:
        """Read nothing more."""
        await self._pieces.aclose()

    async def drain(self) -> None:
        """Read what stands behind the answer's end, so that the connection can be used again; not worth an error."""
        with contextlib.suppress(TimeoutError, httpx.HTTPError):
            async with asyncio.timeout(DRAIN_TIMEOUT_S):
                async for _ in self._pieces:
                    pass

    async def whole(self) -> bytes:
        """Return all of it; what is too long is cut, and so no JSON."""
        data = bytearray()
        async for piece in self._pieces:
            data += piece
            if len(data) > MAX_BODY_BYTES:
                break
        return bytes(data)


def _trust(config: UpstreamConfig) -> ssl.SSLContext | bool:
    if not config.url.startswith("https:"):
        return False  # nothing is encrypted; certificates take a while to read
    return True if config.ca_file is None else ssl.create_default_context(cafile=config.ca_file)


async def _beginning(response: httpx.Response) -> bytes:
    data = bytearray()
    async for piece in response.aiter_raw():
        data += piece
        if len(data) >= MAX_ERROR_BYTES:
            break
    return bytes(data[:MAX_ERROR_BYTES])


def _words(data: bytes) -> str:
    try:
        return words_of(msgspec.json.decode(data)) if data.strip() else ""
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = data.decode("utf-8", "replace")
        return "" if "<" in text[:20] else " ".join(text.split())[:200]  # a page says nothing to people here


def _kind(exc: Exception) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(exc).__name__).lower()


def retry_after_s(text: str | None) -> float | None:
    """Return after how many seconds to come again; None = it is not said. Source: RFC 9110 section 10.2.3."""
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            at = parsedate_to_datetime(text)
            seconds = at.timestamp() - time.time()
        except (TypeError, ValueError, OverflowError):
            return None
    return min(MAX_BUSY_S, max(0.0, seconds)) if math.isfinite(seconds) else None
