"""One worker process from start to verified end: its record, its life, and the proof that its memory came back."""

import asyncio
import time
from collections.abc import Callable, Sequence

import msgspec

from backends.machine.base import Footprint, MachineMemory
from backends.machine.current import current_platform
from registry.engines import Engine
from router.models.model_request import ModelRequest
from router.models.targets import Target
from router.placement.lifecycle import WorkerState
from router.placement.situation import WorkerUse
from router.status import Swap
from router.workers.client import WorkerClient, start_worker
from router.workers.launch import WorkerLaunch

RECLAIM_SHARE = 0.9
"""Share of a worker's anonymous memory that must be seen to be given back; others allocate meanwhile."""
RECLAIM_POLL_S = 0.02

OtherPids = Callable[[], Sequence[int]]


class StopReport(msgspec.Struct, frozen=True):
    """What stopping a model did."""

    stopped: bool
    swap: Swap | None


class ManagedWorker(msgspec.Struct):
    """The supervisor's record of one worker; mutated by the supervisor's task only.

    Attributes:
        client: The process, once it exists.
        target: What it is to load, or has loaded; None for a standby worker.
        asked: The last request that it was loaded or used for; None = whoever wanted another worker of the same.
        was_standby: Its process was there before its target; a death at once is then not the model's fault.
        state_since: Monotonic seconds.
        wanted_at: When its target was assigned, monotonic.
        ready_at: When the model was ready, monotonic.
        loaded_at: The same in seconds since 1970.
        is_extra: Others served its target already when it was started.
        is_pinned: Its model stays loaded, whoever else wants the memory.
        need_bytes: What its load was estimated to take, caches of ended answers included; 0 = not known.
        held_bytes: What it counts for where several models are loaded (`ledger`).
        memory_checked_at: When its memory was last looked at, monotonic.
        unwanted_reason: Why it is to go, whoever waits; None while it may stay.
        stopping_at: When it was told to, monotonic.
        before: Its memory then.
        machine_before: The machine's memory then; held without what other workers held.
        before_load: Its memory and the machine's just before its load.
    """

    worker_id: int
    engine: Engine
    state_since: float
    client: WorkerClient | None = None
    target: Target | None = None
    asked: ModelRequest | None = None
    was_standby: bool = False
    state: WorkerState = WorkerState.STARTING
    previous_state: WorkerState = WorkerState.STARTING
    wanted_at: float = 0.0
    ready_at: float = 0.0
    loaded_at: float | None = None
    load_ms: float | None = None
    is_extra: bool = False
    is_pinned: bool = False
    need_bytes: int = 0
    held_bytes: int = 0
    max_sequences: int = 1
    use: WorkerUse = WorkerUse()
    memory_checked_at: float = 0.0
    unwanted_reason: str | None = None
    stop_reason: str | None = None
    stopping_at: float | None = None
    before: Footprint | None = None
    machine_before: MachineMemory | None = None
    before_load: tuple[Footprint | None, MachineMemory] | None = None

    @property
    def pid(self) -> int | None:
        """Process id, once it exists."""
        return None if self.client is None else self.client.pid

    @property
    def has_died(self) -> bool:
        """Whether its channel has ended, which comes before its exit is seen."""
        return self.client is not None and self.client.is_closed

    @property
    def died_as_standby(self) -> bool:
        """Whether a worker that is gone had a target given to it but never began with it."""
        return self.was_standby and self.client is not None and not self.client.load_fraction

    @property
    def loaded_draft(self) -> str | None:
        """Name of the model that it has loaded to draft for its own, if it has."""
        loaded = None if self.client is None else self.client.loaded
        return None if loaded is None or loaded.draft is None else loaded.draft.name

    def is_stalled(self, now: float, stall_timeout_s: float) -> bool:
        """Tell whether it owes answers and has been silent for too long."""
        return self.client is not None and self.client.is_owing and now - self.client.last_sign_at >= stall_timeout_s


def note_memory_before_load(worker: ManagedWorker) -> None:
    """Read the memory of a process that is about to load its model, and the machine's: some files of the system's."""
    worker.before_load = _memory_now(worker)


def load_of(worker: ManagedWorker, at: float) -> Swap:
    """Return the load of a model that has just become ready, with what memory is there now.

    Args:
        at: Seconds since 1970.
    """
    assert worker.target is not None
    assert worker.before_load is not None
    before, machine_before = worker.before_load
    after, machine_after = _memory_now(worker)
    return Swap(
        at=at,
        event="load",
        model=worker.target.label,
        engine=str(worker.engine),
        load_ms=worker.load_ms,
        rss_before_bytes=None if before is None else before.rss_bytes,
        rss_after_bytes=None if after is None else after.rss_bytes,
        available_before_bytes=machine_before.available_bytes,
        available_after_bytes=machine_after.available_bytes,
    )


