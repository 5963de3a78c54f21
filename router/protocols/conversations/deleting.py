"""Deleting conversations with what runs in them."""

from collections.abc import Iterable

from router.protocols.serving import RequestService
from router.requests.register import RunningRequest


def end_answers(serving: RequestService, response_ids: Iterable[str]) -> None:
    """End answers whose conversations are gone; they are not kept."""
    for response_id in response_ids:
        running = serving.requests.get(response_id)
        if isinstance(running, RunningRequest):
            running.cancel()
