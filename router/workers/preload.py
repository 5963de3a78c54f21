"""Loading a model before anybody asks for it: the one that the config names, or the one that was loaded last.

It waits in the queue as background work: whoever asks for another model meanwhile goes first, and nothing is loaded
while memory is short. Not here: what is loaded when the machine wakes up.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from backends.wire.request import Priority
from registry.errors import RegistryError
from router.config.edit import write_atomically
from router.config.schema import ModelsConfig
from router.errors import RouterError
from router.models.model_request import ModelRequest
from router.readiness import PRELOAD, Readiness
from router.status import Swap
from router.workers.supervisor import Supervisor

logger = logging.getLogger(__name__)


class Preload:
    """One task of the gateway, which also remembers what was loaded last.

    Args:
        meaning: A model's name as users write it to what is asked for; raises RouterError or RegistryError.
        last_file: Where the name of the last model is kept.
    """

    def __init__(
        self,
        models: ModelsConfig,
        supervisor: Supervisor,
        readiness: Readiness,
        *,
        meaning: Callable[[str], ModelRequest],
        last_file: Path,
    ) -> None:
        self._models = models
        self._supervisor = supervisor
        self._readiness = readiness
        self._meaning = meaning
        self._last_file = last_file
        self._last = _text_of(last_file)
        self._loaded = asyncio.Event()
        if models.preload == "last" or not isinstance(models.preload, str):
            readiness.hold(PRELOAD, "The model that is loaded at the start is not there yet.")
        supervisor.swapped.add(self._on_swap)

    async def run(self) -> None:
        """Load what is to be loaded, then write down what is loaded from then on, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._preload())
            while True:
                await self._loaded.wait()
                self._loaded.clear()
                await asyncio.to_thread(self._write)

    async def _preload(self) -> None:
        try:
            for name in self._names():
                await self._load(name)
        finally:
            self._readiness.release(PRELOAD)

    def _names(self) -> list[str]:
        match self._models.preload:
            case "none":
                return []
            case "last":
                return [] if self._last is None else [self._last]
            case names:
                return list(names)

    async def _load(self, name: str) -> None:
        try:
            lease = await self._supervisor.lease(self._meaning(name), 0, Priority.BACKGROUND)
        except (RouterError, RegistryError) as exc:
            logger.warning("'%s' is not loaded at the start: %s", name, exc)
        else:
            lease.release()

    def _on_swap(self, swap: Swap) -> None:
        if swap.event == "load" and swap.model != self._last:
            self._last = swap.model
            self._loaded.set()

    def _write(self) -> None:
        try:
            write_atomically(self._last_file, (self._last or "").encode())
        except OSError as exc:  # a full disk costs the memory of it, and nothing else
            logger.warning("the model that was loaded last is not remembered: %s", exc.strerror or exc)


def _text_of(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None
