"""Giving the machine up for a while, and taking up again: by a command, or by a route.

To suspend: running answers get a bounded time, conversations' caches are saved where `cache.persist` says so, and the
model is unloaded, which leaves it idle and not in error. Background work stands still until the server is resumed;
pulls and other jobs go on. A request that comes meanwhile loads its model as ever, which ends it. To resume: what was
loaded is loaded again in the background. Both do nothing when there is nothing to do.
"""

import asyncio
import logging
import sys
from collections.abc import Callable

from backends.wire.request import Priority
from registry.errors import RegistryError
from router.conditions import Conditions
from router.config import CurrentConfig
from router.errors import RouterError
from router.logind import SleepNotices
from router.models.model_request import ModelRequest
from router.status import ResidentModel, ResumeResponse, SuspendResponse, Swap
from router.workers.supervisor import Supervisor

logger = logging.getLogger(__name__)


class Suspension:
    """Owned by the event loop; `run` is its task.

    Args:
        meaning: A model's name as users write it to what is asked for; raises RouterError or RegistryError.
        timeout_s: What running answers get to finish.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        conditions: Conditions,
        *,
        meaning: Callable[[str], ModelRequest],
        timeout_s: Callable[[], float],
    ) -> None:
        self._supervisor = supervisor
        self._conditions = conditions
        self._meaning = meaning
        self._timeout_s = timeout_s
        self._remembered: list[ResidentModel] = []
        self._changing = asyncio.Lock()
        self._to_load: asyncio.Queue[ResidentModel] = asyncio.Queue()
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
            was_suspended = self._conditions.suspended is not None
            self._conditions.set_suspended(reason)
            loaded = self._loaded()
            if loaded or not was_suspended:
                self._remembered = loaded
            freed = [await self._unload(each, reason, timeout_s) for each in loaded]
            return SuspendResponse(
                suspended=self._conditions.suspended is not None,
                unloaded=loaded,
                freed_bytes=sum(each for each in freed if each is not None) if any(freed) else None,
            )

    async def resume(self, *, is_reloading: bool = True) -> ResumeResponse:
        """End the suspension, and have loaded again in the background what it unloaded.

        Args:
            is_reloading: Otherwise the next request loads what it needs.
        """
        async with self._changing:
            was_suspended = self._conditions.suspended is not None
            self._conditions.set_suspended(None)
            remembered, self._remembered = self._remembered, []
            loading = remembered if was_suspended and is_reloading and not self._loaded() else []
            for each in loading:
                self._to_load.put_nowait(each)
            return ResumeResponse(resumed=was_suspended, loading=loading)

    def _loaded(self) -> list[ResidentModel]:
        found = [
            ResidentModel(worker.target.label, str(worker.engine))
            for worker in self._supervisor.workers
            if worker.target is not None and (worker.state.is_resident or worker.state.is_getting_ready)
        ]
        return list(dict.fromkeys(found))

    async def _unload(self, each: ResidentModel, reason: str, timeout_s: float | None) -> int | None:
        stopping = asyncio.ensure_future(self._supervisor.stop_model(each.model, reason=reason))
        await asyncio.wait([stopping], timeout=self._timeout_s() if timeout_s is None else timeout_s)
        if not stopping.done():
            logger.warning("the answers of '%s' are cut: %s", each.model, reason)
            await self._supervisor.stop_model(each.model, reason=reason, is_cut=True)
        swap = (await stopping).swap
        return None if swap is None else swap.freed_bytes

    def _on_swap(self, swap: Swap) -> None:
        if swap.event == "load" and self._conditions.suspended is not None:
            logger.info("'%s' was asked for while suspended (%s): awake again", swap.model, self._conditions.suspended)
            self._conditions.set_suspended(None)

    async def _load(self, each: ResidentModel) -> None:
        try:
            meant = self._meaning(f"{each.model}@{each.engine}")
            lease = await self._supervisor.lease(meant, 0, Priority.BACKGROUND)
        except (RouterError, RegistryError) as exc:
            logger.warning("'%s' is not loaded again: %s", each.model, exc)
        else:
            lease.release()


async def follow_sleep(suspension: Suspension, current: CurrentConfig) -> None:
    """Suspend before the machine sleeps and resume after it, as the config has it; only logind tells of it yet."""
    if sys.platform != "linux":
        return

    async def on_sleep(budget_s: float) -> None:
        if current.config.lifecycle.unload_before_sleep:
            await suspension.suspend("before the machine's sleep", budget_s)

    async def on_wake() -> None:
        await suspension.resume(is_reloading=current.config.lifecycle.reload_on_wake)

    await SleepNotices(on_sleep, on_wake).run()
