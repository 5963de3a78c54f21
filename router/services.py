"""What route handlers are given: the parts of a running gateway."""

import dataclasses
import time

from router.config import Config, CurrentConfig
from router.jobs.batches.runner import Batches
from router.jobs.benches import BenchRuns
from router.jobs.conversions import Conversions
from router.jobs.job import Jobs
from router.jobs.pulls import Pulls
from router.models.defaults import RequestDefaults
from router.models.directory import ModelDirectory
from router.models.keeper import ModelKeeper
from router.models.making import ModelMaking
from router.requests.register import RequestRegister
from router.stores.conversations import Conversations
from router.workers.supervisor import Supervisor


@dataclasses.dataclass(slots=True)
class Services:
    """One per gateway.

    Attributes:
        current_config: Knows the config in force.
        url: Where the server listens, once it does.
        started_at: Monotonic seconds.
        requests: Those that have not ended.
        keeper: Keeps the registry true to the disk; has the progress of checksums.
        jobs: Everything long that runs for clients.
        conversions: Runs the conversions that clients ask for.
        benches: Runs the benchmarks that clients ask for.
        conversations: What is kept of responses.
    """

    current_config: CurrentConfig
    models: ModelDirectory
    supervisor: Supervisor
    conversations: Conversations
    version: str
    url: str | None = None
    started_at: float = dataclasses.field(default_factory=time.monotonic)
    requests: RequestRegister = dataclasses.field(default_factory=RequestRegister)
    keeper: ModelKeeper | None = None
    jobs: Jobs = dataclasses.field(default_factory=Jobs)
    pulls: Pulls | None = None
    conversions: Conversions | None = None
    benches: BenchRuns | None = None
    making: ModelMaking | None = None
    batches: Batches | None = None

    @property
    def config(self) -> Config:
        """The one in force."""
        return self.current_config.config

    def defaults_for(self, model: str) -> RequestDefaults:
        """Return what requests for a model get that do not say otherwise; errors as in `ModelDirectory.get`."""
        return RequestDefaults.of(self.config.generation, self.models.get(model).settings)
