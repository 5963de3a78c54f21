"""The config as frozen Structs: every key, its type, its range and its default.

`configs/server.yaml` is the same thing for people (a test holds the two together). Not here: reading the file
(`load.py`), editing it (`edit.py`), watching it (`watch.py`).

Units stand in the names: `_s` seconds, `_bytes`, `_tokens`. `None` always means "not set: mlxr chooses".
"""

import enum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from registry.engines import EngineSetting
from registry.hosts import why_no_group
from registry.settings import (
    KV_TYPES,
    ContextLength,
    HostWords,
    KVCacheMode,
    KVType,
    MaxTokens,
    MinP,
    NonEmpty,
    OneKVType,
    Parallel,
    RankBackend,
    SpeculationMode,
    Temperature,
    Threads,
    TopK,
    TopP,
    Workers,
)
from router.config.background import MAX_SECONDS, BatchesConfig, ConversationsConfig, Seconds, ShadowConfig
from router.config.cache import CacheConfig
from router.config.context import ContextConfig
from router.config.documents import DocumentsConfig
from router.config.heat import HeatConfig
from router.config.images import ImagesConfig
from router.config.inspector import InspectorConfig
from router.config.lifecycle import LifecycleConfig
from router.config.memory import MemoryConfig
from router.config.residency import Groups, ResidencyMode
from router.config.server import AbsolutePath, ServerConfig
from router.config.telemetry import TelemetryConfig
from router.config.upstreams import UpstreamConfig, check_upstreams

Preload = Annotated[
    Literal["none", "last"] | Annotated[tuple[NonEmpty, ...], Meta(min_length=1, max_length=16)],
    Meta(description="[NAME], several names, last or none"),
]
Origin = Annotated[
    str, Meta(pattern=r"^https?://[^/\s]+$", description="an origin like http://localhost:3000, without a path")
]


class FlashAttention(enum.StrEnum):
    """Whether llama.cpp computes attention without the full score matrix."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class LogLevel(enum.StrEnum):
    """The least important records that are still written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(enum.StrEnum):
    """How a record is written."""

    TEXT = "text"
    JSON = "json"


EngineFallback = Literal["refuse", "other", "upstream"]
"""What serves a request where the engine that is set cannot: nothing, the other engine here, or an upstream."""


class LimitsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Waiting: how many, how long, and when a worker counts as lost.

    Attributes:
        max_queue: Interactive requests that may wait; one more is answered 429.
        max_queue_background: The same for background requests.
        queue_timeout_s: Longest wait of an interactive request in the queue.
        queue_timeout_background_s: The same for a background request.
        background_max_wait_s: A background request that has waited this long is treated like an interactive one.
        swap_max_wait_s: How long requests for the resident model go on being served while others wait for a swap.
        swap_drain_timeout_s: What running requests get to finish before a swap cuts them off.
        load_timeout_s: Longest load of a model.
        stall_timeout_s: A busy worker without any sign of life for this long is killed.
        stop_timeout_s: From asking a worker to stop to killing it.
        reclaim_timeout_s: How long to look for the memory to come back after a worker ended.
        check_memory: Whether a model that would not fit into memory is refused before another one is unloaded for it.
        keep_alive_s: How long a model stays loaded without requests; `forever` = until it must go for another;
            None = by the machine's memory.
        worker_memory_bytes: Memory over which a worker is replaced, mapped weights included; None = no limit.
        request_timeout_s: Longest time from a request's arrival to its last token; None = no limit.
        first_token_timeout_s: Longest time from an interactive request's arrival to its first token; None = no limit.
        inter_token_timeout_s: Longest silence between two tokens of an interactive request; None = no limit.
        reattach_s: How long an answer whose client is gone waits for the same request to come again; 0 = not at all.
    """

    max_queue: Annotated[int, Meta(ge=1, le=100_000)] = 64
    max_queue_background: Annotated[int, Meta(ge=1, le=100_000)] = 1024
    queue_timeout_s: Seconds = 600.0
    queue_timeout_background_s: Seconds = MAX_SECONDS
    background_max_wait_s: Annotated[float, Meta(ge=0, le=MAX_SECONDS)] = 60.0
    swap_max_wait_s: Annotated[float, Meta(ge=0, le=MAX_SECONDS)] = 10.0
    swap_drain_timeout_s: Seconds = 300.0
    load_timeout_s: Seconds = 300.0
    stall_timeout_s: Seconds = 60.0
    stop_timeout_s: Seconds = 5.0
    reclaim_timeout_s: Seconds = 5.0
    check_memory: bool = True
    keep_alive_s: Annotated[float, Meta(ge=0, le=MAX_SECONDS)] | Literal["forever"] | None = None
    worker_memory_bytes: Annotated[int, Meta(ge=1 << 20)] | None = None
    request_timeout_s: Seconds | None = None
    first_token_timeout_s: Seconds | None = None
    inter_token_timeout_s: Seconds | None = None
    reattach_s: Annotated[float, Meta(ge=0, le=60)] = 0.6


class GenerationConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a request gets that does not say otherwise.

    Attributes:
        context_length: Tokens one request may use, prompt and answer together; lowered to the model's own limit. None =
            as many as the memory allows (`router.placement.context`).
        parallel: Sequences that a worker may run at a time.
        workers: Worker processes of the loaded model; requests are spread over them.
        max_tokens: Longest answer; None = by the machine's memory, on large ones what the context leaves.
        temperature: 0 is greedy.
        top_p: Smallest set of tokens whose probability reaches this.
        top_k: The k most likely tokens; None = all.
        min_p: Drop tokens less likely than this share of the likeliest.
        recommended_sampling: Whether what a model's makers recommend of these goes before them.
        allow_special_in_content: Whether control tokens written in messages count as such, instead of as text.
    """

    context_length: ContextLength | None = None
    parallel: Parallel = 8
    workers: Workers = 1
    max_tokens: MaxTokens | None = None
    temperature: Temperature = 1.0
    top_p: TopP = 1.0
    top_k: TopK | None = None
    min_p: MinP = 0.0
    recommended_sampling: bool = True
    allow_special_in_content: bool = False


