"""OpenAI's API, as its endpoints name it."""

from typing import Final

from router.protocols.endpoint import Api
from router.protocols.fields.tools import AllowedChoice, NamedChoice
from router.protocols.openai.schemas import ImageURL

OPENAI_API: Final = Api("openai", "OpenAI's API.", read_by_type=(NamedChoice, AllowedChoice, ImageURL))
