"""Upstreams where the config names some: nothing else of this room is imported before."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from router.config import CurrentConfig
from router.models.directory import ModelDirectory
from router.observers import Observers
from router.status.upstreams import UpstreamStatus
from router.workers.supervisor import Supervisor

if TYPE_CHECKING:
    from router.upstreams.upstreams import Upstreams


class LazyUpstreams:
    """Makes them when there is one, and makes them known to those who ask them.

    Args:
        environment: Of this process: their keys may be there.
        models: Whose `offers` they become.
        ledger_file: Where it is kept what they were given today.
        supervisor: Whose remote service they become.

    Attributes:
        made: They; None before there was one.
        changed: Told of each that stands otherwise than before.
    """

    def __init__(
        self,
        current: CurrentConfig,
        environment: Mapping[str, str],
        models: ModelDirectory,
        supervisor: Supervisor,
        ledger_file: Path,
    ) -> None:
        self._current = current
        self._environment = environment
        self._models = models
        self._supervisor = supervisor
        self._ledger_file = ledger_file
        self._is_wanted = asyncio.Event()
        self.made: Upstreams | None = None
        self.changed: Observers[UpstreamStatus] = Observers()
        self.follow()

    def follow(self) -> None:
        """Take over the config in force; the supervisor is to resolve again what waits after that."""
        if self.made is not None:
            self.made.follow()
        elif self._current.config.upstreams:
            from router.upstreams.ledger import Ledger  # noqa: PLC0415 - see above
            from router.upstreams.upstreams import Upstreams  # noqa: PLC0415 - see above

            self.made = Upstreams(
                self._current,
                self._environment,
                defaults_for=self._models.defaults_for,
                changed=self.changed.tell,
                ledger=Ledger(self._ledger_file),
            )
            self._models.offers = self.made
            self._supervisor.serve_remotely(self.made)
            self._is_wanted.set()

    async def run(self) -> None:
        """Look after them until cancelled."""
        await self._is_wanted.wait()
        assert self.made is not None
        await self.made.run()
