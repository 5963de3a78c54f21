"""How a worker is told to load a model, and what it says of the loaded one."""

from typing import Any

import msgspec

from backends.wire.request import Pooling, SpeculationMode

_SPARE_SLOTS = 24


class VisionSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How a model sees.

    Attributes:
        family: How its pictures are prepared, a row of `backends.images.families.FAMILIES`.
        projector_path: The GGUF file that makes rows of pictures, absolute; None = the tower is in the model's folder.
        projector_metadata: The `clip.*` values of that file's header.
        text_width: Width of the language model's hidden states.
        has_class_token: Whether the tower has a class token (`v.class_embd`).
        fingerprint: Of the weights that make rows; equal ones make equal rows of equal pixels.
        is_preloaded: Whether the tower is loaded with the model, and not with the first picture.
    """

    family: str
    projector_path: str | None = None
    projector_metadata: dict[str, Any] = {}
    text_width: int = 0
    has_class_token: bool = False
    fingerprint: str = ""
    is_preloaded: bool = False


class DraftSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A second model that guesses what the main one draws next.

    Attributes:
        name: What users call it.
        model_path: Its .gguf file, absolute.
        context_length: Tokens that one sequence may have in it; lowered to its own limit.
        kv_cells: Tokens of all sequences together.
        why_not: Why it is not to be loaded after all, for people.
    """

    name: str
    model_path: str = ""
    context_length: int = 8192
    kv_cells: int | None = None
    why_not: str | None = None


class RankHost(msgspec.Struct, frozen=True, kw_only=True):
    """Where one rank of a model runs that is spread over several processes.

    Attributes:
        ssh: By what name ssh reaches it; None = it is this machine.
        address: The IPv4 address at which the other ranks reach it.
        devices: Its RDMA device towards each rank, in order, None towards itself (jaccl).
    """

    ssh: str | None = None
    address: str = "127.0.0.1"
    devices: tuple[str | None, ...] = ()

    @property
    def label(self) -> str:
        """What people call it."""
        return self.ssh or "this machine"


class LoadSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Everything an engine needs to load one artifact.

    Attributes:
        model_path: The .gguf file (the first of a split set) or the MLX folder, absolute.
        context_length: Tokens one sequence may hold, prompt and answer together; lowered to the model's own limit.
        max_sequences: Sequences that may be in the batch at once, >= 1.
        kv_cells: Tokens that all sequences together may hold; None = the context length, or what the engine needs.
        first_cells: Of these, how many the cache is made with at the load; the others come when they are needed
            (llamacpp). None = all.
        checks_memory: Whether the machine is asked for its free memory before they come.
        step_tokens: Token budget of one step (prefill chunk and decode tokens together); None = the engine's default.
        num_threads: Compute threads, whatever else runs; None = as many as others leave cores for (llamacpp).
        max_threads: The most of those; None = one per physical core.
        holds_threads: Whether they are that many whatever else runs.
        use_mmap: Map the weights instead of reading them (llamacpp).
        flash_attention: `auto`, `on` or `off` (llamacpp).
        kv_type: Element type of the KV cache, e.g. `q8_0`, or of keys and values apart, `q8_0/q4_0` (llamacpp); None =
            float16, float32 for float32 weights.
        cache_limit_bytes: Upper bound of MLX's buffer cache; None = the engine's default.
        memory_limit_bytes: From where MLX waits for memory before it takes more; None = the engine's default.
        wired_limit_bytes: Metal's wired memory limit for MLX; None = the engine's default.
        saved_caches_dir: Folder of this artifact's saved caches, absolute; None = none are saved or read.
        saved_caches_max_bytes: Cap of that folder and its siblings together; None = by the free disk.
        saves_all_caches: Whether all kept caches are saved when the worker ends, and not only long beginnings that came
            more than once.
        slot_files_dir: Folder of the files that clients have caches of this artifact saved in, absolute, or None.
        cache_slots: Sequences beyond `max_sequences` whose cache is kept (ended ones, held ones), >= 0; None = 24, or
            as many again where that is more. None are kept where the model's memory makes each of them costly.
        checkpoint_bytes: What states of caches that cannot be cut may take, kept as beginnings for others.
        kept_bits: Per number of caches that are only kept (mlx); None = as they were computed.
        background_max_wait_s: How long interactive sequences may hold a background one, before it goes on for a while.
        session_ttl_s: How long the cache of a session's last answer is kept before those of no session.
        chat_template: The user's Jinja template, in the place of the model's own; None = that.
        adapter_path: LoRA adapter to lay over the model, absolute: a .gguf file (llamacpp) or a folder (mlx), or None.
        adapter_scale: What the adapter's effect is multiplied by; 1 = as its makers have it.
        vision: How it sees; None = it is a text model, or is to be one.
        speculation: Whether tokens are drafted for requests that do not say (llamacpp).
        draft: A smaller model of the same vocabulary that may draft them; None = none (llamacpp).
        hosts: Where its ranks run, rank 0 first, which is this machine; () = the worker has all of it (mlx).
        backend: How the ranks talk: `ring` over TCP, or `jaccl` over RDMA (mlx).
    """

    model_path: str
    context_length: int = 8192
    max_sequences: int = 8
    kv_cells: int | None = None
    first_cells: int | None = None
    checks_memory: bool = True
    step_tokens: int | None = None
    num_threads: int | None = None
    max_threads: int | None = None
    holds_threads: bool = False
    use_mmap: bool = True
    flash_attention: str = "auto"
    kv_type: str | None = None
    cache_limit_bytes: int | None = None
    memory_limit_bytes: int | None = None
    wired_limit_bytes: int | None = None
    saved_caches_dir: str | None = None
    saved_caches_max_bytes: int | None = None
    saves_all_caches: bool = False
    slot_files_dir: str | None = None
    cache_slots: int | None = None
    checkpoint_bytes: int = 1 << 30
    kept_bits: int | None = None
    background_max_wait_s: float = 60.0
    session_ttl_s: float = 600.0
    chat_template: str | None = None
    adapter_path: str | None = None
    adapter_scale: float = 1.0
    vision: VisionSpec | None = None
    speculation: SpeculationMode = SpeculationMode.OFF
    draft: DraftSpec | None = None
    hosts: tuple[RankHost, ...] = ()
    backend: str = "ring"

    @property
    def num_spare_slots(self) -> int:
        """Slots beyond `max_sequences`."""
        return max(_SPARE_SLOTS, self.max_sequences) if self.cache_slots is None else self.cache_slots


def kept_group_size(head_length: int) -> int:
    """Return how many numbers of a head share a scale where kept caches are packed (mlx); 0 = they are not.

    Source: mlx, `mx.quantize`: groups of 32, 64 or 128 along the last axis.
    """
    return next((size for size in (64, 32) if head_length % size == 0), 0)


def kv_types_of(kv_type: str) -> tuple[str, str]:
    """Return the types of keys and of values that one word says."""
    keys, _, values = kv_type.partition("/")
    return keys, values or keys


class LoadedDraftModel(msgspec.Struct, frozen=True, kw_only=True):
    """The model that drafts for another one.

    Attributes:
        name: What users call it.
        context_length: Tokens that one sequence may have in it.
        memory_bytes: Its weights, and what its context took when it was made.
    """

    name: str
    context_length: int
    memory_bytes: int


class LoadedModel(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker knows about the model it has loaded.

    Attributes:
        context_length: Tokens one sequence may hold, after the engine's and the model's limits.
        max_sequences: Sequences that may be in the batch at once.
        kv_cells: Tokens that all sequences together may hold.
        devices: Where the weights and the cache are, e.g. `("CPU",)`; llamacpp proves here that nothing was offloaded.
        can_generate: Whether it can continue a text; an encoder can only embed it.
        pooling: How the model's makers want its embeddings pooled; None = they do not say.
        why_no_drafts: Why no tokens can be drafted for its sequences; None = they can.
        draft: The model that may draft them; None = there is none.
        why_no_draft_model: Why there is none, though one was wanted.
    """

    context_length: int
    max_sequences: int
    kv_cells: int
    vocab_size: int
    devices: tuple[str, ...]
    can_generate: bool = True
    pooling: Pooling | None = None
    why_no_drafts: str | None = None
    draft: LoadedDraftModel | None = None
    why_no_draft_model: str | None = None
