"""A client of the gateway's own event streams, for the command line. Not here: what the events are."""

import contextlib
from collections.abc import Generator
from typing import Any

import msgspec

from router.cli.client.base import (
    CONNECT_TIMEOUT_S,
    STREAM_SILENCE_S,
    Client,
    ServerAnswerError,
    answer_error,
    error_of,
)


class EventClient(Client):
    """Talks to one running gateway. Use it in a `with`."""

    def _events(self, path: str, body: dict[str, Any], type_: Any) -> Generator[Any, None, None]:
        """Ask, and read the stream of events to its end.

        Args:
            body: As JSON.
            type_: Of the events, a union of tagged Structs.

        Raises:
            ClientError: Or a subclass, also midway.
        """
        import httpx

        timeout = httpx.Timeout(STREAM_SILENCE_S, connect=CONNECT_TIMEOUT_S)
        request = self._client().build_request("POST", path, json=body, timeout=timeout)
        with self._foreign_errors():
            response = self._client().send(request, stream=True)
            with contextlib.closing(response):
                if response.status_code != httpx.codes.OK:
                    response.read()
                    raise answer_error(response)
                for line in response.iter_lines():
                    if line.startswith("data:"):
                        yield _event(line.removeprefix("data:").strip(), type_, response.status_code)


def _event(data: str, type_: Any, status: int) -> Any:
    try:
        return msgspec.json.decode(data, type=type_)
    except msgspec.DecodeError as exc:
        value: Any = msgspec.json.decode(data) if data.startswith('{"error"') else None
        if isinstance(value, dict):
            raise error_of(value.get("error"), status) from None
        raise ServerAnswerError(
            f"The server tells something that this mlxr does not understand ({exc}); is it another version?",
            status=status,
        ) from exc
