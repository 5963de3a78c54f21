"""One kept response. Not here: how it is stored (`store`)."""

from typing import Any

import msgspec


class StoredResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A response with what it was asked, and the response that it goes on from.

    Attributes:
        response_id: `resp_…`.
        root_id: The first response of its conversation; its own id where it is that.
        previous_id: What it goes on from, or None.
        created_at: Seconds since 1970.
        status: As in `body`.
        input: JSON of its own input items, those of earlier responses not among them.
        body: JSON of the response object.
    """

    response_id: str
    root_id: str
    previous_id: str | None
    created_at: float
    status: str
    input: bytes
    body: bytes

    @property
    def input_items(self) -> list[dict[str, Any]]:
        """Its own input items."""
        return msgspec.json.decode(self.input, type=list[dict[str, Any]])

    @property
    def output_items(self) -> list[dict[str, Any]]:
        """The items of its answer."""
        return msgspec.json.decode(self.body, type=_Output).output


class _Output(msgspec.Struct):
    output: list[dict[str, Any]]
