"""The gateway process: registry, supervisor, HTTP server, config watcher, from start to clean end.

What its parts are and how they are made stands in `composition.py`. Never imports an engine's library.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from backends.machine.current import current_platform
from registry.errors import RegistryError
from registry.store import Registry
from router.app import Services, count_key_use, create_server
from router.composition import Composition
from router.conditions import Conditions
from router.config import Config, CurrentConfig, Overrides
from router.config.capability import Capability
from router.config.following import ConfigFollower
from router.config.hub import hub_settings
from router.config.instance import InstanceLock, RunningInstance
from router.config.paths import Paths
from router.config.roots import models_dir
from router.errors import ConfigError
from router.http.exchange import RequestIdFilter
from router.http.server import Addresses, HttpServer, run
from router.jobs.background import end_cut_off
from router.jobs.conversions import Converter
from router.jobs.pulls import open_pulls
from router.jobs.shadow import Shadow, shadow_into
from router.keys.authenticator import Authenticator
from router.keys.opening import open_keys
from router.keys.store import KeyStore
from router.keys.use import KeyUse
from router.placement.memory import read_budget, weights_budget
from router.protocols.control.status import health
from router.protocols.serving import RequestService
from router.readiness import SHUTDOWN, Readiness
from router.service.notify import Notifier
from router.signals import EXIT_STOPPED, on_signals
from router.sleep.awake import keep_awake
from router.suspension import follow_sleep
from router.telemetry.tracing import open_tracing
from router.tls.following import CertificateFollower
from router.version import VERSION
from router.workers.launch import WorkerLaunch, worker_environment
from router.workers.preload import Preload

logger = logging.getLogger(__name__)

REGISTRY_POLL_S = 0.5
"""How often the registry is asked whether another process changed it; a query of microseconds."""

REGISTRY_BUSY_TIMEOUT_S = 0.05
"""How long the event loop may wait for another writer; the one thing it writes, the time of last use, can be missed."""

ENDING_S = 15.0
"""What the end may take beside the drain and the workers: last words, stores that are written."""


class GatewayOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway is started with.

    Attributes:
        file_config: What the file alone says; what later edits of it are compared with.
        overrides: The command line's, which stay above every later edit.
        environment: Of this process; workers get a filtered copy.
        owner: The command that it is started for, None = for itself.
        on_started: Called with the services once requests are served.
        worker_launch: Replaces how workers are started; for tests with the fake engine.
    """

    config: Config
    file_config: Config
    config_file: Path
    overrides: Overrides
    paths: Paths
    environment: Mapping[str, str]
    owner: str | None = None
    on_started: Callable[[Services], None] | None = None
    worker_launch: Callable[[str], WorkerLaunch] | None = None


def run_gateway(options: GatewayOptions) -> int:
    """Serve until SIGTERM or SIGINT; block meanwhile, and return the exit code.

    Raises:
        StartupError: An address is taken, another gateway uses the data folder, and the like.
        RegistryError: The registry cannot be opened.
    """
    # Threads here take turns: heaps of their own spare them no wait, and what is free in one is of no use to others.
    current_platform().use_one_heap()
    for handler in logging.getLogger().handlers:
        handler.addFilter(RequestIdFilter())
    run(_Gateway(options).serve())
    return EXIT_STOPPED


