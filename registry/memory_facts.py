"""What a model's files say of the memory that it needs, beyond its size and its KV cache. Plain data.

Not here: the sums made of it (`memory_fit.py`), and how it is read (`gguf/memory.py`, `mlx_memory.py`).
"""

import msgspec


class MemoryFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The inputs of a memory estimate.

    Attributes:
        num_heads: Query heads, the most of any layer; None when unknown.
        feed_forward_length: Width inside the feed-forward part for one token, all experts it uses together; None when
            unknown.
        num_attention_layers: Layers that keep keys and values; None = all.
        recurrent_bytes: State of one sequence in layers without attention, in float32; 0 without such layers.
        latent_length: Elements kept per token and layer where keys and values are kept in compressed form (multi-head
            latent attention) and `KVGeometry` gives the expanded one; None otherwise.
        half_bytes: Bytes of weights in 16-bit or 8-bit floats.
        float8_bytes: Those of them in 8-bit floats.
        type_bytes: Bytes of matrices per GGUF tensor type, embeddings included; empty for other formats.
    """

    num_heads: int | None = None
    feed_forward_length: int | None = None
    num_attention_layers: int | None = None
    recurrent_bytes: int = 0
    latent_length: int | None = None
    half_bytes: int = 0
    float8_bytes: int = 0
    type_bytes: dict[str, int] = {}
