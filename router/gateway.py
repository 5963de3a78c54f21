"""The gateway process: registry, supervisor, HTTP server, config watcher, from start to clean end.

Composition only; what each part does stands in its own module. Never imports an engine's library.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from registry.bench_record import BenchRecord
from registry.errors import RegistryError
from registry.scan.watch import what_changed
from registry.store import Registry
from router.app import create_app
from router.bench.machine.machine import bench_machine, machine_id
from router.config import Config, CurrentConfig, Overrides, apply_overrides
from router.config.hub import hub_settings
from router.config.instance import InstanceLock, RunningInstance
from router.config.paths import Paths
from router.config.roots import scan_roots
from router.config.watch import ConfigWatcher
from router.errors import ConfigError
from router.http.hosts import HostRules
from router.http.limits import HttpLimits
from router.http.server import Addresses, HttpServer, guarded, run, stopping_on_signals
from router.jobs.background import end_cut_off
from router.jobs.batches.runner import Batches
from router.jobs.benches import BenchRuns
from router.jobs.conversions import Conversions, Converter
from router.jobs.pulls import Pulls, open_pulls, weights_budget
from router.jobs.shadow import Shadow
from router.models.auto.learning import AutoLearning, installed_versions
from router.models.directory import ModelDirectory
from router.models.keeper import ModelKeeper
from router.models.making import ModelMaking
from router.placement.memory import read_budget, this_machine
from router.protocols.batches.execution import run_line
from router.protocols.table import DIALECTS
from router.services import Services
from router.stores.conversations import Conversations
from router.version import VERSION
from router.workers.launch import WorkerLaunch, worker_environment
from router.workers.memory_check import MemoryCheck
from router.workers.resident import resident_of
from router.workers.supervisor import Supervisor

logger = logging.getLogger(__name__)

REGISTRY_POLL_S = 0.5
"""How often the registry is asked whether another process changed it; a query of microseconds."""

REGISTRY_BUSY_TIMEOUT_S = 0.05
"""How long the event loop may wait for another writer; the one thing it writes, the time of last use, can be missed."""


class GatewayOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway is started with.

    Attributes:
        file_config: What the file alone says; what later edits of it are compared with.
        overrides: The command line's, which stay above every later edit.
        environment: Of this process; workers get a filtered copy.
        on_started: Called with the services once requests are served.
        worker_launch: Replaces how workers are started; for tests with the fake engine.
    """

    config: Config
    file_config: Config
    config_file: Path
    overrides: Overrides
    paths: Paths
    environment: Mapping[str, str]
    on_started: Callable[[Services], None] | None = None
    worker_launch: Callable[[str], WorkerLaunch] | None = None


def run_gateway(options: GatewayOptions) -> int:
    """Serve until SIGTERM or SIGINT; block meanwhile.

    Raises:
        StartupError: An address is taken, another gateway uses the data folder, and the like.
        RegistryError: The registry cannot be opened.
    """
    run(_Gateway(options).serve())
    return 0


