"""A small synchronous client of a running gateway, for the command line.

Every failure is one of three errors whose text is one sentence for a person. httpx is imported with the first request,
because it takes longer than most commands. Not here: finding the server (`instance.py`) and printing.

    ClientError                 client_error
    ├── ServerUnreachableError  server_unreachable   nobody answers, or not in time
    └── ServerAnswerError       the server's own     it answered with an error, or with something else than agreed
"""

import contextlib
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from router.cli.client.status import ServerStatus
from router.config.instance import RunningInstance
from router.http.headers import ENGINE_HEADER

if TYPE_CHECKING:
    import httpx

    from router.protocols.control.explain import Explanation

CONNECT_TIMEOUT_S: Final = 3.0
ANSWER_TIMEOUT_S: Final = 30.0

STOP_TIMEOUT_S: Final = 120.0
"""Stopping a model lets its answers finish first."""

STREAM_SILENCE_S: Final = 600.0
"""Longest silence inside a stream. The server sends a comment each few seconds, also while a request waits."""

_T = TypeVar("_T")


class ClientError(Exception):
    """Base of what the client raises.

    Attributes:
        code: Stable, machine-readable name of the failure.
    """

    code: str = "client_error"


class ServerUnreachableError(ClientError):
    """Nobody answers at the address, or not in time."""

    code = "server_unreachable"


