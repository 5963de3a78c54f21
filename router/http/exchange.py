"""One request and its answer as logs, metrics and traces see it: who asked for what, by which id, and what came of it.

The outermost layer makes it (`router.http.access_log`); whoever answers writes what it knows into the current one.
Where no request is being answered, nothing is noted. Not here: lines of the log, and what is counted.
"""

import contextlib
import logging
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar, Token
from typing import Any, Final, NamedTuple

import msgspec

from router.http.headers import REQUEST_ID_HEADER
from router.http.trace_context import TraceContext

MAX_ID_CHARS: Final = 128

_SANE_ID: Final = re.compile(rb"[A-Za-z0-9_.:/+=@-]{1,%d}" % MAX_ID_CHARS)
_CLIENT_IS_GONE: Final = 499
_FIRST_ERROR: Final = 400


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What serving a model to one request took; None = it did not come to that.

    Attributes:
        operation: `chat`, `text_completion` or `embeddings`. Source: OpenTelemetry, `gen_ai.operation.name`.
        num_prompt_tokens: Of all its prompts.
        num_cached_tokens: Those of them that had not to be computed.
        num_output_tokens: Of all its answers.
        queue_s: Until a worker took it, without the load it waited for.
        load_s: The load it waited for.
        first_token_s: From its arrival to its first output.
        whole_s: From its arrival to its end, or until now.
        prefill_s: From the first step of its prompt to the first token; of several prompts the longest.
        decode_s: From the first token to the last; of several answers the longest.
        longest_gap_s: The longest time between two readings of output.
    """

    protocol: str
    model: str
    engine: str | None
    operation: str
    priority: str
    num_prompt_tokens: int | None = None
    num_cached_tokens: int | None = None
    num_output_tokens: int = 0
    queue_s: float | None = None
    load_s: float | None = None
    first_token_s: float | None = None
    whole_s: float
    prefill_s: float | None = None
    decode_s: float | None = None
    longest_gap_s: float | None = None

    @property
    def num_prefilled_tokens(self) -> int | None:
        """Tokens of the prompts that were computed."""
        if self.num_prompt_tokens is None:
            return None
        return self.num_prompt_tokens - (self.num_cached_tokens or 0)


class NotedError(NamedTuple):
    """An error that was answered, or that ended a stream: the status it has or would have had, and its code."""

    status: int
    code: str


class Exchange:
    """One request by HTTP, from its head to the end of its answer.

    Args:
        sent_id: The client's own `X-Request-Id`, where it is one that can be shown.
        trace: Where it stands in its client's trace, or None.

    Attributes:
        request_id: Of the answer's header and of all lines of the log.
        key: Name of the key that it came with.
        protocol: Whose endpoint was asked; None = nobody's, or the request never came to one.
        needs_model: Whether that endpoint serves a model.
        model: The model that was asked for, by its name in the registry; None = none, or none that is known.
        account: Tells what serving a model has taken so far; None = no model served it.
        error: The last error that its client was told, or would have been.
        status: What was sent; None = nothing.
        duration_s: Once it has ended.
    """

    def __init__(
        self, *, method: str, path: str, sent_id: str | None = None, trace: TraceContext | None = None
    ) -> None:
        self.method = method
        self.path = path
        self.sent_id = sent_id
        self.trace = trace
        self.duration_s = 0.0
        self.request_id = sent_id or f"req_{secrets.token_hex(12)}"
        self.key = ""
        self.protocol: str | None = None
        self.needs_model = False
        self.model: str | None = None
        self.account: Callable[[], Account] | None = None
        self.error: NotedError | None = None
        self.status: int | None = None

    @property
    def outcome(self) -> int:
        """The status of the answer, or the one that the error would have had which ended it later."""
        if self.error is not None:
            return self.error.status
        return _CLIENT_IS_GONE if self.status is None else self.status


RECORD_STATE: Final = "record_request"
"""Key of a WebSocket's state: makes a request in it the current one, logged and told when it has ended."""

_current: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


def sane_request_id(headers: list[tuple[bytes, bytes]]) -> str | None:
    """Return the id that a client gave its request; None = it gave none, or none that may stand in logs and headers."""
    values = [value for name, value in headers if name == REQUEST_ID_HEADER]
    return values[0].decode("ascii") if len(values) == 1 and _SANE_ID.fullmatch(values[0]) else None


def begin_exchange(exchange: Exchange) -> Token[Exchange | None]:
    """Make an exchange the current one of this task and of those that it starts."""
    return _current.set(exchange)


def end_exchange(token: Token[Exchange | None]) -> None:
    """Undo `begin_exchange`."""
    _current.reset(token)


def current_exchange() -> Exchange | None:
    """Return the request that is being answered; None where none is."""
    return _current.get()


class RequestIdFilter(logging.Filter):
    """Gives each record of the log the id of the request that it was made for."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        exchange = _current.get()
        if exchange is not None and not hasattr(record, "request_id"):
            record.request_id = exchange.request_id
        return True


def note_status(exchange: Exchange, status: int) -> None:
    """Note what is sent; an error before a good answer was that of another try."""
    exchange.status = status
    if status < _FIRST_ERROR:
        exchange.error = None


@contextlib.contextmanager
def recorded_message(state: Mapping[str, Any]) -> Iterator[Exchange]:
    """Have a request of a WebSocket logged and counted as one by HTTP is; nobody does that for an app by itself."""
    record: Callable[[], contextlib.AbstractContextManager[Exchange]] | None = state.get(RECORD_STATE)
    with contextlib.nullcontext(Exchange(method="", path="")) if record is None else record() as exchange:
        yield exchange


def sent_request_id() -> str | None:
    """Return the id that the client at hand gave its request, or None."""
    exchange = _current.get()
    return None if exchange is None else exchange.sent_id


def note_endpoint(protocol: str, *, needs_model: bool) -> None:
    """Note whose endpoint is asked."""
    exchange = _current.get()
    if exchange is not None:
        exchange.protocol, exchange.needs_model = protocol, needs_model


def note_model(name: str) -> None:
    """Note which model of the registry is asked for."""
    exchange = _current.get()
    if exchange is not None:
        exchange.model = name


def note_answer(answer_id: str, account: Callable[[], Account]) -> None:
    """Note what serves the request; the answer's id is the request's, unless its client has given it one."""
    exchange = _current.get()
    if exchange is not None:
        exchange.account = account
        if exchange.sent_id is None:
            exchange.request_id = answer_id


def note_error(status: int, code: str) -> None:
    """Note an error of which the client was told, or would have been if it were still there."""
    exchange = _current.get()
    if exchange is not None:
        exchange.error = NotedError(status, code)