def _memory_now(worker: ManagedWorker) -> tuple[Footprint | None, MachineMemory]:
    system = current_platform()
    return None if worker.pid is None else system.footprint_of(worker.pid), system.memory()


async def memory_of(workers: Sequence[ManagedWorker]) -> dict[int, int]:
    """Return what workers hold, bytes by their ids, mapped files included; those that are gone are missing."""
    system, pids = current_platform(), {worker.worker_id: worker.pid for worker in workers}

    def measure() -> dict[int, int]:
        found = {number: system.footprint_of(pid) for number, pid in pids.items() if pid is not None}
        return {number: footprint.rss_bytes for number, footprint in found.items() if footprint is not None}

    return await asyncio.to_thread(measure)


async def run_worker(
    worker: ManagedWorker,
    launch: WorkerLaunch,
    *,
    on_change: Callable[[], None],
    reclaim_timeout_s: float,
    other_pids: OtherPids,
) -> tuple[Swap | None, str | None]:
    """Start the process, wait for its end and for its memory.

    Args:
        worker: Its record; `client` is set here.
        on_change: Called when the worker said hello, has loaded or could not.
        reclaim_timeout_s: How long to look for the memory.
        other_pids: The other workers' processes, whose memory is not its own: one may just be starting.

    Returns:
        The unload if it had a model, and the words for an unexpected end.
    """
    try:
        worker.client = client = await start_worker(launch, on_change)
    except OSError as exc:
        return None, f": the process could not be started: {exc}"
    if worker.state is WorkerState.STOPPING:
        client.kill()  # told to stop before it had started
    try:
        code = await client.wait()
    except asyncio.CancelledError:
        client.kill()  # the task that owns it ends without order
        raise
    swap = await _unload_of(worker, reclaim_timeout_s, other_pids) if worker.target is not None else None
    return swap, f" (exit code {code}){client.tail()}"


async def stop_worker(worker: ManagedWorker, *, stop_timeout_s: float, other_pids: OtherPids) -> None:
    """Measure the worker, ask it to end, and kill it when it does not."""
    client = worker.client
    worker.stopping_at = time.monotonic()
    if client is None:
        return
    worker.before = await asyncio.to_thread(current_platform().footprint_of, client.pid)
    worker.machine_before = await _look(other_pids)
    # A worker in a load does not listen, and has nothing to end in order.
    is_loading = worker.previous_state is WorkerState.LOADING
    client.shut_down()
    if is_loading or not await client.has_ended(stop_timeout_s):
        client.kill()


async def _unload_of(worker: ManagedWorker, reclaim_timeout_s: float, other_pids: OtherPids) -> Swap:
    assert worker.target is not None
    after, is_back = await _see_memory_back(worker, reclaim_timeout_s, other_pids)
    before, machine_before = worker.before, worker.machine_before
    return Swap(
        at=time.time(),
        event="unload",
        model=worker.target.label,
        engine=str(worker.engine),
        reason=worker.stop_reason or "died",
        unload_ms=None if worker.stopping_at is None else (time.monotonic() - worker.stopping_at) * 1000,
        freed_bytes=None if before is None else before.rss_bytes,
        rss_before_bytes=None if before is None else before.rss_bytes,
        anonymous_before_bytes=None if before is None else before.anonymous_bytes,
        available_before_bytes=None if machine_before is None else machine_before.available_bytes,
        available_after_bytes=after.available_bytes,
        is_memory_back=is_back,
    )


async def _see_memory_back(
    worker: ManagedWorker, timeout_s: float, other_pids: OtherPids
) -> tuple[MachineMemory, bool | None]:
    """Watch what is held fall after a worker's end; return where memory stands, and whether that is enough."""
    system = current_platform()
    now = await _look(other_pids)
    if worker.before is None or worker.machine_before is None:
        return now, None
    wanted_bytes = worker.machine_before.held_bytes - RECLAIM_SHARE * worker.before.anonymous_bytes
    started_at = fallen_at = time.monotonic()
    least_bytes = now.held_bytes
    while now.held_bytes > wanted_bytes and (at := time.monotonic()) - started_at < timeout_s:
        if at - fallen_at >= system.settling_s:
            break
        await asyncio.sleep(max(RECLAIM_POLL_S, system.memory_age_s / 10))
        now = await _look(other_pids)
        if now.held_bytes < least_bytes:
            least_bytes, fallen_at = now.held_bytes, time.monotonic()
    return now, now.held_bytes <= wanted_bytes


async def _look(other_pids: OtherPids) -> MachineMemory:
    """Return the machine's memory; held without what some workers hold, of which one may just be starting."""
    system, pids = current_platform(), other_pids()

    def look() -> MachineMemory:
        others = [system.footprint_of(pid) for pid in pids]
        memory = system.memory()
        held_bytes = memory.held_bytes - sum(each.anonymous_bytes for each in others if each is not None)
        return msgspec.structs.replace(memory, held_bytes=held_bytes)

    return await asyncio.to_thread(look)
