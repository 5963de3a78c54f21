"""The client's calls about conversions, for the command line. Not here: the connection and its errors (`client.py`)."""

import contextlib
from collections.abc import Generator

import msgspec

from router.cli.client.base import STOP_TIMEOUT_S, ServerAnswerError
from router.cli.client.events import EventClient
from router.jobs.conversions import CONVERSION_END, ConversionEvent
from router.jobs.convert.report import ConversionWish

CONVERT_PATH = "/v1/mlxr/models/convert"


class _Cancelled(msgspec.Struct, frozen=True, kw_only=True):
    model: str
    cancelled: int


class ConversionClient(EventClient):
    """Talks to one running gateway about conversions. Use it in a `with`."""

    def convert(self, name: str, wish: ConversionWish, *, is_forced: bool) -> Generator[ConversionEvent, None, None]:
        """Have the server convert a model; closing the iterator does not stop it.

        Args:
            is_forced: Keep a result that the comparison speaks against.

        Raises:
            ClientError: Or a subclass, also midway.
        """
        body = {"model": name, "force": is_forced} | msgspec.to_builtins(wish)
        stream: Generator[ConversionEvent, None, None] = self._events(CONVERT_PATH, body, ConversionEvent)
        with contextlib.closing(stream) as events:
            for event in events:
                yield event
                if isinstance(event, CONVERSION_END):
                    return
        raise ServerAnswerError("The stream ended before the conversion did.", status=200, code="stream_cut")

    def cancel_conversion(self, name: str) -> int:
        """Stop what is being made of a model.

        Raises:
            ClientError: Or a subclass; with status 404 there is nothing to stop.
        """
        answer = self._request("POST", f"{CONVERT_PATH}/cancel", {"model": name}, STOP_TIMEOUT_S)
        return self._decode(answer, _Cancelled).cancelled
