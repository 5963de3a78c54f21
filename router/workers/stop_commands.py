"""Commands to unload a model: who waits for which workers to be gone, and what the unload came to."""

import asyncio
from collections.abc import Collection, Sequence

import msgspec

from router.status import Swap
from router.workers.residency import StopReport


class _Command(msgspec.Struct):
    worker_ids: set[int]
    done: asyncio.Future[StopReport]
    swaps: list[Swap]


class StopCommands:
    """Commands that are under way."""

    def __init__(self) -> None:
        self._commands: list[_Command] = []

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
