"""OpenAI's Conversations API, as its endpoints name it."""

from typing import Final

from router.protocols.endpoint import Api
from router.protocols.responses.api import RESPONSES_API

CONVERSATIONS_API: Final = Api("conversations", "OpenAI's Conversations API.", read_by_type=RESPONSES_API.read_by_type)
