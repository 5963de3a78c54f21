"""What handlers are given: the request, and the parts of the gateway that they name (`router.app.Services`)."""

from typing import Any

from litestar import Request
from litestar.di import NamedDependency

from router.config.instance import ServerFacts
from router.config.settings.administration import ConfigAdministration
from router.events.log import EventLog
from router.heat import HeatMonitor
from router.jobs.batches.runner import Batches
from router.jobs.benches import BenchRuns
from router.jobs.conversions import ModelConversions
from router.jobs.hub_search import HubSearch
from router.jobs.jobs import Jobs
from router.jobs.pulls import PullAccess
from router.jobs.verifications import Verifications
from router.keys.administration import KeyAdministration
from router.keys.sessions import PageSessions
from router.memory.monitor import MemoryMonitor
from router.models.editing import ModelEditing
from router.models.keeper import ModelKeeper
from router.models.making import ModelMaking
from router.protocols.endpoint import Endpoint
from router.protocols.openapi import ApiDocument
from router.protocols.serving import RequestService
from router.readiness import Readiness
from router.stores.contexts import Contexts
from router.stores.conversations import Conversations
from router.suspension import Suspension
from router.telemetry.telemetry import Telemetry

AnyRequest = Request[Any, Any, Any]

ServerPart = NamedDependency[ServerFacts]
ReadinessPart = NamedDependency[Readiness]
ServingPart = NamedDependency[RequestService]
EventsPart = NamedDependency[EventLog]
HeatPart = NamedDependency[HeatMonitor]
TelemetryPart = NamedDependency[Telemetry]
SuspensionPart = NamedDependency[Suspension]
MemoryPart = NamedDependency[MemoryMonitor]
JobsPart = NamedDependency[Jobs]
KeeperPart = NamedDependency[ModelKeeper]
MakingPart = NamedDependency[ModelMaking]
EditingPart = NamedDependency[ModelEditing]
HubSearchPart = NamedDependency[HubSearch]
PullsPart = NamedDependency[PullAccess]
ConversionsPart = NamedDependency[ModelConversions]
VerificationsPart = NamedDependency[Verifications]
BenchesPart = NamedDependency[BenchRuns]
BatchesPart = NamedDependency[Batches]
ConfigPart = NamedDependency[ConfigAdministration]
SessionsPart = NamedDependency[PageSessions]
KeysPart = NamedDependency[KeyAdministration]
ConversationsPart = NamedDependency[Conversations]
ContextsPart = NamedDependency[Contexts]
EndpointsPart = NamedDependency[tuple[Endpoint, ...]]
DocumentPart = NamedDependency[ApiDocument]
