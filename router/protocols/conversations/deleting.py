"""Deleting conversations with what runs in them."""

from collections.abc import Sequence

from router.protocols.serving import RequestService
from router.requests.register import RunningRequest
from router.stores.conversations import Conversations


async def delete_all_of(serving: RequestService, conversations: Conversations, ids: Sequence[str]) -> None:
    """Forget conversations; the answers that run in them are ended, and not kept.

    Raises:
        ConversationNotFoundError: One of them is not the caller's; those before it are gone.
    """
    for conversation_id in ids:
        for response_id in await conversations.kept.delete(conversation_id):
            running = serving.requests.get(response_id)
            if isinstance(running, RunningRequest):
                running.cancel()
