"""The Litestar app: routes, error handlers, and the parts of the gateway that handlers ask for. No sockets here."""

import dataclasses
from typing import Any

from litestar import Litestar
from litestar.di import Provide

from router.config.instance import ServerFacts
from router.events.log import EventLog
from router.http.litestar_errors import exception_handlers
from router.jobs.batches.runner import Batches
from router.jobs.benches import BenchRuns
from router.jobs.conversions import ModelConversions
from router.jobs.job import Jobs
from router.jobs.pulls import PullAccess
from router.memory.monitor import MemoryMonitor
from router.models.keeper import ModelKeeper
from router.models.making import ModelMaking
from router.protocols.access import check_access
from router.protocols.openapi import ApiDocument
from router.protocols.serving import RequestService
from router.protocols.table import DIALECTS, ENDPOINTS, ROUTES, SOCKETS
from router.readiness import Readiness
from router.stores.conversations import Conversations


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The parts of a gateway. A handler is given those whose names are names of its parameters.

    Attributes:
        readiness: Knows what stands in the way of serving.
        serving: Answers requests for models.
        memory: Watches the machine's memory.
        events: What happened last, and who follows.
        jobs: Everything long that runs for clients.
        keeper: Keeps the registry true to the disk; has the progress of checksums.
        conversations: What is kept of responses.
    """

    server: ServerFacts
    readiness: Readiness
    serving: RequestService
    memory: MemoryMonitor
    events: EventLog
    jobs: Jobs
    keeper: ModelKeeper
    making: ModelMaking
    pulls: PullAccess
    conversions: ModelConversions
    benches: BenchRuns
    batches: Batches
    conversations: Conversations


def create_app(services: Services) -> Litestar:
    """Return the app that serves `services`."""
    parts = {field.name: getattr(services, field.name) for field in dataclasses.fields(services)}
    parts["endpoints"] = ENDPOINTS
    parts["document"] = ApiDocument(services.server.version, ENDPOINTS, DIALECTS)
    provided = {name: _provider(part) for name, part in parts.items()}
    provided["batches"] = Provide(services.batches.opened)
    return Litestar(
        route_handlers=[*ROUTES, *SOCKETS],
        dependencies=provided,
        guards=[check_access],
        openapi_config=None,
        exception_handlers=exception_handlers(DIALECTS),
        debug=False,
        logging_config=None,
        request_max_body_size=services.serving.config.server.max_body_bytes,  # of what does not hold it by itself
    )


def _provider(part: Any) -> Provide:
    return Provide(lambda: part, use_cache=True, sync_to_thread=False)
