"""What happens, as counts: observers of the owners of requests, workers, models and jobs. Nothing is decided here."""

from typing import Any, Final

import msgspec

from router.errors import ClientDisconnectedError, RequestCancelledError
from router.http.exchange import Account, Exchange
from router.jobs.job import Job
from router.models.targets import Target
from router.placement.lifecycle import WorkerState
from router.requests.accounting import account_of
from router.requests.embedding import RunningEmbedding
from router.requests.register import RunningRequest
from router.status import Swap
from router.stores.contexts import Wind
from router.telemetry import table
from router.telemetry.labels import MAX_KEYS, MAX_MODELS, NONE, UNKNOWN, BoundedNames
from router.telemetry.store import MetricStore
from router.workers.residency import ManagedWorker

_CANCELLED: Final = (ClientDisconnectedError, RequestCancelledError)
_KILLED_FOR: Final = frozenset({"stalled", "over its memory limit", "far over its memory limit"})
_ENDS: Final = frozenset({"done", "failed", "stopped"})
_MAX_REASONS: Final = 50

_STATS: Final = (
    (table.STEPS, "num_steps"),
    (table.STEP_SEQUENCES, "num_step_sequences"),
    (table.EVICTIONS, "num_evictions"),
    (table.PREEMPTIONS, "num_preemptions"),
    (table.FORKS, "num_forks"),
    (table.DROPPED, "num_dropped"),
    (table.CHECKPOINTS_MADE, "num_checkpoints_made"),
    (table.CHECKPOINTS_DROPPED, "num_checkpoints_dropped"),
    (table.CHECKPOINT_FORKS, "num_checkpoint_forks"),
    (table.LOADED_CACHES, "num_loaded_caches"),
    (table.LOADED_CACHE_TOKENS, "loaded_cache_tokens"),
    (table.LOADED_CACHE_BYTES, "loaded_cache_bytes"),
    (table.CACHE_LOAD_TIME, "cache_load_s"),
    (table.WRITTEN_CACHES, "num_written_caches"),
    (table.WRITTEN_CACHE_BYTES, "written_cache_bytes"),
    (table.DISCARDED_CACHES, "num_discarded_caches"),
    (table.CACHE_GROWTHS, "num_cache_growths"),
    (table.THREAD_CHANGES, "num_thread_changes"),
)

_DRAFTS: Final = (
    (table.DRAFTED_TOKENS, "num_drafted", "num_drafted_by_model"),
    (table.ACCEPTED_TOKENS, "num_accepted", "num_accepted_by_model"),
)
"""Of all sources, and of the draft model alone."""


