"""The catalogue as a whole: one connection, and the parts that work on it."""

import time
from collections.abc import Callable
from pathlib import Path

from registry.sqlite import BUSY_TIMEOUT_S
from registry.store.artifacts import Artifacts, Removals
from registry.store.benches import Benches
from registry.store.copies import Copies
from registry.store.database import CatalogueDatabase
from registry.store.files import Files
from registry.store.models import Adapters, Aliases, Models
from registry.store.pulls import Pulls


class Registry(CatalogueDatabase):
    """The catalogue: models, artifacts, aliases, settings, runs of the benchmark.

    One Registry is one connection, for the thread that opened it; opening is cheap. Writes of several parts are one
    transaction inside `write`. Any method of a part may raise a `DatabaseError`.

    Args:
        clock: Gives seconds since 1970.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
        is_read_only: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(path, busy_timeout_s=busy_timeout_s, is_read_only=is_read_only)
        self.clock = clock
        self.models = Models(self)
        self.aliases = Aliases(self, self.models)
        self.files = Files(self)
        self.copies = Copies(self, self.models)
        self.artifacts = Artifacts(self, self.models, self.files, self.copies)
        self.removals = Removals(self, self.models, self.files)
        self.adapters = Adapters(self, self.models)
        self.benches = Benches(self)
        self.pulls = Pulls(self)
