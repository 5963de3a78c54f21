"""The running gateway and its requests as data: looks at the supervisor's records, the register and process sizes."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import asdict, replace

from backends.machine.current import current_platform
from backends.saved_caches.folder import max_bytes_for, saved_files
from backends.wire.load import LoadedModel
from backends.wire.request import Priority
from registry.engines import EngineKind
from registry.settings import LoadSettings
from router.config import Config
from router.config.instance import ServerFacts
from router.heat import HeatMonitor
from router.http.caller import base_name, current_caller
from router.memory.monitor import MemoryMonitor
from router.models.keeper import ModelKeeper
from router.models.load_spec import load_spec_for
from router.models.model_request import ModelRequest
from router.models.targets import Target
from router.protocols.control.memory_status import memory_status
from router.protocols.control.residency_status import residency_status
from router.protocols.serving import RequestService
from router.requests.embedding import RunningEmbedding
from router.requests.generation import Generation
from router.requests.register import RunningRequest
from router.status import (
    DraftStatus,
    Health,
    QueueStatus,
    ResidentModel,
    SavedCachesStatus,
    ShownImages,
    Status,
    WaitingTarget,
    WorkerStatus,
)
from router.status.contexts import ContextFill, RunningContext
from router.status.requests import RequestStatus
from router.workers.model_states import worker_state
from router.workers.residency import ManagedWorker, memory_of


def health(serving: RequestService) -> Health:
    """Return what is resident, of the models that are for whoever asks."""
    caller = current_caller()
    resident = [
        ResidentModel(worker.target.label, str(worker.engine))
        for worker in serving.supervisor.workers
        if worker.target is not None and worker.state.is_resident and caller.may_use(worker.target.model)
    ]
    return Health("ok", resident)


async def status(
    serving: RequestService, server: ServerFacts, keeper: ModelKeeper, monitor: MemoryMonitor, heat: HeatMonitor
) -> Status:
    """Return everything that can be said at once, of the models that are for whoever asks."""
    may_use = current_caller().may_use
    memory = await asyncio.to_thread(current_platform().memory)
    own = await asyncio.to_thread(current_platform().footprint_of, os.getpid())
    sizes = await memory_of(serving.supervisor.workers)
    shown = await _shown_images(serving)
    memory_of_models = await residency_status(serving)
    saved_caches = await asyncio.to_thread(_saved_caches, serving.supervisor.saved_caches_dir, serving.config)
    # From here on without a wait, in which workers come and go: all as they stand at one moment.
    workers = [worker for worker in serving.supervisor.workers if worker.target is None or may_use(worker.target.model)]
    config = serving.config
    return Status(
        version=server.version,
        pid=os.getpid(),
        uptime_s=round(time.monotonic() - server.started_at, 3),
        url=server.url,
        engine_setting=config.engine.value,
        config_error=serving.config_error,
        residency=config.residency,
        standby=config.standby,
        workers=[
            _worker(
                worker,
                sizes.get(worker.worker_id),
                serving.supervisor.expires_at(worker),
                config,
                shown.get(worker.worker_id),
            )
            for worker in workers
        ],
        queue=_queue(serving),
        swaps=[swap for swap in serving.supervisor.swaps if may_use(base_name(swap.model))],
        memory_total_bytes=memory.total_bytes,
        memory_available_bytes=memory.available_bytes,
        gateway_rss_bytes=None if own is None else own.rss_bytes,
        memory=memory_status(serving, monitor),
        checksums=keeper.progress if current_caller().models is None else None,
        heat=heat.status,
        saved_caches=saved_caches,
        suspended=heat.suspended,
        models=[each for each in serving.supervisor.models.known if may_use(base_name(each.model))],
        restart=serving.supervisor.version_clash,
        threads=config.llamacpp.threads or "auto",
        contexts=_contexts(serving),
        memory_of_models=memory_of_models,
        upstreams=[
            replace(each, models=[model for model in each.models if may_use(model.name)])
            for each in serving.models.offers.status()
        ],
    )


def _contexts(serving: RequestService) -> list[RunningContext]:
    may_see = current_caller().may_see
    fills = [
        (running, fill_of(running.generation))
        for running in serving.requests
        if isinstance(running, RunningRequest) and may_see(running.facts.owner)
    ]
    return [
        RunningContext(
            request=running.facts.request_id,
            model=running.generation.request.model_request.label,
            **asdict(fill),
        )
        for running, fill in fills
        if fill is not None
    ]


def fill_of(generation: Generation) -> ContextFill | None:
    """Return how full a request's context is; None where its conversation is not wound, or that is not known yet."""
    facts = generation.context
    if facts is None or not facts.used:
        return None
    fill = ContextFill(used=facts.used, limit=facts.limit, id=facts.context_id)
    wound = facts.wound
    if wound is None:
        return fill
    return replace(fill, turns=wound.turns, narrative_tokens=wound.narrative_tokens, left_out=wound.left_out)


