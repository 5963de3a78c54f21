"""What is kept of `/v1/responses` between requests: private data of the user's, in a database of its own.

Responses go by age and size; conversations stay until somebody deletes them.
"""

from router.stores.conversations.keeper import Conversations
from router.stores.conversations.kept import Branches, KeptConversations
from router.stores.conversations.listing import OWN_SOURCE, SOURCE_KEY, Found, StoredSizes
from router.stores.conversations.records import Conversation, ConversationAnswer, ConversationItem, Turn
from router.stores.conversations.store import ConversationStore, StoredResponse

__all__ = [
    "OWN_SOURCE",
    "SOURCE_KEY",
    "Branches",
    "Conversation",
    "ConversationAnswer",
    "ConversationItem",
    "ConversationStore",
    "Conversations",
    "Found",
    "KeptConversations",
    "StoredResponse",
    "StoredSizes",
    "Turn",
]
