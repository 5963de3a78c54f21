"""What a running gateway tells of itself: the bodies of `/health`, `/ready` and `/v1/mlxr/status`.

The gateway encodes them, the API's document shows them, the command line and the benchmark decode them. Units stand in
the names; absent = not measured. Light on purpose: the command line imports it.
"""

import msgspec

from backends.wire.threads import ThreadsReason
from registry.settings import Threads
from router.status.contexts import RunningContext
from router.status.memory import HeatStatus, MemoryStatus
from router.status.residency import ResidencyStatus
from router.status.upstreams import UpstreamStatus


class ResidentModel(msgspec.Struct, frozen=True):
    """A loaded model, `name` or `name+adapter`."""

    model: str
    engine: str


class Health(msgspec.Struct, frozen=True):
    """Body of GET /health."""

    status: str
    resident: list[ResidentModel]


class Ready(msgspec.Struct, frozen=True):
    """Body of GET /ready.

    Attributes:
        status: `ready` or `not_ready`.
        reasons: What stands in the way, one sentence each.
    """

    status: str
    reasons: list[str]


class WorkerRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A worker, by its number in this gateway's life and its process.

    Attributes:
        pid: Null = it is no process of this machine.
    """

    id: int
    pid: int | None


class ShownImages(msgspec.Struct, frozen=True):
    """How large a model is shown pictures, by their longer side.

    Attributes:
        max_side_px: Where a request does not say; null = as large as the model takes them.
        high_side_px: What a request may ask for.
    """

    max_side_px: int | None
    high_side_px: int


class ModelStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Where a model stands on one engine; `router.states` has the words.

    Attributes:
        at: Of the last change, seconds since 1970.
        model: `name` or `name+adapter`.
        state: `idle`, `loading`, `ready`, `generating`, `draining` or `error`.
        num_running: Sequences that run.
        load_fraction: Share of a running load, 0..1, in steps of 0.05.
        reason: Why it is in error, or was unloaded.
        way_out: What to do about an error, or how an unloaded model comes back.
    """

    at: float
    model: str
    engine: str
    state: str
    num_running: int = 0
    load_fraction: float | None = None
    reason: str | None = None
    way_out: str | None = None


class DraftStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The smaller model that is set to draft for a loaded one.

    Attributes:
        context_length: Tokens that one sequence may have in it; null = it is not loaded.
        memory_bytes: What it takes of the worker's memory; null = it is not loaded.
        why_not: Why it is not loaded; null = it is.
    """

    model: str
    context_length: int | None
    memory_bytes: int | None
    why_not: str | None


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One worker process.

    Attributes:
        state: `loading`, `ready`, `generating`, `draining`, `standby` or `stopping` (`router.states`).
        num_background: Those of them that run in the background.
        load_fraction: Share of a running load, 0..1.
        devices: Where weights and cache are, by the engine's own account.
        load: What of the load is not as the config has it.
        num_threads: Compute threads (llamacpp), at most; null = the engine chooses.
        num_threads_now: Those of the last step, fewer where other programs use the cores; null = it is not known yet.
        num_cells: Tokens that its cache may hold; null = it is not known yet.
        num_cells_made: For how many it has memory by now; null = for all, or it does not tell.
        num_cells_used: Those that running requests have claimed; null = it is not known yet.
        num_cache_growths: How often it has got memory for more.
        num_kept_tokens: Those of ended answers whose caches are kept for what begins alike; null = it is not known yet.
        num_checkpoints: States at which prompts can begin that share a part of an earlier one; null as above.
        checkpoint_bytes: What they take.
        threads_reason: Why these.
        speculation: Whether tokens are drafted for requests that do not say; None = the engine has no such setting.
        why_no_drafts: Why none can be; None = they can, or nothing is loaded.
        draft: What is set to draft them; null = nothing is, or nothing is loaded.
        expires_at: When the model is unloaded if no request comes, seconds since 1970; null = it stays, or is used.
        vision: How large it is shown pictures; null = it cannot see.
    """

    id: int
    pid: int | None
    engine: str
    model: str | None
    adapter: str | None
    state: str
    rss_bytes: int | None
    num_running: int
    num_background: int
    num_waiting: int | None
    load_ms: float | None
    load_fraction: float | None
    loaded_at: float | None
    context_length: int | None
    devices: list[str]
    engine_versions: dict[str, str]
    features: str
    path: str | None
    load: dict[str, int | str]
    num_threads: int | None
    expires_at: float | None
    vision: ShownImages | None = None
    num_threads_now: int | None = None
    num_cells: int | None = None
    num_cells_made: int | None = None
    num_cells_used: int | None = None
    num_cache_growths: int | None = None
    num_kept_tokens: int | None = None
    num_checkpoints: int | None = None
    checkpoint_bytes: int | None = None
    threads_reason: ThreadsReason | None = None
    speculation: str | None = None
    why_no_drafts: str | None = None
    draft: DraftStatus | None = None