class _Gateway:
    """The running parts, in the order in which they depend on each other."""

    def __init__(self, options: GatewayOptions) -> None:
        self._options = options

    async def serve(self) -> None:
        options = self._options
        with (
            InstanceLock.acquire(options.paths) as lock,
            Registry(options.paths.registry_db, busy_timeout_s=REGISTRY_BUSY_TIMEOUT_S) as registry,
        ):
            current = CurrentConfig(options.config)
            models = ModelDirectory(
                registry,
                current=current,
                is_apple_silicon=this_machine().has_metal,
                what_changed=what_changed,
                auto=(auto := AutoLearning(registry.benches, machine_id=machine_id())),
            )
            supervisor = Supervisor(
                current,
                resolve=models.resolve,
                note_choice=models.note_choice,
                launch_for=self._launch_for(),
                check_load=MemoryCheck(models.artifact_of).check,
                saved_caches_dir=options.paths.saved_caches_dir,
            )
            auto.resident_of = lambda model: resident_of(supervisor, model)
            conversations = Conversations(options.paths.conversations_db, lambda: current.config.conversations)
            services = Services(current, models, supervisor, conversations, VERSION)
            converter = self._converter()
            services.making = ModelMaking(
                options.paths.models_dir,
                options.paths.registry_db,
                max_upload_bytes=options.config.server.max_upload_bytes,
            )
            services.conversions = Conversions(converter, services.jobs)
            services.benches = self._benches(services)
            services.batches = self._batches(services)
            server = _create_server(services)
            # The signals are ours until the last worker is gone: a second one must not leave workers behind.
            with stopping_on_signals(services.jobs.close, server.stop):
                addresses = await server.start()
                self._on_started(services, lock, addresses)
                await self._run_parts(services, server, _shadow(services, registry), self._pulls(services, converter))

    async def _run_parts(
        self,
        services: Services,
        server: HttpServer,
        shadow: Shadow,
        pulls: AbstractAsyncContextManager[Pulls] | None,
    ) -> None:
        """Run everything beside the server until it has stopped, then end it in order."""
        services.keeper = self._keeper(services)
        services.requests.on_end = shadow.observe
        async with asyncio.TaskGroup() as tasks:
            supervision = tasks.create_task(services.supervisor.run())
            watchers = [
                tasks.create_task(self._watch_config(services)),
                tasks.create_task(self._watch_registry(services)),
                tasks.create_task(services.keeper.run()),
                *([] if pulls is None else [tasks.create_task(_outlived("pulls", _run_pulls(services, pulls)))]),
                tasks.create_task(shadow.run()),
                tasks.create_task(_outlived("stored responses", _keep_responses(services))),
                *(
                    [tasks.create_task(_outlived("batches", services.batches.run()))]
                    if services.batches is not None
                    else []
                ),
            ]
            try:
                async with services.jobs:
                    await server.wait_stopped()
            finally:
                for watcher in watchers:
                    watcher.cancel()
                services.supervisor.close()
                await supervision

    def _on_started(self, services: Services, lock: InstanceLock, addresses: Addresses) -> None:
        host, port = addresses.tcp[0]
        services.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        lock.publish(
            RunningInstance(
                pid=os.getpid(),
                url=services.url,
                unix_socket=None if addresses.unix_socket is None else str(addresses.unix_socket),
                version=services.version,
                started_at=time.time(),
                config_file=str(self._options.config_file),
            )
        )
        logger.info("serving on %s", services.url)
        if self._options.on_started is not None:
            self._options.on_started(services)

    async def _watch_config(self, services: Services) -> None:
        options = self._options
        overrides, engine = options.overrides, options.file_config.engine
        watcher = ConfigWatcher(options.config_file, current=options.file_config, user_home=options.paths.user_home)
        async for change in watcher.changes():
            try:
                if isinstance(change, ConfigError):
                    raise change
                if change.engine is not engine:
                    # Who edits the engine now means it; what the command line said at the start is over.
                    overrides, engine = msgspec.structs.replace(overrides, engine=None), change.engine
                config = apply_overrides(change, overrides)
            except ConfigError as exc:
                services.current_config.error = str(exc)
                logger.warning("the config file is not used: %s", exc)
            else:
                _apply(services, config)

    async def _watch_registry(self, services: Services) -> None:
        while True:
            await asyncio.sleep(REGISTRY_POLL_S)
            if services.models.has_changed():
                services.models.forget()
                services.supervisor.refresh()

    def _keeper(self, services: Services) -> ModelKeeper:
        options = self._options
        models = options.config.models
        return ModelKeeper(
            options.paths.registry_db,
            scan_roots(options.config, options.paths),
            is_watching=models.watch,
            is_hashing=models.hash_files,
            is_busy=lambda: any(worker.use.num_running for worker in services.supervisor.workers),
        )

    def _benches(self, services: Services) -> BenchRuns:
        environment = worker_environment(self._options.environment)
        return BenchRuns(self._options.paths.registry_db, environment, services.jobs)

    def _converter(self) -> Converter:
        paths = self._options.paths
        return Converter(paths.registry_db, paths.models_dir, worker_environment(self._options.environment))

    def _batches(self, services: Services) -> Batches:
        return Batches(self._options.paths.batches_dir, lambda: services.config, partial(run_line, services))

    def _pulls(self, services: Services, converter: Converter) -> AbstractAsyncContextManager[Pulls] | None:
        """Make what pulls models; without a usable hub models are served all the same."""
        options = self._options
        try:
            hub = hub_settings(options.config, options.environment)
        except ConfigError as exc:
            logger.warning("models cannot be pulled: %s", exc)
            return None
        return open_pulls(
            hub,
            options.paths.models_dir,
            options.paths.registry_db,
            services.jobs,
            converter=converter,
            budget_bytes=weights_budget(read_budget()),
        )

    def _launch_for(self) -> Callable[[str], WorkerLaunch]:
        if self._options.worker_launch is not None:
            return self._options.worker_launch
        environment = worker_environment(self._options.environment)
        return lambda engine: WorkerLaunch(engine, environment)