def _saved_caches(folder: Path | None, config: Config) -> SavedCachesStatus | None:
    if folder is None or not config.cache.persist:
        return None
    files = saved_files(folder)
    return SavedCachesStatus(
        num_caches=len(files),
        num_bytes=sum(file.num_bytes for file in files),
        max_bytes=max_bytes_for(folder, config.cache.max_bytes),
    )


async def _shown_images(serving: RequestService) -> dict[int, ShownImages]:
    """Return how large loaded models that see are shown pictures, by their workers."""
    shown = {}
    for worker in serving.supervisor.workers:
        target = worker.target
        if target is not None and target.local.vision is not None and target.load.vision != "off":
            sides = await serving.image_sides.of(target)
            shown[worker.worker_id] = ShownImages(sides.usual, sides.high)
    return shown


def _worker(
    worker: ManagedWorker,
    memory_bytes: int | None,
    expires_at: float | None,
    config: Config,
    vision: ShownImages | None,
) -> WorkerStatus:
    client = worker.client
    loaded = None if client is None else client.loaded
    hello = None if client is None else client.hello
    heartbeat = None if client is None else client.heartbeat
    stats = None if client is None else client.stats
    threads = None if stats is None else stats.threads
    return WorkerStatus(
        id=worker.worker_id,
        pid=worker.pid,
        engine=str(worker.engine),
        model=None if worker.target is None else worker.target.model,
        adapter=None if worker.target is None or worker.target.adapter is None else worker.target.adapter.name,
        state=worker_state(
            worker.state, has_target=worker.target is not None, num_running=worker.use.num_running
        ).value,
        rss_bytes=memory_bytes,
        num_running=worker.use.num_running,
        num_background=worker.use.num_background,
        num_waiting=None if heartbeat is None else heartbeat.num_waiting,
        load_ms=worker.load_ms,
        load_fraction=None if client is None else client.load_fraction,
        loaded_at=worker.loaded_at,
        context_length=None if loaded is None else loaded.context_length,
        devices=[] if loaded is None else list(loaded.devices),
        engine_versions={} if hello is None else hello.versions,
        features="" if hello is None else hello.features,
        path=None if worker.target is None else worker.target.local.path,
        load={} if worker.target is None else _set_of(worker.target.load),
        num_threads=None if worker.target is None else _num_threads(worker.target, config),
        expires_at=None if expires_at is None else expires_at + time.time() - time.monotonic(),
        vision=vision,
        num_cells=None if stats is None else stats.num_cells,
        num_cells_made=None if stats is None else stats.num_made_cells,
        num_cells_used=None if stats is None else stats.num_cells - stats.num_free_cells,
        num_cache_growths=None if stats is None else stats.num_cache_growths,
        num_kept_tokens=None if stats is None else stats.num_kept_tokens,
        num_checkpoints=None if stats is None else stats.num_checkpoints,
        checkpoint_bytes=None if stats is None else stats.checkpoint_bytes,
        num_threads_now=None if threads is None else threads.num,
        threads_reason=None if threads is None else threads.reason,
        speculation=None if worker.target is None else _speculation(worker.target, config),
        why_no_drafts=None if loaded is None else loaded.why_no_drafts,
        draft=None if loaded is None or worker.target is None else _draft(worker.target, loaded),
    )


def _draft(target: Target, loaded: LoadedModel) -> DraftStatus | None:
    """Return what is set to draft for a loaded model."""
    if target.draft is None:
        return None
    draft = loaded.draft
    return DraftStatus(
        model=target.draft.name,
        context_length=None if draft is None else draft.context_length,
        memory_bytes=None if draft is None else draft.memory_bytes,
        why_not=loaded.why_no_draft_model,
    )


