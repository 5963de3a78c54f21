"""Requests of llama-server's introspection endpoints, each with a further `model`.

Source: llama.cpp, tools/server/README.md, "POST /tokenize", "POST /detokenize".
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from router.protocols.openai.schemas import TokenId

MAX_DETOKENIZED = 262_144

ModelName = Annotated[str, Meta(min_length=1, max_length=256)]


class TokenizeRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /tokenize."""

    content: str
    add_special: bool = False
    parse_special: bool = True
    with_pieces: bool = False
    model: ModelName | None = None


class DetokenizeRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /detokenize."""

    tokens: Annotated[list[TokenId], Meta(max_length=MAX_DETOKENIZED)]
    model: ModelName | None = None