async def _run_pulls(services: Services, opening: AbstractAsyncContextManager[Pulls]) -> None:
    """Let models be pulled, until cancelled; a hub that cannot be used must not keep models from being served."""
    try:
        async with opening as pulls:
            services.pulls = pulls
            await pulls.resume_interrupted()
            await asyncio.get_running_loop().create_future()
    except RegistryError as exc:
        logger.warning("models cannot be pulled: %s", exc)
    finally:
        services.pulls = None


async def _keep_responses(services: Services) -> None:
    """Keep responses until cancelled; then write everything."""
    try:
        await end_cut_off(services.conversations, services.jobs)
        await services.conversations.run()
    finally:
        await services.conversations.close()


async def _outlived(what: str, work: Coroutine[Any, Any, None]) -> None:
    """Run a part of the gateway without which requests can be answered."""
    try:
        await work
    except Exception:  # a defect there must not end the answers that run
        logger.exception("a defect has ended %s; restart mlxr to have them again", what)


def _shadow(services: Services, registry: Registry) -> Shadow:
    def keep(record: BenchRecord) -> None:
        registry.benches.add(record)
        services.models.forget()  # a write of our own is not noticed as another process's is

    return Shadow(
        services.current_config,
        services.models,
        services.supervisor,
        services.requests,
        machine=bench_machine(),
        engine_versions=installed_versions(),
        keep=keep,
    )


def _create_server(services: Services) -> HttpServer:
    config = services.config.server
    limits = _http_limits(services.config)
    rules = _host_rules(services.config)
    return HttpServer(
        guarded(
            create_app(services),
            rules=rules,
            limits=limits,
            dialects=DIALECTS,
            access_logger=logging.getLogger("mlxr.access"),
        ),
        host=config.host,
        port=config.port,
        unix_socket=None if config.unix_socket is None else Path(config.unix_socket),
        limits=limits,
        dialects=DIALECTS,
        drain_timeout_s=config.drain_timeout_s,
    )


def _apply(services: Services, config: Config) -> None:
    """Put a new config into force; what only a restart can change is said in the log."""
    for section in services.current_config.take_over(config):
        logger.warning("changes under %s: take effect after a restart", section)
    logger.info("the config file changed: engine is %s", config.engine.value)
    services.supervisor.refresh()


def _host_rules(config: Config) -> HostRules:
    return HostRules(
        bound_host=config.server.host,
        allowed_hosts=config.server.allowed_hosts,
        allowed_origins=config.server.allowed_origins,
    )


def _http_limits(config: Config) -> HttpLimits:
    server = config.server
    return HttpLimits(
        max_body_bytes=server.max_body_bytes,
        max_upload_bytes=server.max_upload_bytes,
        header_timeout_s=server.header_timeout_s,
        body_timeout_s=server.body_timeout_s,
        idle_timeout_s=server.idle_timeout_s,
        write_stall_s=server.write_stall_s,
        max_connections=server.max_connections,
    )
