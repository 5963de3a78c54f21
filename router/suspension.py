"""Giving the machine up for a while: by a command, by a route, or because the machine sleeps; and taking up again.

To suspend: running answers get a bounded time, conversations' caches are saved where `cache.persist` says so, and the
model is unloaded, which leaves it idle and not in error. Background work stands still until the server is resumed;
pulls and other jobs go on. A request that comes meanwhile loads its model as ever, which ends it; but before the
machine's sleep all requests wait until it is awake. To resume: what was loaded is loaded again in the background, as it
was. Both do nothing when there is nothing to do.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from backends.wire.request import Priority
from registry.engines import EngineSetting
from registry.errors import RegistryError
from router.conditions import Conditions
from router.config import CurrentConfig
from router.errors import RouterError
from router.models.model_request import ModelRequest
from router.models.targets import Target
from router.sleep.base import OnSleep, OnWake, SleepNotices
from router.sleep.current import sleep_notices
from router.status import ResidentModel, ResumeResponse, SuspendResponse, Swap
from router.workers.residency import ManagedWorker
from router.workers.supervisor import Supervisor

logger = logging.getLogger(__name__)

BEFORE_SLEEP: Final = "before the machine's sleep"


class Suspension:
    """Owned by the event loop; `run` is its task.

    Args:
        timeout_s: What running answers get to finish.
    """

    def __init__(self, supervisor: Supervisor, conditions: Conditions, *, timeout_s: Callable[[], float]) -> None:
        self._supervisor = supervisor
        self._conditions = conditions
        self._timeout_s = timeout_s
        self._remembered: list[ModelRequest] = []
        self._reason_before_sleep: str | None = None
        self._changing = asyncio.Lock()
        self._to_load: asyncio.Queue[ModelRequest] = asyncio.Queue()
        supervisor.swapped.add(self._on_swap)

    async def run(self) -> None:
        """Load what is to be loaded again, until cancelled."""
        while True:
            await self._load(await self._to_load.get())

    async def suspend(self, reason: str, timeout_s: float | None = None) -> SuspendResponse:
        """Unload what is loaded, and remember it; return when its memory is back.

        Args:
            reason: For the log, the status and events, in words.
            timeout_s: What running answers get to finish; None = as the config has it.

        Raises:
            ShuttingDownError: The server ends.
        """
        async with self._changing:
            is_holding = self._conditions.is_holding
            if is_holding:
                self._reason_before_sleep = reason  # and so it stays when the machine is awake
            return await self._suspend(reason, timeout_s, is_holding=is_holding)

    async def resume(self, *, is_reloading: bool = True) -> ResumeResponse:
        """End the suspension, and have loaded again in the background what it unloaded.

        Args:
            is_reloading: Otherwise the next request loads what it needs.
        """
        async with self._changing:
            return self._resume(is_reloading=is_reloading)

    async def on_sleep(self, budget_s: float) -> None:
        """Suspend, and let all requests wait, because the machine is about to sleep."""
        async with self._changing:
            if not self._conditions.is_holding:
                self._reason_before_sleep = self._conditions.suspended
            await self._suspend(BEFORE_SLEEP, budget_s, is_holding=True)

    async def on_wake(self, *, is_reloading: bool) -> None:
        """Take back what `on_sleep` did, and that only: who was suspended before stays so."""
        async with self._changing:
            if not self._conditions.is_holding:
                return
            if self._reason_before_sleep is None:
                self._resume(is_reloading=is_reloading)
            else:
                self._conditions.set_suspended(self._reason_before_sleep)

    async def _suspend(self, reason: str, timeout_s: float | None, *, is_holding: bool) -> SuspendResponse:
        was_suspended = self._conditions.suspended is not None
        self._conditions.set_suspended(reason, is_holding=is_holding)
        loaded = {_shown(worker.target): _asked_again(worker) for worker in self._holders() if worker.target}
        if loaded or not was_suspended:
            self._remembered = list(loaded.values())
        freed = [await self._unload(each, reason, timeout_s) for each in loaded]
        return SuspendResponse(
            suspended=self._conditions.suspended is not None,
            unloaded=list(loaded),
            freed_bytes=sum(each for each in freed if each is not None) if any(freed) else None,
        )

    def _resume(self, *, is_reloading: bool) -> ResumeResponse:
        was_suspended = self._conditions.suspended is not None
        self._conditions.set_suspended(None)
        remembered, self._remembered = self._remembered, []
        is_wanted = was_suspended and is_reloading and not self._is_something_else_wanted()
        loading = remembered if is_wanted else []
        for each in loading:
            self._to_load.put_nowait(each)
        return ResumeResponse(
            resumed=was_suspended, loading=[ResidentModel(each.label, str(each.engine)) for each in loading]
        )

    def _is_something_else_wanted(self) -> bool:
        """Tell whether a model is there already, or people wait for one, who say which."""
        stays = any(worker.unwanted_reason is None for worker in self._holders())
        return stays or any(each.priority is Priority.INTERACTIVE for each in self._supervisor.waiting)

    def _holders(self) -> list[ManagedWorker]:
        return [
            worker
            for worker in self._supervisor.workers
            if worker.target is not None and (worker.state.is_resident or worker.state.is_getting_ready)
        ]

    async def _unload(self, each: ResidentModel, reason: str, timeout_s: float | None) -> int | None:
        keeps_queue = self._conditions.is_holding
        stopping = asyncio.ensure_future(
            self._supervisor.stop_model(each.model, reason=reason, keeps_queue=keeps_queue)
        )
        await asyncio.wait([stopping], timeout=self._timeout_s() if timeout_s is None else timeout_s)
        if not stopping.done():
            logger.warning("the answers of '%s' are cut: %s", each.model, reason)
            await self._supervisor.stop_model(each.model, reason=reason, is_cut=True, keeps_queue=keeps_queue)
        swap = (await stopping).swap
        return None if swap is None else swap.freed_bytes

    def _on_swap(self, swap: Swap) -> None:
        if swap.event == "load" and self._conditions.suspended is not None and not self._conditions.is_holding:
            logger.info("'%s' was asked for while suspended (%s): awake again", swap.model, self._conditions.suspended)
            self._conditions.set_suspended(None)

    async def _load(self, each: ModelRequest) -> None:
        try:
            lease = await self._supervisor.lease(each, 0, Priority.BACKGROUND)
        except (RouterError, RegistryError) as exc:
            logger.warning("'%s' is not loaded again: %s", each.label, exc)
        else:
            lease.release()


def _shown(target: Target) -> ResidentModel:
    return ResidentModel(target.label, str(target.engine))


def _asked_again(worker: ManagedWorker) -> ModelRequest:
    """Return the request for which a worker's model is loaded, on the engine that it is loaded on."""
    target = worker.target
    assert target is not None
    adapter = None if target.adapter is None else target.adapter.name
    asked = worker.asked or ModelRequest(target.model, load=target.load, adapter=adapter)
    return replace(asked, engine=EngineSetting(str(target.engine)), size=None, worker_id=None)


async def follow_sleep(
    suspension: Suspension,
    current: CurrentConfig,
    make_notices: Callable[[OnSleep, OnWake], SleepNotices] = sleep_notices,
) -> None:
    """Suspend before the machine sleeps and resume after it, as the config has it."""

    async def on_sleep(budget_s: float) -> None:
        if current.config.lifecycle.unload_before_sleep:
            await suspension.on_sleep(budget_s)

    async def on_wake() -> None:
        await suspension.on_wake(is_reloading=current.config.lifecycle.reload_on_wake)

    await make_notices(on_sleep, on_wake).run()