class ServerAnswerError(ClientError):
    """The server answered with an error, or with something else than was agreed.

    Attributes:
        status: HTTP status; of a stream that failed midway the one it began with.
    """

    def __init__(self, message: str, *, status: int, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code or "unexpected_answer"


class StopResult(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `POST /v1/mlxr/models/stop`.

    Attributes:
        stopped: False when the model was not loaded.
    """

    stopped: bool
    freed_bytes: int | None = None
    unload_ms: float | None = None


class RequestStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One request that runs or waits, as `GET /v1/mlxr/requests` has it, as far as commands use it."""

    id: str
    model: str
    engine: str | None = None
    state: str
    priority: str = "interactive"
    session: str | None = None
    client: str | None = None
    age_s: float = 0.0
    prompt_tokens: int | None = None
    prompt_tokens_done: int | None = None
    prompt_tokens_cached: int | None = None
    output_tokens: tuple[int, ...] = ()


class _RequestList(msgspec.Struct, frozen=True):
    requests: tuple[RequestStatus, ...]


class _CancelResult(msgspec.Struct, frozen=True):
    cancelled: RequestStatus


class ChatDelta(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a streamed answer.

    Attributes:
        finish_reason: Why the answer ended; None before its end.
        timings: What the server measured; with the last piece.
    """

    text: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    timings: dict[str, Any] | None = None


class Client:
    """Talks to one running gateway. Use it in a `with`."""

    def __init__(self, instance: RunningInstance) -> None:
        self._instance = instance
        self._http: httpx.Client | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._http is not None:
            self._http.close()

    def status(self) -> ServerStatus:
        """Ask for the server's state."""
        return self._decode(self._request("GET", "/v1/mlxr/status"), ServerStatus)

    def status_document(self) -> dict[str, Any]:
        """Ask for the server's state as it stands in the answer, with every field.

        Returns:
            The JSON object.
        """
        return self._decode(self._request("GET", "/v1/mlxr/status"), dict[str, Any])

    def explain_engine(self, model: str, prompt_tokens: int, answer_tokens: int) -> "Explanation":
        """Ask which engine would serve a request of a model.

        Raises:
            ClientError: Or a subclass; with status 404 there is no such model.
        """
        from router.protocols.control.explain import Explanation

        query = f"model={quote(model, safe='')}&prompt_tokens={prompt_tokens}&answer_tokens={answer_tokens}"
        return self._decode(self._request("GET", f"/v1/mlxr/engine/explain?{query}"), Explanation)

    def stop_model(self, name: str) -> StopResult:
        """Unload a model.

        Raises:
            ClientError: Or a subclass; with status 404 there is no such model.
        """
        body = {"model": name}
        return self._decode(self._request("POST", "/v1/mlxr/models/stop", body, STOP_TIMEOUT_S), StopResult)

    def requests(self) -> tuple[RequestStatus, ...]:
        """Ask for the requests that run or wait, in the order of their arrival."""
        return self._decode(self._request("GET", "/v1/mlxr/requests"), _RequestList).requests

    def requests_document(self) -> dict[str, Any]:
        """Ask for the same as it stands in the answer, with every field."""
        return self._decode(self._request("GET", "/v1/mlxr/requests"), dict[str, Any])

    def cancel_request(self, request_id: str) -> RequestStatus:
        """End a request; its own client gets an error.

        Raises:
            ClientError: Or a subclass; with status 404 there is no such request.
        """
        path = f"/v1/mlxr/requests/{quote(request_id, safe='')}/cancel"
        return self._decode(self._request("POST", path, {}), _CancelResult).cancelled

    def stream_chat(self, body: dict[str, Any], *, engine: str | None = None) -> Generator[ChatDelta, None, None]:
        """Have a conversation continued; closing the iterator cancels the answer.

        Args:
            body: Of `POST /v1/chat/completions`, without `stream`.
            engine: The engine to use; None leaves it to the settings.

        Yields:
            The pieces of the answer, the last one with `finish_reason`.

        Raises:
            ClientError: Or a subclass, also midway.
        """
        import httpx

        headers = {} if engine is None else {ENGINE_HEADER: engine}
        timeout = httpx.Timeout(STREAM_SILENCE_S, connect=CONNECT_TIMEOUT_S)
        request = self._client().build_request(
            "POST", "/v1/chat/completions", json=body | {"stream": True}, headers=headers, timeout=timeout
        )
        with self._foreign_errors():
            response = self._client().send(request, stream=True)
            try:
                if response.status_code != httpx.codes.OK:
                    response.read()
                    raise answer_error(response)
                yield from _deltas(response.iter_lines(), response.status_code)
            finally:
                response.close()

    def _request(
        self, method: str, path: str, body: dict[str, Any] | None = None, timeout_s: float = ANSWER_TIMEOUT_S
    ) -> "httpx.Response":
        import httpx

        with self._foreign_errors():
            timeout = httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S)
            response = self._client().request(method, path, json=body, timeout=timeout)
        if response.status_code != httpx.codes.OK:
            raise answer_error(response)
        return response

    def _client(self) -> "httpx.Client":
        if self._http is None:
            import httpx

            # trust_env off: a proxy of the environment has no business between two processes of this machine.
            socket = self._instance.unix_socket
            transport = httpx.HTTPTransport(uds=socket) if socket is not None else None
            self._http = httpx.Client(base_url=reachable_url(self._instance.url), transport=transport, trust_env=False)
        return self._http

    @contextlib.contextmanager
    def _foreign_errors(self) -> Iterator[None]:
        """Turn httpx's errors into ours."""
        import httpx

        where = self._instance.unix_socket or self._instance.url
        try:
            yield
        except httpx.TimeoutException as exc:
            raise ServerUnreachableError(f"The server at {where} did not answer in time.") from exc
        except (httpx.ConnectError, httpx.UnsupportedProtocol) as exc:
            raise ServerUnreachableError(f"The server at {where} cannot be reached: {exc}.") from exc
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise ServerUnreachableError(f"The connection to the server at {where} broke: {exc}.") from exc

    def _decode(self, response: "httpx.Response", type_: type[_T]) -> _T:
        try:
            return msgspec.json.decode(response.content, type=type_)
        except msgspec.DecodeError as exc:
            raise ServerAnswerError(
                f"The server at {self._instance.url} gave an answer that this mlxr does not understand ({exc}); "
                "is it another version?",
                status=response.status_code,
            ) from exc


def reachable_url(url: str) -> str:
    """Replace an address that means "every interface" by the loopback one, to which a client can connect."""
    parts = urlsplit(url)
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(parts.hostname or "")  # noqa: S104 - the address to replace
    return url if host is None else f"{parts.scheme}://{host}:{parts.port}"


def _deltas(lines: Iterator[str], status: int) -> Iterator[ChatDelta]:
    """Read the events of a stream, until `[DONE]`.

    Source: WHATWG HTML, section 9.2.6 (event streams); the server writes one `data` line per event.
    """
    for line in lines:
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            return
        try:
            chunk = msgspec.json.decode(data)
        except msgspec.DecodeError as exc:
            raise ServerAnswerError(f"The stream carries something that is not JSON ({exc}).", status=status) from exc
        if isinstance(chunk, dict):
            if "error" in chunk:
                raise error_of(chunk["error"], status)
            yield _delta(chunk)
    raise ServerAnswerError("The stream ended before the answer did.", status=status, code="stream_cut")


def _delta(chunk: dict[str, Any]) -> ChatDelta:
    choice = (chunk.get("choices") or [{}])[0]
    delta = choice.get("delta") or {}
    return ChatDelta(
        text=delta.get("content") or "",
        reasoning=delta.get("reasoning_content") or "",
        finish_reason=choice.get("finish_reason"),
        timings=chunk.get("timings"),
    )


def answer_error(response: "httpx.Response") -> ServerAnswerError:
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
