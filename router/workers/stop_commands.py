"""Commands to unload a model: which workers go, who waits for them to be gone, and what the unload came to.

Part of the supervisor's task.
"""

import asyncio
from collections.abc import Collection, Sequence

import msgspec

from router.config import Config
from router.errors import UnavailableError
from router.status import Swap
from router.workers.fleet import Fleet
from router.workers.messages import StopModel
from router.workers.residency import StopReport
from router.workers.waiting import WaitingQueue


class _Command(msgspec.Struct):
    worker_ids: set[int]
    done: asyncio.Future[StopReport]
    swaps: list[Swap]


class StopCommands:
    """Commands that are under way."""

    def __init__(self, fleet: Fleet, queue: WaitingQueue) -> None:
        self._fleet = fleet
        self._queue = queue
        self._commands: list[_Command] = []

    def on_stop_model(self, message: StopModel, config: Config) -> None:
        """Stop the workers that have the model: loading ones at once, others when their answers have ended."""
        if message.done.done():
            return  # whoever asked went away meanwhile
        workers = self._fleet.holders_of(message.model)
        if not workers:
            message.done.set_result(StopReport(stopped=False, swap=None))
            return
        self.add([worker.worker_id for worker in workers], message.done)
        loading = [worker for worker in workers if worker.state.is_getting_ready]
        if len(loading) == len(workers) and not message.keeps_queue:
            assert workers[0].target is not None
            self._queue.fail_target(workers[0].target, UnavailableError("the model was stopped while it loaded"))
        for worker in workers:
            worker.unwanted_reason = message.reason
        cut = UnavailableError(f"the model was unloaded before this answer was complete: {message.reason}")
        for worker in workers if message.is_cut else loading:
            self._fleet.stop(worker, message.reason, config, error=cut if message.is_cut else None)

    def add(self, worker_ids: Collection[int], done: asyncio.Future[StopReport]) -> None:
        """Answer `done` when all of the workers are gone."""
        self._commands.append(_Command(set(worker_ids), done, []))

    def on_worker_gone(self, worker_id: int, swap: Swap | None) -> None:
        """Take note of an end; `swap` is its unload, if one was measured."""
        for command in self._commands:
            if worker_id in command.worker_ids:
                command.worker_ids.remove(worker_id)
                command.swaps += [] if swap is None else [swap]
                if not command.worker_ids and not command.done.done():
                    command.done.set_result(StopReport(stopped=True, swap=combined(command.swaps)))
        self._commands = [command for command in self._commands if command.worker_ids]


def combined(swaps: Sequence[Swap]) -> Swap | None:
    """Return the unloads of a model's workers as one: what they freed together, and what the slowest of them took.

    The machine's available memory is that of the last unload; None when nothing was measured.
    """
    if not swaps:
        return None

    def total(name: str) -> int | None:
        values = [value for swap in swaps if (value := getattr(swap, name)) is not None]
        return sum(values) if values else None

    return msgspec.structs.replace(
        swaps[-1],
        unload_ms=max((swap.unload_ms for swap in swaps if swap.unload_ms is not None), default=None),
        freed_bytes=total("freed_bytes"),
        rss_before_bytes=total("rss_before_bytes"),
        anonymous_before_bytes=total("anonymous_before_bytes"),
    )
