"""What differs between the protocols that upstreams speak: one row each."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from backends.wire.messages import Embed, Generate
from router.models.defaults import RequestDefaults
from router.upstreams import ollama
from router.upstreams.bodies import Asked, asked
from router.upstreams.chunks import Answer
from router.upstreams.embedding import EMBEDDINGS_PATH, embedding_body
from router.upstreams.fields import Honoured
from router.upstreams.lines import event_data
from router.upstreams.transport import base_url


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """One protocol.

    Attributes:
        base_url: From the config's address to the one before all paths.
        list_path: Where the models are listed, and `listing` that list as OpenAI has it.
        asked: What is sent for a sequence.
        answer: What takes its answer, told what tools are called by the client.
        data_of: What a line of a stream carries; None = nothing.
        whole_type: The type of an answer that comes as one piece though a stream was asked for.
        embed_path: Where vectors are made; `vectors_body` is what is sent, `vectors` the answer as OpenAI has it.
    """

    base_url: Callable[[str], str]
    list_path: str
    listing: Callable[[Any], Any]
    asked: Callable[[Generate, str, Honoured, RequestDefaults], Asked]
    answer: Callable[[dict[str, str]], Answer]
    data_of: Callable[[bytes], bytes | None]
    whole_type: str
    embed_path: str
    vectors_body: Callable[[Embed, str, Honoured], dict[str, Any]]
    vectors: Callable[[Any], Any]


OPENAI: Final = Dialect(
    base_url=base_url,
    list_path="/models",
    listing=lambda body: body,
    asked=asked,
    answer=Answer,
    data_of=event_data,
    whole_type="application/json",
    embed_path=EMBEDDINGS_PATH,
    vectors_body=embedding_body,
    vectors=lambda body: body,
)
OLLAMA: Final = Dialect(
    base_url=ollama.base_url,
    list_path=ollama.LIST_PATH,
    listing=ollama.listing,
    asked=ollama.asked,
    answer=ollama.OllamaAnswer,
    data_of=lambda line: line or None,
    whole_type="",
    embed_path=ollama.EMBED_PATH,
    vectors_body=ollama.vectors_body,
    vectors=ollama.vectors,
)
DIALECTS: Final = {"openai": OPENAI, "mlxr": OPENAI, "ollama": OLLAMA}
