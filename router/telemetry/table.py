"""Every metric that there is, declared once: what /metrics, /v1/metrics, docs/telemetry.md and the dashboard go by.

Names carry their unit. Those of OpenTelemetry's conventions for generative AI are as Prometheus writes them (`_` for a
point, the unit at the end, no unit for counts in braces). Source: OpenTelemetry, semantic conventions 1.37, "Semantic
conventions for generative AI metrics". Light: nothing of prometheus-client.
"""

from typing import Final, Literal

import msgspec

Kind = Literal["counter", "gauge", "histogram"]


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One family of time series.

    Attributes:
        name: As it is scraped, of a histogram without `_bucket`, `_sum` and `_count`.
        what: It counts or measures, one sentence.
        bounds: Upper bounds of a histogram's buckets, without the last, which is infinite.
    """

    name: str
    kind: Kind
    what: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


SHORT_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""For gaps between tokens. Source of the lower ones: the same convention, `gen_ai.server.time_per_output_token`."""
LONG_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""For what a person waits for."""
TOKENS: Final = (1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0)

_BY: Final = ("protocol", "model", "engine")
_ON: Final = ("model", "engine")
_GEN_AI: Final = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")


def _counter(name: str, what: str, *labels: str) -> Metric:
    return Metric(name=name, kind="counter", what=what, labels=labels)


def _gauge(name: str, what: str, *labels: str) -> Metric:
    return Metric(name=name, kind="gauge", what=what, labels=labels)


def _histogram(name: str, what: str, bounds: tuple[float, ...], *labels: str) -> Metric:
    return Metric(name=name, kind="histogram", what=what, labels=labels, bounds=bounds)


REQUESTS: Final = _counter(
    "mlxr_requests_total",
    "Requests by HTTP that have ended, by the status that they had, or that the error had which ended a stream.",
    *_BY,
    "status",
)
ERRORS: Final = _counter("mlxr_request_errors_total", "Requests by HTTP that ended with an error.", "protocol", "code")
IN_FLIGHT: Final = _gauge("mlxr_requests_in_flight", "Requests for a model that have not ended.")
QUEUE: Final = _gauge("mlxr_queue_depth", "Requests that wait for a worker.", "priority")
GENERATIONS: Final = _counter(
    "mlxr_generations_total",
    "Answers of models that have ended, also those of batches and in the background: completed, failed or cancelled.",
    *_BY,
    "outcome",
)
EMBEDDINGS: Final = _counter(
    "mlxr_embeddings_total",
    "Requests for embeddings, and for documents' scores by a model that ranks, that have ended, likewise.",
    *_BY,
    "outcome",
)
TOKENS_TOTAL: Final = _counter(
    "mlxr_tokens_total",
    "Tokens of prompts (input), those of them that had not to be computed (cached), and of answers (output).",
    *_BY,
    "type",
)
KEY_TOKENS: Final = _counter("mlxr_key_tokens_total", "Tokens of prompts and answers by API key.", "key", "type")
KEY_REQUESTS: Final = _counter("mlxr_key_requests_total", "Requests for a model by API key.", "key")
DURATION: Final = _histogram(
    "gen_ai_server_request_duration_seconds",
    "From the arrival of a request to the end of its answer.",
    LONG_S,
    *_GEN_AI,
    "error_type",
)
FIRST_TOKEN: Final = _histogram(
    "gen_ai_server_time_to_first_token_seconds",
    "From the arrival of a request to the first token, queue and load included.",
    LONG_S,
    *_GEN_AI,
)
PER_TOKEN: Final = _histogram(
    "gen_ai_server_time_per_output_token_seconds",
    "Mean time between two tokens of an answer that was completed.",
    SHORT_S,
    *_GEN_AI,
)
USAGE: Final = _histogram("gen_ai_client_token_usage", "Tokens of one request.", TOKENS, *_GEN_AI, "gen_ai_token_type")
LONGEST_GAP: Final = _histogram(
    "mlxr_longest_token_gap_seconds", "The longest time in an answer in which nothing new came.", SHORT_S, *_ON
)
PREFILL: Final = _histogram(
    "mlxr_prefill_seconds", "From the first step of a prompt to the first token of its answer.", LONG_S, *_ON
)
QUEUE_WAIT: Final = _histogram(
    "mlxr_queue_wait_seconds", "Until a worker took a request, without the load that it waited for.", LONG_S, "priority"
)
BATCH: Final = _gauge("mlxr_batch_sequences", "Sequences with a slot in the batch, in the last second.", *_ON)
BATCH_WAITING: Final = _gauge("mlxr_batch_waiting_sequences", "Sequences in a worker that wait for a slot.", *_ON)
CELLS: Final = _gauge("mlxr_kv_cells", "Size of the KV cache in tokens.", *_ON)
CELLS_USED: Final = _gauge("mlxr_kv_cells_used", "Those of them that running sequences have claimed.", *_ON)
CELLS_MADE: Final = _gauge("mlxr_kv_cells_made", "Those of them that there are already (llamacpp).", *_ON)
CACHE_GROWTHS: Final = _counter("mlxr_kv_cache_growths_total", "How often there have become more of them.", *_ON)
KEPT: Final = _gauge("mlxr_kept_cache_tokens", "Tokens of ended sequences whose caches are kept.", *_ON)
THREADS: Final = _gauge(
    "mlxr_worker_threads", "Compute threads of the last step (llamacpp), and why so many.", *_ON, "reason"
)
THREAD_CHANGES: Final = _counter(
    "mlxr_worker_thread_changes_total", "How often the number of compute threads has moved (llamacpp).", *_ON
)
CHECKPOINTS: Final = _gauge(
    "mlxr_checkpoints", "States of caches that cannot be cut, kept as beginnings for other prompts.", *_ON
)
CHECKPOINT_BYTES: Final = _gauge("mlxr_checkpoint_bytes", "What they take.", *_ON)
STEPS: Final = _counter("mlxr_steps_total", "Steps of the engine.", *_ON)
STEP_SEQUENCES: Final = _counter(
    "mlxr_step_sequences_total", "Sequences that took part in them; by mlxr_steps_total it is the mean batch.", *_ON
)
EVICTIONS: Final = _counter("mlxr_evictions_total", "Sequences that lost their cells so that others could grow.", *_ON)
PREEMPTIONS: Final = _counter(
    "mlxr_preemptions_total", "Sequences that lost their cells to one that goes before them.", *_ON
)
FORKS: Final = _counter("mlxr_forks_total", "Sequences that began with another one's cache.", *_ON)
DROPPED: Final = _counter("mlxr_dropped_caches_total", "Kept caches that had to make room.", *_ON)
LOOKUP: Final = "lookup"
DRAFT_MODEL: Final = "draft"
"""Sources of drafts."""
DRAFTED_TOKENS: Final = _counter("mlxr_drafted_tokens_total", "Tokens that were drafted.", *_ON, "source")
ACCEPTED_TOKENS: Final = _counter("mlxr_accepted_tokens_total", "Those of them that were drawn.", *_ON, "source")
CHECKPOINTS_MADE: Final = _counter("mlxr_checkpoints_made_total", "Checkpoints that were made.", *_ON)
CHECKPOINTS_DROPPED: Final = _counter("mlxr_checkpoints_dropped_total", "Those that had to make room for others.", *_ON)
CHECKPOINT_FORKS: Final = _counter("mlxr_checkpoint_forks_total", "Sequences that began at one.", *_ON)
LOADED_CACHES: Final = _counter("mlxr_saved_caches_loaded_total", "Caches read from the disk for a prompt.", *_ON)
LOADED_CACHE_TOKENS: Final = _counter("mlxr_saved_cache_loaded_tokens_total", "Tokens that they held.", *_ON)
LOADED_CACHE_BYTES: Final = _counter("mlxr_saved_cache_loaded_bytes_total", "Bytes of their files.", *_ON)
CACHE_LOAD_TIME: Final = _counter("mlxr_saved_cache_load_seconds_total", "What reading them took.", *_ON)
WRITTEN_CACHES: Final = _counter("mlxr_saved_caches_written_total", "Caches that were saved on the disk.", *_ON)
WRITTEN_CACHE_BYTES: Final = _counter("mlxr_saved_cache_written_bytes_total", "Bytes of their files.", *_ON)
DISCARDED_CACHES: Final = _counter(
    "mlxr_saved_caches_discarded_total", "Files thrown away because they were damaged or of another version.", *_ON
)
WORKERS: Final = _gauge("mlxr_workers", "Worker processes by what they do.", "engine", "state")
MODEL_MEMORY: Final = _gauge(
    "mlxr_model_memory_bytes", "What a loaded model counts for where several may be loaded (residency).", *_ON
)
MODELS_MEMORY: Final = _gauge(
    "mlxr_models_memory_bytes",
    "What loaded models count for together (taken), and what they may (limit), likewise.",
    "of",
)
RESTARTS: Final = _counter(
    "mlxr_worker_restarts_total",
    "Worker processes that ended without being told to, or were killed for silence or memory; another one follows.",
    "engine",
)
UPSTREAM_UP: Final = _gauge(
    "mlxr_upstream_up", "Whether an upstream is asked: 1 = it is, 0 = it is left alone.", "upstream"
)
UPSTREAM_SEQUENCES: Final = _gauge(
    "mlxr_upstream_sequences",
    "Sequences that an upstream has (running), or that wait for it (waiting).",
    "upstream",
    "state",
)
UPSTREAM_TODAY: Final = _gauge(
    "mlxr_upstream_today",
    "What an upstream was given since midnight: tokens, and cost by the config's prices.",
    "upstream",
    "of",
)
LOADS: Final = _counter("mlxr_loads_total", "Models loaded.", *_ON)
UNLOADS: Final = _counter("mlxr_unloads_total", "Models unloaded, by reason.", *_ON, "reason")
FREED: Final = _counter("mlxr_freed_bytes_total", "Memory that workers had when they were told to end.", *_ON)
LOAD_TIME: Final = _histogram("mlxr_load_seconds", "From the decision to load to the model being ready.", LONG_S, *_ON)
UNLOAD_TIME: Final = _histogram(
    "mlxr_unload_seconds", "From the decision to unload to the memory being back.", LONG_S, *_ON
)
SWAP_TIME: Final = _histogram(
    "mlxr_swap_seconds", "From the decision to unload one model to the next one being ready.", LONG_S, *_ON
)
WINDS: Final = _counter(
    "mlxr_context_winds_total",
    "Conversations of which older turns were told again (told), or left out because nobody could tell them (left_out).",
    "model",
    "by",
    "outcome",
)
WIND_TIME: Final = _histogram("mlxr_context_wind_seconds", "What telling them took.", LONG_S, "model", "by")
WIND_TOKENS: Final = _counter(
    "mlxr_context_wind_tokens_total", "Tokens of their prompts before and after, and of the narratives.", "model", "of"
)
JOBS: Final = _counter("mlxr_jobs_total", "Jobs that have ended: pulls, conversions and the like.", "kind", "outcome")
JOBS_RUNNING: Final = _gauge("mlxr_jobs_running", "Jobs that run.", "kind")
RSS: Final = _gauge("mlxr_resident_memory_bytes", "Resident memory of the gateway and of all workers.", "process")
CPU: Final = _counter(
    "mlxr_cpu_seconds_total",
    "Processor time of the gateway, and of workers and other child processes; of those, what is still running.",
    "process",
)
SYSTEM_CPU: Final = _counter("mlxr_system_cpu_seconds_total", "Processor time of the machine, all cores.", "mode")
SYSTEM_MEMORY: Final = _gauge("mlxr_system_memory_bytes", "Memory of the machine or container: total, available.", "of")
PRESSURE: Final = _gauge("mlxr_memory_pressure", "How short of memory: 0 normal, 1 warning, 2 critical, 3 emergency.")
STALL: Final = _gauge(
    "mlxr_memory_stall_ratio", "Share of the last 10 s in which everything waited for memory (Linux, PSI)."
)
HEAT: Final = _gauge("mlxr_thermal_state", "How hot: 0 nominal, 1 fair, 2 serious, 3 critical.")
GPU: Final = _gauge("mlxr_gpu_utilization_ratio", "Share of time in which the GPU had work (macOS).")
GPU_MEMORY: Final = _gauge("mlxr_gpu_memory_bytes", "Memory of the machine that the GPU's driver has in use (macOS).")
START_TIME: Final = _gauge("mlxr_start_time_seconds", "When the gateway started, seconds since 1970.")
BUILD: Final = _gauge("mlxr_build_info", "Always 1; the version is a label.", "version")

METRICS: Final[tuple[Metric, ...]] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""All of them, in this order."""
