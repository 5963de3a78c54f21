"""What the Responses API has beside requests that run: what is kept of them, and those that run in the background."""

import asyncio
import logging

import msgspec

from router.errors import StoreUnavailableError
from router.jobs.background import BackgroundResponses
from router.stores.conversations import Conversations

logger = logging.getLogger(__name__)


class ResponsesDesk:
    """That of a gateway. `run` is its task.

    Args:
        conversations: What is kept; closed at the end.

    Attributes:
        background: Those that run without a client.
    """

    def __init__(self, conversations: Conversations) -> None:
        self.conversations = conversations
        self.background = BackgroundResponses()

    async def run(self) -> None:
        """Work until cancelled; then end what runs, write everything and close."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.background.run())
                tasks.create_task(self.conversations.run())
                tasks.create_task(self._end_cut_off())
        finally:
            await self.conversations.close()

    async def _end_cut_off(self) -> None:
        """Say of the responses that the end of an earlier gateway cut off that they have failed."""
        try:
            for response in await self.conversations.unfinished():
                if self.background.get(response.response_id) is None:
                    error = {"code": "server_error", "message": "The server ended before the response did; ask again."}
                    body = msgspec.json.decode(response.body) | {"status": "failed", "error": error}
                    failed = msgspec.structs.replace(response, status="failed", body=msgspec.json.encode(body))
                    self.conversations.keep(failed)
        except StoreUnavailableError as exc:
            logger.warning("responses are not stored: %s", exc)
