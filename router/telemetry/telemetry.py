"""The metrics of one gateway: counted as things happen, and looked at when somebody asks. Not here: its routes."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from backends.machine.base import ThermalState
from backends.wire.request import Priority
from router.conditions import Conditions, PressureLevel
from router.http.exchange import Exchange
from router.jobs.jobs import Jobs
from router.observers import Observers
from router.requests.register import RequestRegister
from router.status.upstreams import UpstreamStatus
from router.stores.contexts import Wind
from router.telemetry import table
from router.telemetry.counting import Counting
from router.telemetry.readings import Readings, read_machine
from router.telemetry.store import MetricFamily, MetricStore
from router.workers.supervisor import Supervisor

_MIN_AGE_S: Final = 1.0
"""The machine is read at most this often, however many ask."""
_PRESSURES: Final = tuple(PressureLevel)
_HEATS: Final = tuple(ThermalState)


class Telemetry:
    """Owns the metrics; where they are off it counts nothing and has nothing to tell.

    Args:
        is_on: By the config.
        wound: Of conversations that are wound.
        upstreams: Tells how upstreams stand.

    Attributes:
        exchanges: To be told of each request by HTTP that has ended.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        requests: RequestRegister,
        jobs: Jobs,
        conditions: Conditions,
        *,
        version: str,
        is_on: bool,
        wound: Observers[Wind] | None = None,
        upstreams: Callable[[], Sequence[UpstreamStatus]] = tuple,
    ) -> None:
        self.is_on = is_on
        self.exchanges: Observers[Exchange] = Observers()
        self._supervisor = supervisor
        self._requests = requests
        self._jobs = jobs
        self._conditions = conditions
        self._version = version
        self._upstreams = upstreams
        self._started_at = time.time()
        self._store = MetricStore()
        self._counting = Counting(self._store)
        self._lock = asyncio.Lock()
        self._read_at: float | None = None
        if is_on:
            self._observe()
            if wound is not None:
                wound.add(self._counting.on_wound)

    def _observe(self) -> None:
        counting = self._counting
        self.exchanges.add(counting.on_exchange)
        self._requests.ended.add(counting.on_generation)
        self._requests.ended_embedding.add(counting.on_embedding)
        self._supervisor.swapped.add(counting.on_swap)
        self._supervisor.removed.add(counting.on_removed)
        self._jobs.ended.add(counting.on_job)

    async def run(self) -> None:
        """Import what the metrics need, beside the first requests and not before them."""
        if self.is_on:
            await asyncio.to_thread(self._store.warm)

    async def text(self, accept: str) -> tuple[bytes, str]:
        """Return everything as a scraper accepts it, with its media type."""
        await self._look()
        return await asyncio.to_thread(self._store.text, accept)

    async def families(self) -> list[MetricFamily]:
        """Return everything as data."""
        await self._look()
        return await asyncio.to_thread(self._store.families)

    async def _look(self) -> None:
        """Set what is not counted as it happens."""
        async with self._lock:
            if self._read_at is None or time.monotonic() - self._read_at >= _MIN_AGE_S:
                self._set_machine(await asyncio.to_thread(read_machine, self._supervisor.pids))
                await self._set_shares()
                self._read_at = time.monotonic()
            self._set_work()

    async def _set_shares(self) -> None:
        """Set what models take of the memory for models, where several may be loaded."""
        store = self._store
        store.clear(table.MODEL_MEMORY, table.MODELS_MEMORY)
        if not self._supervisor.is_sharing:
            return
        seen = await self._supervisor.see_homes()
        taken_bytes = 0
        for home in seen.homes:
            held_bytes = max(home.held_bytes, seen.read_bytes.get(home.target, 0))
            taken_bytes += held_bytes
            store.set(table.MODEL_MEMORY, held_bytes, *self._counting.label_of_target(home.target))
        store.set(table.MODELS_MEMORY, taken_bytes, "taken")
        if seen.limit_bytes is not None:
            store.set(table.MODELS_MEMORY, seen.limit_bytes, "limit")

    def _set_work(self) -> None:
        store, supervisor = self._store, self._supervisor
        store.set(table.START_TIME, self._started_at)
        store.set(table.BUILD, 1, self._version)
        store.set(table.IN_FLIGHT, sum(1 for _ in self._requests))
        waiting = Counter(request.priority for request in supervisor.waiting)
        for priority in Priority:
            store.set(table.QUEUE, waiting[priority], priority.value)
        store.clear(table.JOBS_RUNNING)
        for kind, number in self._jobs.num_running.items():
            store.set(table.JOBS_RUNNING, number, kind)
        store.set(table.PRESSURE, _PRESSURES.index(self._conditions.pressure))
        store.set(table.HEAT, _HEATS.index(self._conditions.heat))
        self._set_workers()
        self._set_upstreams()

    def _set_upstreams(self) -> None:
        store = self._store
        store.clear(table.UPSTREAM_UP, table.UPSTREAM_SEQUENCES, table.UPSTREAM_TODAY)
        for each in self._upstreams():
            store.set(table.UPSTREAM_UP, int(each.state == "closed"), each.name)
            store.set(table.UPSTREAM_SEQUENCES, each.num_running, each.name, "running")
            store.set(table.UPSTREAM_SEQUENCES, each.num_waiting, each.name, "waiting")
            store.set(table.UPSTREAM_TODAY, each.tokens_today, each.name, "tokens")
            store.set(table.UPSTREAM_TODAY, each.cost_today, each.name, "cost")

    def _set_workers(self) -> None:
        store, counting = self._store, self._counting
        workers = self._supervisor.workers
        gauges = (table.BATCH, table.BATCH_WAITING, table.CELLS, table.CELLS_USED, table.CELLS_MADE, table.KEPT)
        checkpoints = (table.CHECKPOINTS, table.CHECKPOINT_BYTES)
        store.clear(table.WORKERS, *gauges, *checkpoints, table.THREADS)
        states = Counter((worker.engine.kind.value, worker.state.value) for worker in workers)
        for (engine, state), number in states.items():
            store.set(table.WORKERS, number, engine, state)
        sums: Counter[tuple[table.Metric, tuple[str, ...]]] = Counter()
        for worker in workers:
            stats = None if worker.client is None else worker.client.stats
            if stats is None or worker.target is None:
                continue
            counting.take_stats(worker)
            used = stats.num_cells - stats.num_free_cells
            made = stats.num_cells if stats.num_made_cells is None else stats.num_made_cells
            batch = (stats.num_running, stats.num_waiting, stats.num_cells, used, made, stats.num_kept_tokens)
            kept = (stats.num_checkpoints, stats.checkpoint_bytes)
            for gauge, figure in zip((*gauges, *checkpoints), (*batch, *kept), strict=True):
                sums[gauge, counting.label_of(worker)] += figure
            if stats.threads is not None:
                sums[table.THREADS, (*counting.label_of(worker), stats.threads.reason)] += stats.threads.num
        for (gauge, labels), figure in sums.items():
            store.set(gauge, figure, *labels)

    def _set_machine(self, now: Readings) -> None:
        store = self._store
        if now.gateway_bytes is not None:
            store.set(table.RSS, now.gateway_bytes, "gateway")
        store.set(table.RSS, now.workers_bytes, "workers")
        store.follow(table.CPU, now.gateway_cpu_s, "gateway")
        store.follow(table.CPU, now.workers_cpu_s, "workers")
        store.follow(table.SYSTEM_CPU, now.busy_s, "busy")
        store.follow(table.SYSTEM_CPU, now.idle_s, "idle")
        store.set(table.SYSTEM_MEMORY, now.memory.total_bytes, "total")
        store.set(table.SYSTEM_MEMORY, now.memory.available_bytes, "available")
        if now.stall_share is not None:
            store.set(table.STALL, now.stall_share)
        if now.gpu is not None and now.gpu.busy_share is not None:
            store.set(table.GPU, now.gpu.busy_share)
        if now.gpu is not None and now.gpu.used_bytes is not None:
            store.set(table.GPU_MEMORY, now.gpu.used_bytes)