class Counting:
    """Counts into a store."""

    def __init__(self, store: MetricStore) -> None:
        self._store = store
        self._models = BoundedNames(MAX_MODELS)
        self._keys = BoundedNames(MAX_KEYS)
        self._reasons = BoundedNames(_MAX_REASONS)
        self._unload: Swap | None = None
        self._known: dict[int, dict[str, float]] = {}

    # ---- requests ---------------------------------------------------------------------------------------------------

    def on_exchange(self, exchange: Exchange) -> None:
        """Count a request by HTTP that has ended."""
        account = None if exchange.account is None else exchange.account()
        protocol = exchange.protocol or NONE
        if exchange.model is not None:
            model = self._models.label(exchange.model)
        else:
            model = UNKNOWN if exchange.needs_model else NONE
        engine = NONE if account is None or account.engine is None else account.engine
        self._store.count(table.REQUESTS, 1, protocol, model, engine, str(exchange.outcome))
        if exchange.error is not None:
            self._store.count(table.ERRORS, 1, protocol, exchange.error.code)
        if exchange.needs_model:
            self._count_key(exchange.key, account)

    def _count_key(self, key: str, account: Account | None) -> None:
        name = self._keys.label(key)
        self._store.count(table.KEY_REQUESTS, 1, name)
        if account is not None:
            self._store.count(table.KEY_TOKENS, account.num_prompt_tokens or 0, name, "input")
            self._store.count(table.KEY_TOKENS, account.num_output_tokens, name, "output")

    def on_generation(self, running: RunningRequest) -> None:
        """Count an answer that has ended, whoever asked for it by whatever way."""
        account = account_of(running)
        self._count_account(table.GENERATIONS, account, running.error)
        on = self._on(account)
        if account.longest_gap_s is not None and account.num_output_tokens > 1:
            self._store.observe(table.LONGEST_GAP, account.longest_gap_s, *on)
        if account.prefill_s is not None:
            self._store.observe(table.PREFILL, account.prefill_s, *on)
        if account.first_token_s is not None:
            self._store.observe(table.FIRST_TOKEN, account.first_token_s, *self._gen_ai(account))
        per_token_s = _per_token_s(account)
        if per_token_s is not None and running.error is None:
            self._store.observe(table.PER_TOKEN, per_token_s, *self._gen_ai(account))

    def on_embedding(self, running: RunningEmbedding) -> None:
        """Count a request for embeddings that has ended."""
        self._count_account(table.EMBEDDINGS, account_of(running), running.error)

    def _count_account(self, metric: table.Metric, account: Account, error: BaseException | None) -> None:
        store, by = self._store, (account.protocol, *self._on(account))
        gen_ai = self._gen_ai(account)
        store.count(metric, 1, *by, _outcome(error))
        tokens = {"input": account.num_prompt_tokens or 0, "output": account.num_output_tokens}
        for kind, number in {**tokens, "cached": account.num_cached_tokens or 0}.items():
            store.count(table.TOKENS_TOTAL, number, *by, kind)
        for kind, number in tokens.items():
            if number:
                store.observe(table.USAGE, number, *gen_ai, kind)
        store.observe(table.DURATION, account.whole_s, *gen_ai, _error_type(error))
        if account.queue_s is not None:
            store.observe(table.QUEUE_WAIT, account.queue_s, account.priority)

    def _on(self, account: Account) -> tuple[str, str]:
        return self._models.label(account.model), account.engine or NONE

    def _gen_ai(self, account: Account) -> tuple[str, str, str]:
        return account.operation, account.engine or NONE, self._models.label(account.model)

    # ---- workers ----------------------------------------------------------------------------------------------------

    def on_swap(self, swap: Swap) -> None:
        """Count a load or an unload."""
        store, on = self._store, (self._models.label(swap.model.partition("+")[0]), _engine_of(swap.engine))
        if swap.event == "load":
            store.count(table.LOADS, 1, *on)
            if swap.load_ms is not None:
                store.observe(table.LOAD_TIME, swap.load_ms / 1000, *on)
            before, self._unload = self._unload, None
            if before is not None and before.unload_ms is not None and before.reason == "swap":
                store.observe(table.SWAP_TIME, max(0.0, swap.at - before.at + before.unload_ms / 1000), *on)
            return
        self._unload = swap
        store.count(table.UNLOADS, 1, *on, self._reasons.label(swap.reason or NONE))
        store.count(table.FREED, swap.freed_bytes or 0, *on)
        if swap.unload_ms is not None:
            store.observe(table.UNLOAD_TIME, swap.unload_ms / 1000, *on)

    def on_removed(self, worker: ManagedWorker) -> None:
        """Count a worker that is gone, and what it told last."""
        self.take_stats(worker)
        self._known.pop(worker.worker_id, None)
        was_told = worker.previous_state is WorkerState.STOPPING
        if not was_told or worker.stop_reason in _KILLED_FOR:
            self._store.count(table.RESTARTS, 1, worker.engine.kind.value)

    def take_stats(self, worker: ManagedWorker) -> None:
        """Count what a worker's batch has done since the last time."""
        stats = None if worker.client is None else worker.client.stats
        if stats is None or worker.target is None:
            return
        known = self._known.setdefault(worker.worker_id, {})
        on = self.label_of(worker)
        for metric, name in _STATS:
            total = getattr(stats, name)
            self._store.count(metric, total - known.get(name, 0), *on)
            known[name] = total

        for metric, of_all, of_model in _DRAFTS:
            by_model = getattr(stats, of_model)
            for source, name, total in (
                (table.DRAFT_MODEL, of_model, by_model),
                (table.LOOKUP, of_all, getattr(stats, of_all) - by_model),
            ):
                self._store.count(metric, total - known.get(name, 0), *on, source)
                known[name] = total

    def label_of(self, worker: ManagedWorker) -> tuple[str, str]:
        """Return the model and engine of a worker that has a target."""
        assert worker.target is not None
        return self.label_of_target(worker.target)

    def label_of_target(self, target: Target) -> tuple[str, str]:
        """Return a target's model and engine."""
        return self._models.label(target.model), target.engine.kind.value

    # ---- contexts ---------------------------------------------------------------------------------------------------

    def on_wound(self, wind: Wind) -> None:
        """Count a conversation that was wound."""
        model = self._models.label(wind.model)
        by = NONE if wind.told_by is None else self._models.label(wind.told_by)
        self._store.count(table.WINDS, 1, model, by, "left_out" if wind.is_left_out else "told")
        self._store.observe(table.WIND_TIME, wind.ms / 1000, model, by)
        numbers = {"before": wind.tokens_before, "after": wind.tokens_after, "narrative": wind.narrative_tokens}
        for of, number in numbers.items():
            self._store.count(table.WIND_TOKENS, number, model, of)

    # ---- jobs -------------------------------------------------------------------------------------------------------

    def on_job(self, job: Job[Any]) -> None:
        """Count a job that has ended."""
        self._store.count(table.JOBS, 1, job.kind.name, _job_outcome(job))


def _job_outcome(job: Job[Any]) -> str:
    tag = job.end.__struct_config__.tag if isinstance(job.end, msgspec.Struct) else None
    if tag in _ENDS:
        return str(tag)
    if job.is_broken:
        return "failed"
    return "done" if job.stop_reason is None else "stopped"


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return "completed"
    return "cancelled" if isinstance(error, _CANCELLED) else "failed"


def _error_type(error: BaseException | None) -> str:
    """Return a word of a closed list: the error's code."""
    return NONE if error is None else str(getattr(error, "code", "internal_error"))


def _per_token_s(account: Account) -> float | None:
    """Return the mean time between two tokens. Source: OpenTelemetry, `gen_ai.server.time_per_output_token`."""
    if account.first_token_s is None or account.num_output_tokens <= 1:
        return None
    return max(0.0, account.whole_s - account.first_token_s) / (account.num_output_tokens - 1)


def _engine_of(engine: str) -> str:
    return engine.partition(":")[0]