def _set_of(load: LoadSettings) -> dict[str, int | str]:
    """Return what differs from the config; a template, which may be long, is only named."""
    fields = {name: ",".join(value) if isinstance(value, tuple) else value for name, value in asdict(load).items()}
    return {name: "set" if name == "template" else value for name, value in fields.items() if value is not None}


def _num_threads(target: Target, config: Config) -> int | None:
    if target.engine.kind is not EngineKind.LLAMACPP:
        return None
    num_cores = current_platform().num_compute_threads()
    spec = load_spec_for(target, config, num_cores=num_cores)
    return spec.num_threads or spec.max_threads or num_cores


def _speculation(target: Target, config: Config) -> str | None:
    section = config.llamacpp if target.engine.kind is EngineKind.LLAMACPP else config.mlx
    return target.load.speculation or section.speculation


def _queue(serving: RequestService) -> QueueStatus:
    waiting, may_use = serving.supervisor.waiting, current_caller().may_use
    counts = Counter((request.target.label, str(request.target.engine)) for request in waiting)
    oldest = min((request.arrived_at for request in waiting), default=None)
    return QueueStatus(
        num_waiting=len(waiting),
        num_background=sum(request.priority is Priority.BACKGROUND for request in waiting),
        limit=serving.config.limits.max_queue,
        limit_background=serving.config.limits.max_queue_background,
        oldest_wait_s=None if oldest is None else round(time.monotonic() - oldest, 3),
        by_target=[
            WaitingTarget(model, engine, number)
            for (model, engine), number in sorted(counts.items())
            if may_use(base_name(model))
        ],
    )


def request_status(serving: RequestService, running: RunningRequest | RunningEmbedding) -> RequestStatus:
    """Return what is known of a request now."""
    if isinstance(running, RunningEmbedding):
        state = "prefill" if running.is_embedding else _waiting_state(serving, running.waits_for)
        status = _status_of(running, running, running.wanted.model_request, state, running.wanted.priority)
        return replace(status, prompt_tokens_done=running.num_tokens_done if running.is_embedding else None)
    generation = running.generation
    request = generation.request
    prompts = generation.progress[:: request.num_choices]
    return replace(
        _status_of(running, generation, request.model_request, _phase(serving, generation), request.spec.priority),
        session=request.spec.session_id,
        is_client_gone=not running.has_reader,
        prompt_tokens=_sum([progress.num_prompt_tokens for progress in prompts]),
        prompt_tokens_done=_sum([progress.num_evaluated for progress in prompts]),
        prompt_tokens_cached=_sum([progress.num_cached for progress in prompts]),
        output_tokens=[progress.num_output_tokens for progress in generation.progress],
        context=fill_of(generation),
    )


def _status_of(
    running: RunningRequest | RunningEmbedding,
    leased: Generation | RunningEmbedding,
    model_request: ModelRequest,
    state: str,
    priority: Priority,
) -> RequestStatus:
    """Return what requests of all kinds have; of the others nothing is known."""
    return RequestStatus(
        id=running.facts.request_id,
        protocol=running.facts.protocol,
        model=model_request.label,
        engine=None if leased.choice is None else str(leased.choice.target.engine),
        state=state,
        priority=priority.value,
        session=None,
        client=running.facts.client,
        is_client_gone=False,
        started_at=round(running.started_at, 3),
        age_s=round(time.monotonic() - running.arrived_at, 3),
        worker=leased.worker,
        prompt_tokens=None,
        prompt_tokens_done=None,
        prompt_tokens_cached=None,
        output_tokens=[],
    )


def _phase(serving: RequestService, generation: Generation) -> str:
    if generation.is_winding:
        return "winding"
    if generation.progress:
        has_output = any(progress.num_output_tokens for progress in generation.progress)
        return "decode" if has_output else "prefill"
    return _waiting_state(serving, generation.waits_for)


def _waiting_state(serving: RequestService, target: Target | None) -> str:
    is_loading = any(worker.target == target and not worker.state.is_resident for worker in serving.supervisor.workers)
    return "loading" if target is not None and is_loading else "queued"


def _sum(counts: Sequence[int | None]) -> int | None:
    """Add up what is known; None where nothing is."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
