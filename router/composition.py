"""What a gateway is made of: the parts that answer requests, and those that stand beside them, given to each other.

Not here: when they run, and how they end (`gateway.py`).
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from backends.machine.current import current_platform
from registry.hub import HubSettings
from registry.scan.watch import what_changed
from registry.store import Registry
from router.app import Services
from router.bench.machine.machine import machine_id
from router.conditions import Conditions
from router.config import CurrentConfig
from router.config.following import ConfigFollower
from router.config.instance import ServerFacts
from router.config.paths import Paths
from router.config.roots import scan_roots
from router.config.settings.administration import ConfigAdministration
from router.context.winder import Winder
from router.events.sources import EventSources
from router.heat import HeatMonitor
from router.jobs.batches.runner import Batches
from router.jobs.benches import BenchRuns
from router.jobs.conversions import Converter, ModelConversions
from router.jobs.hub_search import HubSearch
from router.jobs.jobs import Jobs
from router.jobs.pulls import PullAccess
from router.jobs.verifications import Verifications
from router.keys.administration import KeyAdministration
from router.keys.ring import KeyRing
from router.keys.sessions import PageSessions
from router.memory.monitor import MemoryMonitor
from router.models.auto.learning import AutoLearning
from router.models.directory import ModelDirectory
from router.models.editing import ModelEditing
from router.models.keeper import ModelKeeper
from router.models.making import ModelMaking
from router.models.vision import engines_that_cannot_see
from router.placement.memory import read_budget, remember_working_set, this_machine
from router.protocols.batches.execution import run_line
from router.protocols.serving import RequestService
from router.readiness import Readiness
from router.requests.register import RequestRegister
from router.stores.contexts import Contexts
from router.stores.conversations import Conversations
from router.suspension import Suspension
from router.telemetry.telemetry import Telemetry
from router.upstreams.lazily import LazyUpstreams
from router.version import VERSION
from router.workers.context_lengths import ContextLengths
from router.workers.launch import WorkerLaunch
from router.workers.memory_check import MemoryCheck
from router.workers.supervisor import Supervisor


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """What the parts have in common.

    Attributes:
        environment: That workers and other child processes get.
        own_environment: Of this process; keys of upstreams may be there.
        models_dir: Where pulled, converted and made models go.
        launch_for: How the worker of an engine is started.
        hub_settings: How the hub is reached.
    """

    config: CurrentConfig
    follower: ConfigFollower
    conditions: Conditions
    paths: Paths
    environment: Mapping[str, str]
    own_environment: Mapping[str, str]
    models_dir: Path
    launch_for: Callable[[str], WorkerLaunch]
    hub_settings: Callable[[], HubSettings]

    def serving(self, registry: Registry) -> RequestService:
        """Make what answers requests: the models, the workers, and the requests that run."""
        auto = AutoLearning(
            registry.benches,
            machine_id=machine_id(),
            resident_of=lambda model: supervisor.resident_of(model),  # noqa: PLW0108 - which is made below
        )
        models = ModelDirectory(
            registry,
            current=self.config,
            is_apple_silicon=this_machine().has_metal,
            what_changed=what_changed,
            auto=auto,
            cannot_see=engines_that_cannot_see(),
        )
        read = partial(read_budget, self.paths.working_set_file)
        contexts = ContextLengths(
            self.config,
            resolve=models.resolve,
            artifact_of=models.artifact_of,
            workers=lambda: supervisor.workers,
            read=read,
        )
        memory_check = MemoryCheck(models.artifact_of, contexts=contexts, draft_of=models.draft_artifact_of, read=read)
        supervisor = Supervisor(
            self.config,
            resolve=contexts.resolve,
            context_of=contexts.of,
            why_no_draft=memory_check.why_no_draft,
            note_choice=models.note_choice,
            launch_for=self.launch_for,
            conditions=self.conditions,
            check_load=memory_check.check,
            need_of=memory_check.need_of,
            read_budget=read,
            is_pinned=models.is_pinned,
            note_working_set=partial(remember_working_set, self.paths.working_set_file),
            saved_caches_dir=self.paths.saved_caches_dir,
        )
        models.is_avoided = supervisor.is_avoided
        return RequestService(self.config, models, supervisor, RequestRegister(), contexts=contexts, read_budget=read)

    def services(
        self, serving: RequestService, *, readiness: Readiness, keys: KeyRing, converter: Converter
    ) -> Services:
        """Make what stands beside that."""
        paths, config = self.paths, self.config.config
        jobs = Jobs()
        memory = MemoryMonitor(
            self.config, self.conditions, current_platform(), lambda: serving.supervisor.pids_by_model
        )
        conversations = Conversations(paths.conversations_db, lambda: self.config.config.conversations)
        contexts = Contexts(paths.contexts_db, lambda: self.config.config.context)
        conversations.forgotten.add(contexts.on_forgotten)
        winder = Winder(self.config, serving.models, serving.supervisor, serving.requests, contexts, self.conditions)
        serving.keeper_for = winder.keeper_for
        run = partial(run_line, serving, conversations)
        batches = Batches(paths.batches_dir, lambda: self.config.config, run, caller_for=keys.caller_for)
        serving.images.read_file = batches.file_bytes
        serving.documents.read_file = batches.named_file
        upstreams = LazyUpstreams(
            self.config, self.own_environment, serving.models, serving.supervisor, paths.upstreams_file
        )
        return Services(
            server=ServerFacts(VERSION),
            readiness=readiness,
            serving=serving,
            memory=memory,
            heat=HeatMonitor(self.config, self.conditions, current_platform().thermal),
            suspension=Suspension(
                serving.supervisor,
                self.conditions,
                timeout_s=lambda: self.config.config.lifecycle.suspend_timeout_s,
            ),
            events=EventSources(
                serving.supervisor, self.conditions, jobs, batches.news, contexts.wound, upstreams.changed
            ).log,
            telemetry=Telemetry(
                serving.supervisor,
                serving.requests,
                jobs,
                self.conditions,
                version=VERSION,
                is_on=config.telemetry.metrics,
                wound=contexts.wound,
                upstreams=lambda: serving.models.offers.status(),  # noqa: PLW0108 - which are made later
            ),
            upstreams=upstreams,
            jobs=jobs,
            keeper=ModelKeeper(
                paths.registry_db,
                scan_roots(config, paths),
                is_watching=config.models.watch,
                is_hashing=config.models.hash_files,
                is_busy=lambda: self.conditions.is_background_paused or serving.supervisor.is_answering,
            ),
            making=ModelMaking(self.models_dir, paths.registry_db, max_upload_bytes=config.server.max_upload_bytes),
            editing=ModelEditing(paths.registry_db),
            hub_search=HubSearch(self.hub_settings, partial(read_budget, paths.working_set_file)),
            pulls=PullAccess(),
            conversions=ModelConversions(converter, jobs),
            verifications=Verifications(paths.registry_db, jobs),
            benches=BenchRuns(paths.registry_db, self.environment, jobs),
            batches=batches,
            conversations=conversations,
            contexts=contexts,
            winder=winder,
            keys=KeyAdministration(paths.keys_db),
            sessions=PageSessions(paths.keys_db, lambda: keys.is_needed),
            configuration=ConfigAdministration(self.config, self.follower),
        )
