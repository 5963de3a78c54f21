"""One streamed request as a client sees it: every piece of the answer with the time at which it came.

Pieces are only stamped while they come and taken apart after the end, so that reading costs the engines little. Not
here: what is asked (`scenarios`), and how many at once (`blocks`).
"""

import hashlib
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec

from router.bench.plan.scenarios import ScenarioRequest
from router.tls.trust import only_trusting

CONNECT_TIMEOUT_S: Final = 5.0
SILENCE_S: Final = 600.0
"""Longest silence of a server; ours sends a comment each few seconds."""

NUM_CONNECTIONS: Final = 64
EMPTY_ANSWER: Final = "the answer is empty"
_MAX_ERROR_CHARS: Final = 300
_DIGEST_CHARS: Final = 16
_CHAT_PATH: Final = "/v1/chat/completions"


class SeenImage(msgspec.Struct, frozen=True):
    """What the server says of a picture. Source: docs/api.md, `mlxr.images`.

    Attributes:
        tokens: Rows that stood for it.
        cached: Whether none had to be made.
        encode_ms: What making them took.
    """

    tokens: int
    cached: bool
    encode_ms: float


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came back.

    Attributes:
        started_at: When it was sent, monotonic.
        piece_times_ms: When each piece with text came, since sending.
        total_ms: From sending to the end of the stream.
        num_prompt_tokens: As the server counted them; None = it did not say.
        num_cached_tokens: Those of them that it did not compute; None = it did not say.
        num_output_tokens: As the server counted them, else the pieces.
        timings: The server's own account; None = it gave none.
        image: The server's own account of the first picture; None = it gave none, or there is none.
        digest: The same for equal answers only, thoughts included.
        error: Why there is no answer, in one sentence; None = there is one.
    """

    started_at: float
    text: str = ""
    piece_times_ms: tuple[float, ...] = ()
    total_ms: float = 0.0
    num_prompt_tokens: int | None = None
    num_cached_tokens: int | None = None
    num_output_tokens: int = 0
    timings: dict[str, Any] | None = None
    image: SeenImage | None = None
    digest: str = ""
    error: str | None = None


def make_http(
    url: str,
    *,
    unix_socket: str | None = None,
    headers: Mapping[str, str] | None = None,
    cert_file: str | None = None,
) -> httpx.AsyncClient:
    """Return a client for one server; proxies of the environment are not used.

    Args:
        url: Of the server, without `/v1`.
        unix_socket: Path of its socket, in the place of TCP.
        headers: Of every request.
        cert_file: The one certificate to trust; None = those that the system trusts.

    Raises:
        CertificateError: It cannot be used.
    """
    limits = httpx.Limits(max_connections=NUM_CONNECTIONS)
    verify = True if cert_file is None else only_trusting(Path(cert_file))
    transport = httpx.AsyncHTTPTransport(uds=unix_socket, limits=limits, verify=verify)
    timeout = httpx.Timeout(SILENCE_S, connect=CONNECT_TIMEOUT_S)
    return httpx.AsyncClient(base_url=url, transport=transport, headers=headers, timeout=timeout, trust_env=False)


class OurServer(msgspec.Struct, frozen=True, kw_only=True):
    """Where our server is, and what says to it who asks.

    Attributes:
        cert_file: Of its certificate, where it has one.
        unix_socket: Used where TCP needs a key that is not there: on TCP it is compared with other servers.
    """

    url: str
    cert_file: str | None = None
    unix_socket: str | None = None
    headers: dict[str, str] = {}


async def make_own_http(server: OurServer) -> httpx.AsyncClient:
    """Return a client for our own server."""
    if server.unix_socket is None or await _is_open(server):
        return make_http(server.url, headers=server.headers, cert_file=server.cert_file)
    return make_http("http://localhost", unix_socket=server.unix_socket, headers=server.headers)


async def _is_open(server: OurServer) -> bool:
    try:
        async with make_http(server.url, headers=server.headers, cert_file=server.cert_file) as http:
            answer = await http.get("/v1/mlxr/status")
    except httpx.HTTPError:
        return False
    return answer.status_code not in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}


async def stream_answer(
    http: httpx.AsyncClient, request: ScenarioRequest, *, model: str, headers: Mapping[str, str]
) -> Answer:
    """Send one request and read its answer to the end. A failure is told in the answer, not raised."""
    body = msgspec.json.encode(request.body(model))
    sent = {"content-type": "application/json", **headers}
    started_at = time.monotonic()
    try:
        async with http.stream("POST", _CHAT_PATH, content=body, headers=sent) as response:
            if response.status_code != httpx.codes.OK:
                error = _error_text(await response.aread(), response.status_code)
                return Answer(started_at=started_at, error=error)
            stamped = [(time.monotonic(), piece) async for piece in response.aiter_bytes()]
    except httpx.HTTPError as exc:
        return Answer(started_at=started_at, error=_http_error_text(http, exc))
    return read_stream(stamped, started_at=started_at, ended_at=time.monotonic())


def read_stream(stamped: Iterable[tuple[float, bytes]], *, started_at: float, ended_at: float) -> Answer:
    """Take a stream of events apart. Pure.

    Args:
        stamped: Bytes as they came, each with its time, monotonic.
    """
    reading = _Reading(started_at)
    rest = b""
    for now, piece in stamped:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                reading.take(line[5:].strip(), now)
    return reading.answer(ended_at)


class _Reading:
    """What was read so far of one stream."""

    def __init__(self, started_at: float) -> None:
        self._started_at = started_at
        self._texts: list[str] = []
        self._times_ms: list[float] = []
        self._usage: dict[str, Any] = {}
        self._timings: dict[str, Any] | None = None
        self._image: SeenImage | None = None
        self._thoughts: list[str] = []
        self._error: str | None = None
        self._has_ended = False

    def take(self, data: bytes, now: float) -> None:
        if data == b"[DONE]":
            self._has_ended = True
            return
        try:
            chunk = msgspec.json.decode(data)
        except msgspec.DecodeError:
            self._error = self._error or "the stream carries something that is not JSON"
            return
        if not isinstance(chunk, dict):
            return
        if chunk.get("error"):
            self._error = _error_of(chunk["error"]) or "the server ended the stream with an error"
        self._usage = chunk.get("usage") or self._usage
        self._timings = chunk.get("timings") or self._timings
        self._image = _first_image(chunk.get("mlxr")) or self._image
        for choice in chunk.get("choices") or ():
            self._take_choice(choice, now)

    def _take_choice(self, choice: dict[str, Any], now: float) -> None:
        delta = choice.get("delta") or {}
        text, thought = delta.get("content"), delta.get("reasoning_content") or delta.get("reasoning")
        if text:
            self._texts.append(text)
        if isinstance(thought, str):
            self._thoughts.append(thought)
        if text or thought or delta.get("tool_calls"):
            self._times_ms.append(round((now - self._started_at) * 1000, 3))
        self._has_ended = self._has_ended or choice.get("finish_reason") is not None

    def answer(self, ended_at: float) -> Answer:
        error = self._error
        if error is None and not self._has_ended:
            error = "the stream ended before the answer did"
        if error is None and not self._times_ms:
            error = EMPTY_ANSWER
        usage, timings = self._usage, self._timings or {}
        details = usage.get("prompt_tokens_details") or {}
        return Answer(
            started_at=self._started_at,
            text="".join(self._texts),
            piece_times_ms=tuple(self._times_ms),
            total_ms=round((ended_at - self._started_at) * 1000, 3),
            num_prompt_tokens=_first_int(usage.get("prompt_tokens")),
            num_cached_tokens=_first_int(details.get("cached_tokens"), timings.get("cache_n")),
            num_output_tokens=_first_int(usage.get("completion_tokens"), timings.get("predicted_n"))
            or len(self._times_ms),
            timings=self._timings,
            image=self._image,
            digest=_digest("".join(self._thoughts), "".join(self._texts)),
            error=error,
        )


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode(errors="surrogatepass")).hexdigest()[:_DIGEST_CHARS]


def _first_image(told: Any) -> SeenImage | None:
    images = told.get("images") if isinstance(told, dict) else None
    try:
        return msgspec.convert(images[0], SeenImage) if images else None
    except (msgspec.ValidationError, TypeError, KeyError):
        return None


def _first_int(*values: Any) -> int | None:
    return next((value for value in values if isinstance(value, int)), None)


def _error_of(error: Any) -> str | None:
    message = error.get("message") if isinstance(error, dict) else error
    return " ".join(message.split())[:_MAX_ERROR_CHARS] if isinstance(message, str) and message else None


def _error_text(body: bytes, status: int) -> str:
    try:
        value = msgspec.json.decode(body)
    except msgspec.DecodeError:
        value = None
    said = _error_of(value.get("error")) if isinstance(value, dict) else None
    return said or f"the server answered with status {status}"


def _http_error_text(http: httpx.AsyncClient, error: httpx.HTTPError) -> str:
    where = http.base_url.copy_with(username=None, password=None)
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return f"no server answers at {where}"
    if isinstance(error, httpx.TimeoutException):
        return f"the server at {where} was silent for {SILENCE_S:g} s"
    return f"the connection to {where} broke: {str(error) or type(error).__name__}"[:_MAX_ERROR_CHARS]