class KVTypePair(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Element types of keys and of values.

    Attributes:
        k: Of the keys, which suffer more from few bits.
        v: Of the values.
    """

    k: OneKVType
    v: OneKVType

    @property
    def word(self) -> str:
        """Both in one word, as the settings of models have it."""
        return f"{self.k}/{self.v}"


AnyKVType = Annotated[
    KVType | KVTypePair,
    Meta(description=f"one of {', '.join(KV_TYPES)}, two of them like q8_0/q4_0, or {{k: q8_0, v: q4_0}}"),
]


class LlamaCppConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The llamacpp engine.

    Attributes:
        threads: Compute threads of each worker; all = the physical cores, shared by the workers; auto, or None = what
            other programs leave of these.
        batch_tokens: Token budget of one step: prefill chunks and decode tokens of all sequences together.
        kv_cells: Tokens that all sequences together may hold; None = `generation.context_length`.
        mmap: Map the weights from the file instead of reading them.
        kv_type: Element type of the KV cache, or of keys and values apart; None = float16, float32 for float32 weights.
        kv_cache: grow = the cache begins with 2,048 tokens and grows by need; whole = it is made whole by the load.
        flash_attention: auto lets llama.cpp decide by the model.
        speculation: Whether tokens are drafted for requests that do not say, and by what.
    """

    threads: Threads | None = "auto"
    batch_tokens: Annotated[int, Meta(ge=16, le=65_536)] = 512
    kv_cells: Annotated[int, Meta(ge=16, le=100_000_000)] | None = None
    mmap: bool = True
    kv_type: AnyKVType | None = None
    kv_cache: KVCacheMode = "grow"
    flash_attention: FlashAttention = FlashAttention.AUTO
    speculation: SpeculationMode = "auto"


class MLXConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The mlx engine.

    Attributes:
        prefill_step_tokens: Prompt tokens per step; None = 512 on Metal, 64 on a CPU; fewer where they take too long.
        cache_limit_bytes: MLX's buffer cache; None = by the machine's memory.
        memory_limit_bytes: From where MLX waits for memory before it takes more; None = by the machine's memory.
        wired_limit_bytes: Memory that Metal may keep wired; None = what Metal recommends.
        kept_cache_bits: Bits per number of caches of ended answers; None = as the model computes them.
        speculation: Whether tokens are drafted for requests that do not say; for one that computes alone.
        hosts: What every model on mlx is spread over; None = nothing. A model's own hosts go before these.
        backend: How the ranks on hosts talk: ring over TCP, jaccl over RDMA.
    """

    prefill_step_tokens: Annotated[int, Meta(ge=1, le=65_536)] | None = None
    cache_limit_bytes: Annotated[int, Meta(ge=0)] | None = None
    memory_limit_bytes: Annotated[int, Meta(ge=1 << 20)] | None = None
    wired_limit_bytes: Annotated[int, Meta(ge=0)] | None = None
    kept_cache_bits: Literal[8] | None = None
    speculation: SpeculationMode = "off"
    hosts: HostWords | None = None
    backend: RankBackend = "ring"

    def __post_init__(self) -> None:
        """Refuse hosts that cannot find each other.

        Raises:
            ValueError: As said.
        """
        problem = None if self.hosts is None else why_no_group(self.hosts)
        if problem is not None:
            raise ValueError(f"hosts: {problem}")


class ModelsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where models go, and where they are looked for.

    Attributes:
        dir: Where pulled, converted and made models go; None = `models` in mlxr's data folder.
        extra_folders: Further folders to look into, absolute or under `~/`.
        home_folder: Whether `~/Models/gguf` is scanned, where it exists.
        hf_cache: Whether Hugging Face's cache is scanned.
        hf_cache_dir: That cache; None = where Hugging Face's own tools keep it.
        lm_studio: Whether LM Studio's models are scanned.
        lm_studio_dir: Its models folder; None = where LM Studio keeps it, now or in earlier versions.
        ollama: Whether Ollama's store is scanned.
        ollama_dir: That store; None = `~/.ollama/models`.
        watch: Whether a running server notices changes of these folders by itself.
        hash_files: Whether a running server computes the checksums of model files in the background.
        preload: What is loaded in the background once the server is up: a list of models' names (one, where `residency`
            is exclusive), `last` = the model that was loaded last, or `none`.
    """

    dir: AbsolutePath | None = None
    extra_folders: tuple[AbsolutePath, ...] = ()
    home_folder: bool = True
    hf_cache: bool = True
    hf_cache_dir: AbsolutePath | None = None
    lm_studio: bool = True
    lm_studio_dir: AbsolutePath | None = None
    ollama: bool = True
    ollama_dir: AbsolutePath | None = None
    watch: bool = True
    hash_files: bool = True
    preload: Preload = "none"


class HubConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where models are pulled from; a Hugging Face hub or a mirror of it.

    Attributes:
        endpoint: Address of the hub; None = the environment's HF_ENDPOINT, else https://huggingface.co.
        token: The user's token for that hub; None = that of Hugging Face's tools, if any (HF_TOKEN, `hf auth login`).
        proxy: Address of an HTTP proxy; None = the environment's HTTPS_PROXY for a hub that is not on this machine.
        ca_file: Certificates to trust in place of the usual ones.
        ollama_registry: Address of the registry for names as Ollama's library has them; no token is sent there.
    """

    endpoint: Origin | None = None
    token: NonEmpty | None = None
    proxy: Origin | None = None
    ca_file: AbsolutePath | None = None
    ollama_registry: Origin = "https://registry.ollama.ai"

    def __repr__(self) -> str:
        """Leave out the secrets: the token, and a password in the proxy's address."""
        return f"HubConfig(endpoint={self.endpoint!r}, token={'set' if self.token else None})"


class LoggingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The gateway's log.

    Attributes:
        level: The least important records that are still written.
        format: text for people, json for machines (one object a line).
        file: Whether the log also goes to a file in mlxr's log folder.
        max_file_bytes: A log file of that size is put aside.
        num_old_files: How many of those are kept.
        prompts: Whether what clients send to models is logged.
    """

    level: LogLevel = LogLevel.INFO
    format: LogFormat = LogFormat.TEXT
    file: bool = True
    max_file_bytes: Annotated[int, Meta(ge=10_000, le=1 << 40)] = 10_000_000
    num_old_files: Annotated[int, Meta(ge=0, le=100)] = 3
    prompts: bool = False


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file; an absent key has its default.

    Attributes:
        engine: The global engine setting.
        engine_fallback: What serves a request where the engine that is set has no usable files of the model, or fails
            to load it: nothing, the other engine, or an upstream; None = nothing where the request named the engine,
            else the other one.
        residency: How many models may be loaded at a time: one, as many as the memory holds, or those of a group.
        groups: Models that may be loaded together where `residency` is `groups`; both engines of one model are together
            only where a group names both, whatever `residency` is.
        standby: Whether a waiting worker per engine is kept, its libraries imported.
        server: The HTTP front.
        limits: Waiting.
        memory: What is done when memory gets short.
        lifecycle: Giving the machine up for a while.
        heat: What is done when the machine gets hot.
        generation: Defaults of requests.
        images: Pictures in requests.
        documents: Documents that are read for models.
        cache: What is kept of sequences that have ended.
        context: Conversations that fill their context.
        conversations: What is kept of stored responses.
        inspector: Keeping the last requests to look at.
        shadow: Repeating requests on the other engine.
        batches: Files of requests.
        llamacpp: The llamacpp engine.
        mlx: The mlx engine.
        upstreams: Other servers whose models are served under this server's names.
        models: Where models are looked for.
        hub: Where models are pulled from.
        logging: The log.
        telemetry: What others' tools are told.
    """

    engine: EngineSetting = EngineSetting.AUTO
    engine_fallback: EngineFallback | None = None
    residency: ResidencyMode = "exclusive"
    groups: Groups = {}
    standby: bool = False
    server: ServerConfig = ServerConfig()
    limits: LimitsConfig = LimitsConfig()
    memory: MemoryConfig = MemoryConfig()
    heat: HeatConfig = HeatConfig()
    lifecycle: LifecycleConfig = LifecycleConfig()
    generation: GenerationConfig = GenerationConfig()
    images: ImagesConfig = ImagesConfig()
    documents: DocumentsConfig = DocumentsConfig()
    cache: CacheConfig = CacheConfig()
    context: ContextConfig = ContextConfig()
    conversations: ConversationsConfig = ConversationsConfig()
    inspector: InspectorConfig = InspectorConfig()
    shadow: ShadowConfig = ShadowConfig()
    batches: BatchesConfig = BatchesConfig()
    llamacpp: LlamaCppConfig = LlamaCppConfig()
    mlx: MLXConfig = MLXConfig()
    upstreams: tuple[UpstreamConfig, ...] = ()
    models: ModelsConfig = ModelsConfig()
    hub: HubConfig = HubConfig()
    logging: LoggingConfig = LoggingConfig()
    telemetry: TelemetryConfig = TelemetryConfig()

    def __post_init__(self) -> None:
        """Refuse what needs another key.

        Raises:
            ValueError: The engine or the fallback is an upstream, and there is none of that name, or none at all; or
                models are to be loaded together, and the residency does not allow it.
        """
        if self.residency == "groups" and not self.groups:
            raise ValueError("residency: groups needs a group, such as groups: {work: [NAME, OTHER]}; or use budget")
        if self.residency == "exclusive" and not isinstance(self.models.preload, str) and len(self.models.preload) > 1:
            raise ValueError(
                f"models.preload: {len(self.models.preload)} models are not loaded at a time with residency: "
                "exclusive; name one, or set residency to budget or groups"
            )
        engine = self.engine.engine
        check_upstreams(self.upstreams, ("engine", None if engine is None else engine.name))
        if self.engine_fallback == "upstream" and not self.upstreams:
            raise ValueError(
                "engine_fallback: upstream needs an upstream, and there are none; use other, refuse or null"
            )
