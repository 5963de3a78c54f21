"""The Litestar app and its server: routes, error handlers, and the parts of the gateway that handlers ask for."""

import dataclasses
import logging

import msgspec
from litestar import Litestar
from litestar.di import Provide
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin

from router.config.capability import AUTO, socket_path
from router.config.instance import ServerFacts
from router.config.paths import Paths
from router.config.settings.administration import ConfigAdministration
from router.context.winder import Winder
from router.events.log import EventLog
from router.heat import HeatMonitor
from router.http.hosts import HostRules
from router.http.limits import HttpLimits, affordable_connections
from router.http.litestar_errors import exception_handlers
from router.http.server import HttpServer, guarded
from router.jobs.batches.runner import Batches
from router.jobs.benches import BenchRuns
from router.jobs.conversions import ModelConversions
from router.jobs.hub_search import HubSearch
from router.jobs.jobs import Jobs
from router.jobs.pulls import PullAccess
from router.jobs.verifications import Verifications
from router.keys.administration import KeyAdministration
from router.keys.authenticator import Authenticator
from router.keys.ring import KeyRing
from router.keys.sessions import PageSessions
from router.keys.use import KeyUse
from router.memory.monitor import MemoryMonitor
from router.models.editing import ModelEditing
from router.models.keeper import ModelKeeper
from router.models.making import ModelMaking
from router.protocols.access import check_access
from router.protocols.openapi import ApiDocument
from router.protocols.serving import RequestService
from router.protocols.table import DIALECTS, ENDPOINTS, ROUTES, SOCKETS
from router.readiness import Readiness
from router.requests.accounting import account_of
from router.requests.embedding import RunningEmbedding
from router.requests.register import RunningRequest
from router.stores.contexts import Contexts
from router.stores.conversations import Conversations
from router.suspension import Suspension
from router.telemetry.telemetry import Telemetry
from router.tls.following import CertificateFollower
from router.upstreams.lazily import LazyUpstreams
from router.web.assets import Assets
from router.web.routes import page_routes


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The parts of a gateway. A handler is given those whose names are names of its parameters.

    Attributes:
        readiness: Knows what stands in the way of serving.
        serving: Answers requests for models.
        memory: Watches the machine's memory.
        heat: Watches how hot it is.
        events: What happened last, and who follows.
        telemetry: Has the metrics.
        upstreams: Other servers whose models are served, if the config names any.
        jobs: Everything long that runs for clients.
        keeper: Keeps the registry true to the disk; has the progress of checksums.
        conversations: What is kept of responses.
        contexts: What was told again of conversations that filled their context.
        winder: Has that told.
        keys: Administers the API keys.
        configuration: Changes the config file.
    """

    server: ServerFacts
    readiness: Readiness
    serving: RequestService
    memory: MemoryMonitor
    heat: HeatMonitor
    suspension: Suspension
    events: EventLog
    telemetry: Telemetry
    upstreams: LazyUpstreams
    jobs: Jobs
    keeper: ModelKeeper
    making: ModelMaking
    editing: ModelEditing
    hub_search: HubSearch
    pulls: PullAccess
    conversions: ModelConversions
    verifications: Verifications
    benches: BenchRuns
    batches: Batches
    conversations: Conversations
    contexts: Contexts
    winder: Winder
    keys: KeyAdministration
    sessions: PageSessions
    configuration: ConfigAdministration


class _App(Litestar):
    """Litestar without its plugins for libraries that no handler uses.

    It imports pydantic wherever that is installed: a tenth of the gateway's start, and some megabytes.
    """

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return [*plugins, MsgspecDIPlugin()]


def create_app(services: Services) -> Litestar:
    """Return the app that serves `services`, whose parts are looked up by each request that wants them."""
    document = ApiDocument(services.server.version, ENDPOINTS, DIALECTS)

    async def opened_batches() -> Batches:
        return await services.batches.opened()

    provided = {field.name: _provider(services, field.name) for field in dataclasses.fields(Services)}
    provided |= {
        "endpoints": Provide(lambda: ENDPOINTS, sync_to_thread=False),
        "document": Provide(lambda: document, sync_to_thread=False),
        "batches": Provide(opened_batches),
    }
    return _App(
        route_handlers=[*ROUTES, *SOCKETS, *page_routes(Assets())],
        dependencies=provided,
        guards=[check_access],
        openapi_config=None,
        exception_handlers=exception_handlers(DIALECTS),
        debug=False,
        logging_config=None,
        request_max_body_size=services.serving.config.server.max_body_bytes,  # of what does not hold it by itself
    )


def count_key_use(paths: Paths, keys: KeyRing, serving: RequestService) -> KeyUse:
    """Count what keys use, and hold them to their limits."""
    use = KeyUse(paths.keys_db, keys.key, is_session_good=keys.is_session_good)

    def on_ended(running: RunningRequest | RunningEmbedding) -> None:
        account = account_of(running)
        use.add_tokens(
            running.facts.owner,
            num_prompt=account.num_prompt_tokens or 0,
            num_cached=account.num_cached_tokens or 0,
            num_answer=account.num_output_tokens,
        )

    serving.admit = use.admit
    serving.requests.ended.add(on_ended)
    serving.requests.ended_embedding.add(on_ended)
    return use


def create_server(
    services: Services,
    paths: Paths,
    authenticator: Authenticator,
    key_use: KeyUse,
    certificate: CertificateFollower,
) -> HttpServer:
    """Return the server of the app, with the guards in front of it; over TLS where there is a certificate."""
    services.telemetry.exchanges.add(services.serving.inspector.on_exchange)
    in_force = services.serving.config
    config, limits = in_force.server, msgspec.convert(in_force.server, HttpLimits, from_attributes=True)
    limits = msgspec.structs.replace(limits, max_connections=affordable_connections(limits.max_connections))
    return HttpServer(
        guarded(
            create_app(services),
            rules=HostRules(config.host, allowed_hosts=config.allowed_hosts, allowed_origins=config.allowed_origins),
            limits=limits,
            dialects=DIALECTS,
            access_logger=logging.getLogger("mlxr.access"),
            authenticate=authenticator.caller,
            limit_headers=key_use.headers,
            is_strict=lambda: services.serving.config.server.strict_fields,
            ended=services.telemetry.exchanges,
        ),
        host=config.host,
        port=config.port,
        unix_socket=socket_path(config.unix_socket, paths),
        is_unix_optional=config.unix_socket == AUTO,
        tls=certificate.tls,
        limits=limits,
        dialects=DIALECTS,
        drain_timeout_s=config.drain_timeout_s,
    )


def _provider(services: Services, name: str) -> Provide:
    return Provide(lambda: getattr(services, name), sync_to_thread=False)