class _Gateway:
    """The running parts, in the order in which they depend on each other."""

    def __init__(self, options: GatewayOptions) -> None:
        self._options = options
        self._config = CurrentConfig(options.config, total_bytes=current_platform().memory().total_bytes)
        self._conditions = Conditions()
        self._environment = worker_environment(options.environment)
        self._models_dir = models_dir(options.config, options.paths)
        self._notifier = Notifier.from_environment(options.environment)
        self._follower = ConfigFollower(
            self._config,
            options.config_file,
            options.file_config,
            options.overrides,
            user_home=options.paths.user_home,
            on_read=self._notifier.reloaded,
        )
        self._certificate = CertificateFollower.of(options.config.server)
        self._converter = Converter(options.paths.registry_db, self._models_dir, self._environment, self._conditions)

    async def serve(self) -> None:
        paths = self._options.paths
        with (
            InstanceLock.acquire(paths) as lock,
            Registry(paths.registry_db, busy_timeout_s=REGISTRY_BUSY_TIMEOUT_S) as registry,
            KeyStore.opened(paths.keys_db, busy_timeout_s=REGISTRY_BUSY_TIMEOUT_S) as key_store,
        ):
            keys = open_keys(key_store, self._config.config.server, self._options.environment)
            parts = Composition(
                config=self._config,
                follower=self._follower,
                conditions=self._conditions,
                paths=paths,
                environment=self._environment,
                own_environment=self._options.environment,
                models_dir=self._models_dir,
                hub_settings=partial(hub_settings, self._options.config, self._options.environment),
                launch_for=self._options.worker_launch or (lambda engine: WorkerLaunch(engine, self._environment)),
            )
            serving = parts.serving(registry)
            readiness = Readiness(partial(_registry_fault, registry))
            services = parts.services(serving, readiness=readiness, keys=keys, converter=self._converter)
            shadow = shadow_into(
                registry.benches, self._config, serving.models, serving.supervisor, serving.requests, self._conditions
            )
            serving.requests.ended.add(shadow.observe)
            services.keys.use = key_use = count_key_use(paths, keys, serving)
            tracing = open_tracing(self._config.config.telemetry.otlp_endpoint, self._options.environment, VERSION)
            if tracing is not None:
                services.telemetry.exchanges.add(tracing.on_exchange)
            capability = Capability(paths.token_file)
            server = create_server(services, paths, Authenticator(keys, capability), key_use, self._certificate)
            # The signals are ours until the last worker is gone: a second one must not leave workers behind.
            stop, end_now = partial(self._stop, services, server), partial(_end_now, services, server)
            with on_signals(stop=stop, end_now=end_now, reload=self._reload), capability:
                addresses = await server.start()
                self._on_started(services, lock, addresses)
                await self._run_parts(services, server, shadow, key_use)
            if tracing is not None:
                await asyncio.to_thread(tracing.close)

    async def _run_parts(self, services: Services, server: HttpServer, shadow: Shadow, key_use: KeyUse) -> None:
        """Run everything beside the server until it has stopped, then end it in order."""
        supervisor = services.serving.supervisor
        async with asyncio.TaskGroup() as tasks:
            supervision = tasks.create_task(supervisor.run())
            watchers = [
                tasks.create_task(part)
                for part in (
                    self._follower.run(partial(self._on_config, services)),
                    _outlived("upstreams", services.upstreams.run()),
                    _outlived("the watch over the certificate", self._certificate.run()),
                    self._notifier.run(partial(_description, services)),
                    _watch_registry(services.serving),
                    services.keeper.run(),
                    _outlived("the model loaded at the start", self._preload(services).run()),
                    _outlived("the machine's sleep", follow_sleep(services.suspension, self._config)),
                    _outlived("the watch over heat", services.heat.run()),
                    _outlived("loading again what was suspended", services.suspension.run()),
                    _outlived("the watch over memory", services.memory.run()),
                    _outlived("the metrics", services.telemetry.run()),
                    shadow.run(),
                    keep_awake(lambda: any(services.serving.requests) or services.jobs.is_busy),
                    _outlived("pulls", self._run_pulls(services)),
                    _outlived("stored responses", _keep_responses(services)),
                    _outlived("what was told of conversations", _keep_contexts(services)),
                    _outlived("batches", services.batches.run()),
                    _outlived("the count of what keys use", key_use.run()),
                )
            ]
            try:
                async with services.jobs:
                    await server.wait_stopped()
            finally:
                for watcher in watchers:
                    watcher.cancel()
                supervisor.close()
                await supervision

    def _preload(self, services: Services) -> Preload:
        return Preload(
            self._config.config.models,
            services.serving.supervisor,
            services.readiness,
            meaning=services.serving.models.model_request,
            last_file=self._options.paths.last_model_file,
        )

    def _on_started(self, services: Services, lock: InstanceLock, addresses: Addresses) -> None:
        facts = services.server
        host, port = addresses.tcp[0]
        facts.url = f"{self._certificate.scheme}://{f'[{host}]' if ':' in host else host}:{port}"
        facts.cert_file, facts.cert_names = self._config.config.server.tls_cert_file, self._certificate.names
        facts.unix_socket = None if addresses.unix_socket is None else str(addresses.unix_socket)
        facts.token_file = str(self._options.paths.token_file)
        lock.publish(
            RunningInstance(
                pid=os.getpid(),
                url=facts.url,
                cert_file=facts.cert_file,
                unix_socket=facts.unix_socket,
                token_file=facts.token_file,
                version=facts.version,
                started_at=time.time(),
                config_file=str(self._options.config_file),
                owner=self._options.owner,
            )
        )
        logger.info("serving on %s", facts.url)
        self._notifier.ready(_description(services))
        if self._options.on_started is not None:
            self._options.on_started(services)

    def _reload(self) -> None:
        self._notifier.reloading()
        self._follower.read_now()
        self._certificate.read_now()

    def _on_config(self, services: Services) -> None:
        serving = services.serving
        services.upstreams.follow()
        serving.supervisor.refresh()
        serving.inspector.trim()
        self._certificate.read_now()

    def _stop(self, services: Services, server: HttpServer) -> None:
        """Let what runs for clients end, and take nothing new."""
        services.readiness.hold(SHUTDOWN, "The server is shutting down.")
        config = self._config.config
        self._notifier.stopping(config.server.drain_timeout_s + config.limits.stop_timeout_s + ENDING_S)
        services.jobs.close()
        services.events.close()
        server.stop()

    async def _run_pulls(self, services: Services) -> None:
        """Let models be pulled; without a usable hub models are served all the same."""
        options = self._options
        try:
            hub = hub_settings(options.config, options.environment)
        except ConfigError as exc:
            logger.warning("models cannot be pulled: %s", exc)
            return
        opening = open_pulls(
            hub,
            self._models_dir,
            options.paths.registry_db,
            services.jobs,
            converter=self._converter,
            budget_bytes=weights_budget(read_budget(options.paths.working_set_file)),
        )
        await services.pulls.run(opening)