class WaitingTarget(msgspec.Struct, frozen=True):
    """Requests that wait for one model, `name` or `name+adapter`, on one engine."""

    model: str
    engine: str
    num_waiting: int


class QueueStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The queue in front of the workers.

    Attributes:
        num_background: Those of them that are background requests.
    """

    num_waiting: int
    num_background: int
    limit: int
    limit_background: int
    oldest_wait_s: float | None
    by_target: list[WaitingTarget]


class Swap(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One load or one unload, as measured; absent = not measured.

    Attributes:
        at: Seconds since 1970.
        event: `load` or `unload`.
        engine: `mlx` or `llamacpp`.
        load_ms: From the decision to load to the model being ready, the start of the process included.
        unload_ms: From the decision to stop to the memory being back.
        freed_bytes: Resident memory of the worker just before it was told to end; the process is reaped, so it is free.
        rss_before_bytes: Of the worker: before the load, or the same figure, under the name that `workers` uses.
        rss_after_bytes: Of the worker when the model was ready.
        anonymous_before_bytes: Of what an unload frees, the part that is no mapped file.
        available_before_bytes: Of the machine, just before the load or before the worker was told to end.
        available_after_bytes: Of the machine, when the model was ready or the worker's memory back.
        is_memory_back: Whether the memory held on the machine fell by RECLAIM_SHARE of the anonymous part in time.
    """

    at: float
    event: str
    model: str
    engine: str
    reason: str | None = None
    load_ms: float | None = None
    unload_ms: float | None = None
    freed_bytes: int | None = None
    rss_before_bytes: int | None = None
    rss_after_bytes: int | None = None
    anonymous_before_bytes: int | None = None
    available_before_bytes: int | None = None
    available_after_bytes: int | None = None
    is_memory_back: bool | None = None

    def log_line(self) -> str:
        """Return the record as one line for the log."""
        fields = {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}
        del fields["at"], fields["event"]
        text = " ".join(
            f"{name}={value:.1f}" if isinstance(value, float) else f"{name}={value}" for name, value in fields.items()
        )
        return f"{self.event} {text}"


class HashProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far the checksums are.

    Attributes:
        num_artifacts_left: Artifacts not finished, the one in work among them.
        path: The first file of the one in work.
    """

    num_artifacts_left: int
    done_bytes: int
    total_bytes: int
    path: str


class SavedCachesStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Caches of prompts on the disk, of all models.

    Attributes:
        max_bytes: In force now; by default it follows the free disk.
    """

    num_caches: int
    num_bytes: int
    max_bytes: int


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Body of GET /v1/mlxr/status.

    Attributes:
        checksums: How far the checksums of model files are; null when none are being computed.
        models: Those that were asked for since the start, the one that changed last at the end; all others are idle.
        suspended: Why nothing is kept loaded; null = the server is not suspended.
        restart: Why the server is to be restarted: other files were installed under it; null = not known to be so.
        memory: null = not told, by older servers; so are `heat`, `threads` and `saved_caches`.
        threads: Of loads on llamacpp that say nothing of them.
        upstreams: Other servers whose models are served, with those of their models that are for whoever asks.
        contexts: Of running requests whose conversations may be wound, as far as they are known.
        memory_of_models: What `residency` comes to: what each loaded model takes, and who would go next; null = not
            told, by older servers.
    """

    version: str
    pid: int
    uptime_s: float
    url: str | None
    engine_setting: str
    config_error: str | None
    residency: str
    standby: bool
    workers: list[WorkerStatus]
    queue: QueueStatus
    swaps: list[Swap]
    memory_total_bytes: int
    memory_available_bytes: int
    gateway_rss_bytes: int | None
    checksums: HashProgress | None
    models: list[ModelStatus] = []
    memory: MemoryStatus | None = None
    heat: HeatStatus | None = None
    saved_caches: SavedCachesStatus | None = None
    suspended: str | None = None
    restart: str | None = None
    threads: Threads | None = None
    contexts: list[RunningContext] = []
    memory_of_models: ResidencyStatus | None = None
    upstreams: list[UpstreamStatus] = []


class SuspendResponse(msgspec.Struct, frozen=True, kw_only=True):
    """What suspending did.

    Attributes:
        suspended: false where a request has loaded a model meanwhile.
        unloaded: What was loaded; nothing when it was suspended already.
        freed_bytes: null where nothing was unloaded.
    """

    suspended: bool
    unloaded: list[ResidentModel]
    freed_bytes: int | None


class ResumeResponse(msgspec.Struct, frozen=True, kw_only=True):
    """What resuming did.

    Attributes:
        resumed: Whether the server was suspended.
        loading: What is loaded again in the background.
    """

    resumed: bool
    loading: list[ResidentModel]


class StopResponse(msgspec.Struct, frozen=True, kw_only=True):
    """What stopping did; figures are null when the model was not loaded."""

    stopped: bool
    freed_bytes: int | None
    unload_ms: float | None
