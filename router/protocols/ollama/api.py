"""Ollama's API, as its endpoints name it."""

from typing import Final

from router.protocols.endpoint import Api
from router.protocols.ollama.errors import OLLAMA_ERRORS

OLLAMA_API: Final = Api("ollama", "Ollama's API.", dialect=OLLAMA_ERRORS, prefixes=("/api",))