def _end_now(services: Services, server: HttpServer) -> None:
    """Cut what still runs, the workers as well."""
    logger.warning("asked to stop again: what still runs is cut")
    server.stop()
    services.serving.supervisor.end_now()


def _description(services: Services) -> str:
    """Give one line on what is served."""
    models = [f"{each.model} on {each.engine}" for each in health(services.serving).resident]
    return f"serving on {services.server.url}; {', '.join(models) or 'no model is loaded'}"


def _registry_fault(registry: Registry) -> str | None:
    """Tell whether the registry can be read; to anybody, so without its place."""
    try:
        registry.data_version  # noqa: B018 - reading it is the question
    except RegistryError as exc:
        return f"The model registry cannot be read ({exc.code}); `mlxr doctor` says why."
    return None


async def _watch_registry(serving: RequestService) -> None:
    while True:
        await asyncio.sleep(REGISTRY_POLL_S)
        if serving.models.has_changed():
            serving.models.forget()
            serving.supervisor.refresh()


async def _keep_responses(services: Services) -> None:
    """Keep responses until cancelled; then write everything."""
    try:
        await end_cut_off(services.conversations, services.jobs)
        await services.conversations.run()
    finally:
        await services.conversations.close()


async def _keep_contexts(services: Services) -> None:
    """Have conversations told again and keep it until cancelled; then write everything."""
    winding = asyncio.create_task(services.winder.run())
    try:
        await services.contexts.run()
    finally:
        winding.cancel()
        await asyncio.wait([winding])
        await services.contexts.close()


async def _outlived(what: str, work: Coroutine[Any, Any, None]) -> None:
    """Run a part of the gateway without which requests can be answered."""
    try:
        await work
    except Exception:  # a defect there must not end the answers that run
        logger.exception("a defect has ended %s; restart mlxr to have them again", what)
