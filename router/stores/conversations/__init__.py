"""What is kept of `/v1/responses` between requests: private data of the user's, in a database of its own."""

from router.stores.conversations.keeper import Conversations
from router.stores.conversations.store import ConversationStore, StoredResponse

__all__ = ["ConversationStore", "Conversations", "StoredResponse"]
