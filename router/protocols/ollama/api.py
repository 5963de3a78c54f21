"""Ollama's API, as its endpoints name it, and errors as its clients read them.

Source: Ollama, api/types.go (`StatusError`).
"""

from typing import Final

import msgspec

from router.http.dialect import Dialect, ShownError
from router.protocols.endpoint import Api


class OllamaError(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An error as Ollama's clients read it."""

    error: str


def ollama_error(shown: ShownError) -> OllamaError:
    """Return Ollama's error body: a bare message."""
    return OllamaError(shown.message)


OLLAMA_ERRORS: Final = Dialect("ollama", OllamaError, ollama_error, chunk_head=b"", chunk_tail=b"\n")

OLLAMA_API: Final = Api("ollama", "Ollama's API.", dialect=OLLAMA_ERRORS, prefixes=("/api",))
