"""Requests of llama-server's introspection endpoints, each with a further `model`.

Source: llama.cpp, tools/server/README.md, "POST /tokenize", "POST /detokenize".
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from router.protocols.fields.ranges import ModelReference, TokenId

MAX_DETOKENIZED = 262_144


class TokenizeRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /tokenize."""

    content: str
    add_special: bool = False
    parse_special: bool = True
    with_pieces: bool = False
    model: ModelReference | None = None


class DetokenizeRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /detokenize."""

    tokens: Annotated[list[TokenId], Meta(max_length=MAX_DETOKENIZED)]
    model: ModelReference | None = None
