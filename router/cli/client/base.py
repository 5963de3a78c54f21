"""A small synchronous client of a running gateway, for the command line.

Not here: finding the server (`router.cli.terminal.server`), what can go wrong (`errors.py`) and printing.
"""

import contextlib
import os
import ssl
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from router.cli.client.errors import ServerAnswerError, ServerUnreachableError
from router.config.instance import RunningInstance, reachable_url
from router.errors import CertificateError
from router.http.headers import ENGINE_HEADER
from router.keys.sending import credentials
from router.protocols.openai.answer_schemas import ChatChunk, TextChunk
from router.status import Status, StopResponse
from router.status.requests import CancelResponse, RequestList, RequestStatus
from router.tls.trust import only_trusting

CONNECT_TIMEOUT_S: Final = 3.0
ANSWER_TIMEOUT_S: Final = 30.0

STOP_TIMEOUT_S: Final = 120.0
"""Stopping a model lets its answers finish first."""

STREAM_SILENCE_S: Final = 600.0
"""Longest silence inside a stream. The server sends a comment each few seconds, also while a request waits."""

_T = TypeVar("_T")


class Client:
    """Talks to one running gateway, over its unix socket where it has one. Use it in a `with`."""

    def __init__(self, instance: RunningInstance) -> None:
        self._instance = instance
        self._http: httpx.Client | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._http is not None:
            self._http.close()

    def get(self, path: str, answer: type[_T]) -> _T:
        """Ask for what stands at a path; `dict` gives every field as it stands in the answer."""
        return self._decode(self._request("GET", path), answer)

    def post(
        self,
        path: str,
        answer: type[_T],
        body: dict[str, Any],
        timeout_s: float = ANSWER_TIMEOUT_S,
        *,
        engine: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> _T:
        """Have something done; the engine is that of requests that a model serves, headers are sent beside it."""
        return self._decode(self._request("POST", path, body, timeout_s, _for(engine, headers)), answer)

    def patch(self, path: str, answer: type[_T], body: dict[str, Any]) -> _T:
        """Have what is at a path changed."""
        return self._decode(self._request("PATCH", path, body), answer)

    def delete(self, path: str, answer: type[_T]) -> _T:
        """Have something forgotten."""
        return self._decode(self._request("DELETE", path), answer)

    def post_bytes(self, path: str, answer: type[_T], body: bytes, timeout_s: float) -> _T:
        """Send bytes as they are."""
        return self._decode(self._request("POST", path, body, timeout_s), answer)

    def status(self) -> Status:
        """Ask for the server's state."""
        return self.get("/v1/mlxr/status", Status)

    def stop_model(self, name: str) -> StopResponse:
        """Unload a model.

        Raises:
            ClientError: Or a subclass; with status 404 there is no such model.
        """
        return self.post("/v1/mlxr/models/stop", StopResponse, {"model": name}, STOP_TIMEOUT_S)

    def requests(self) -> list[RequestStatus]:
        """Ask for the requests that run or wait, in the order of their arrival."""
        return self.get("/v1/mlxr/requests", RequestList).requests

    def cancel_request(self, request_id: str) -> RequestStatus:
        """End a request; its own client gets an error.

        Raises:
            ClientError: Or a subclass; with status 404 there is no such request.
        """
        path = f"/v1/mlxr/requests/{quote(request_id, safe='')}/cancel"
        return self.post(path, CancelResponse, {}).cancelled

    def stream_chat(
        self, body: dict[str, Any], *, engine: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Generator[ChatChunk, None, None]:
        """Have a conversation continued; closing the iterator cancels the answer.

        Args:
            body: Of `POST /v1/chat/completions`, without `stream`.
            engine: The engine to use; None leaves it to the settings.
            headers: Sent beside those of the client's own.

        Raises:
            ClientError: Or a subclass, also midway.
        """
        return self._stream("/v1/chat/completions", body, ChatChunk, _for(engine, headers))

    def stream_text(self, body: dict[str, Any], *, engine: str | None = None) -> Generator[TextChunk, None, None]:
        """Have a text continued by `POST /v1/completions`; otherwise as `stream_chat`."""
        return self._stream("/v1/completions", body, TextChunk, _for(engine))

    def _stream(
        self, path: str, body: dict[str, Any], chunk: Any, headers: dict[str, str]
    ) -> Generator[Any, None, None]:
        return self._events(path, body | {"stream": True}, chunk, "answer", headers=headers)

    def _events(
        self, path: str, body: dict[str, Any], type_: Any, what: str, *, headers: dict[str, str] | None = None
    ) -> Generator[Any, None, None]:
        """Ask, and read the stream of events until `[DONE]`, or as long as events are wanted.

        Args:
            type_: Of the events.
            what: Comes by them, for people.

        Raises:
            ClientError: Or a subclass, also midway.

        Source: WHATWG HTML, section 9.2.6 (event streams); the server writes one `data` line per event.
        """
        for line in self._lines("POST", path, body, headers):
            data = line.removeprefix("data:").strip() if line.startswith("data:") else ""
            if data == "[DONE]":
                return
            if data:
                yield decoded_event(data, type_)
        raise ServerAnswerError(f"The stream ended before the {what} did.", status=200, code="stream_cut")

    def _lines(
        self, method: str, path: str, body: dict[str, Any] | None, headers: dict[str, str] | None
    ) -> Generator[str, None, None]:
        """Ask, and read a stream line by line to its end; errors as in `_events`."""
        timeout = httpx.Timeout(STREAM_SILENCE_S, connect=CONNECT_TIMEOUT_S)
        request = self._client().build_request(method, path, json=body, headers=headers, timeout=timeout)
        with self._foreign_errors():
            response = self._client().send(request, stream=True)
            with contextlib.closing(response):
                if response.status_code != httpx.codes.OK:
                    response.read()
                    raise answer_error(response)
                yield from response.iter_lines()

    def _request(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | bytes | None = None,
        timeout_s: float = ANSWER_TIMEOUT_S,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        sent: dict[str, Any] = {"content": body} if isinstance(body, bytes) else {"json": body}
        with self._foreign_errors():
            timeout = httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S)
            response = self._client().request(method, path, headers=headers, timeout=timeout, **sent)
        if response.status_code != httpx.codes.OK:
            raise answer_error(response)
        return response

    def _client(self) -> httpx.Client:
        if self._http is None:
            # trust_env off: a proxy of the environment has no business between two processes of this machine.
            socket = self._instance.unix_socket
            url = "http://localhost" if socket is not None else reachable_url(self._instance.url)
            transport = httpx.HTTPTransport(uds=socket, verify=_trusted(url, self._instance.cert_file))
            headers = credentials(os.environ, unix_socket=socket, token_file=self._instance.token_file)
            self._http = httpx.Client(base_url=url, transport=transport, headers=headers, trust_env=False)
        return self._http

    @contextlib.contextmanager
    def _foreign_errors(self) -> Iterator[None]:
        """Turn httpx's errors into ours."""
        where = self._instance.unix_socket or self._instance.url
        try:
            yield
        except httpx.TimeoutException as exc:
            raise ServerUnreachableError(f"The server at {where} did not answer in time.") from exc
        except (httpx.ConnectError, httpx.UnsupportedProtocol) as exc:
            raise ServerUnreachableError(f"The server at {where} cannot be reached: {exc}.") from exc
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise ServerUnreachableError(f"The connection to the server at {where} broke: {exc}.") from exc

    def _decode(self, response: httpx.Response, type_: type[_T]) -> _T:
        try:
            return msgspec.json.decode(response.content, type=type_)
        except msgspec.DecodeError as exc:
            raise ServerAnswerError(
                f"The server at {self._instance.url} gave an answer that this mlxr does not understand ({exc}); "
                "is it another version?",
                status=response.status_code,
            ) from exc


def _trusted(url: str, cert_file: str | None) -> ssl.SSLContext | bool:
    """Return what to trust at an address: over plain HTTP nothing, because the system's list takes 20 ms to read."""
    if url.startswith("http:"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if cert_file is None:
        return True
    try:
        return only_trusting(Path(cert_file))
    except CertificateError as exc:
        raise ServerUnreachableError(f"The server's certificate cannot be checked: {exc}") from exc


def _for(engine: str | None, headers: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give the headers that ask for an engine, beside others."""
    return dict(headers or {}) | ({} if engine is None else {ENGINE_HEADER: engine})


def decoded_event(data: str, type_: Any) -> Any:
    """Decode an event of a stream that has begun.

    Raises:
        ServerAnswerError: It is an error, or nothing that this program knows.
    """
    status = int(httpx.codes.OK)
    try:
        return msgspec.json.decode(data, type=type_)
    except msgspec.ValidationError as exc:
        if data.startswith('{"error"'):
            raise error_of(msgspec.json.decode(data)["error"], status) from None
        raise ServerAnswerError(
            f"The server tells something that this mlxr does not understand ({exc}); is it another version?",
            status=status,
        ) from exc
    except msgspec.DecodeError as exc:
        raise ServerAnswerError(f"The stream carries something that is not JSON ({exc}).", status=status) from exc


def answer_error(response: httpx.Response) -> ServerAnswerError:
    """Read the error that an answer carries."""
    try:
        body = msgspec.json.decode(response.content)
    except msgspec.DecodeError:
        body = None
    error = body.get("error") if isinstance(body, dict) else None
    return error_of(error, response.status_code)


def error_of(error: Any, status: int) -> ServerAnswerError:
    """Read an error object of the server.

    Args:
        error: What stands under `error`.
    """
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        code = error.get("code")
        return ServerAnswerError(error["message"], status=status, code=code if isinstance(code, str) else None)
    return ServerAnswerError(f"The server answered with status {status} and no explanation.", status=status)
