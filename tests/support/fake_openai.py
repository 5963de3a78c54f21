"""The whole HTTP front over the fake fleet, on a real loopback server, with an httpx client."""

import asyncio
import inspect
import logging
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self, cast

import httpx
import msgspec
import pytest
from litestar import Litestar

from backends.fake.engine import FakeOptions
from backends.machine.current import current_platform
from registry.facts import ArtifactFormat
from registry.hub import HubSettings
from registry.store import Registry
from router.app import Services, create_app
from router.config import Config, Overrides, ServerConfig
from router.config.following import ConfigFollower
from router.config.instance import ServerFacts
from router.config.settings.administration import ConfigAdministration
from router.context.winder import Winder
from router.events.sources import EventSources
from router.heat import HeatMonitor
from router.http.hosts import HostRules
from router.http.limits import HttpLimits
from router.http.server import HttpServer, guarded, run
from router.jobs.batches.runner import Batches
from router.jobs.benches import BenchRuns
from router.jobs.conversions import Converter, ModelConversions
from router.jobs.hub_search import HubSearch
from router.jobs.jobs import Jobs
from router.jobs.pulls import PullAccess
from router.jobs.verifications import Verifications
from router.keys.administration import KeyAdministration
from router.keys.sessions import PageSessions
from router.memory.monitor import MemoryMonitor
from router.models.auto.learning import AutoLearning
from router.models.directory import ModelDirectory
from router.models.editing import ModelEditing
from router.models.keeper import ModelKeeper
from router.models.making import ModelMaking
from router.models.model_request import ModelRequest
from router.models.targets import Choice
from router.placement.memory import read_budget
from router.protocols.batches.execution import run_line
from router.protocols.serving import RequestService
from router.protocols.table import DIALECTS
from router.readiness import Readiness
from router.requests.register import RequestRegister, RunningRequest
from router.stores.contexts import Contexts
from router.stores.conversations import Conversations
from router.suspension import Suspension
from router.telemetry.telemetry import Telemetry
from router.upstreams.lazily import LazyUpstreams
from router.workers.supervisor import Supervisor
from tests.registry.catalogue_builder import make_draft, make_facts
from tests.support.fake_fleet import FakeFleet, make_config
from tests.support.plain_http import NO_TLS
from tests.support.waiting import WITHIN_S


class _Fleet(FakeFleet):
    """The fleet under the registry's models instead of its own."""

    models: ModelDirectory

    def resolve(self, model_request: ModelRequest) -> Choice:
        return self.models.resolve(model_request)

    def note_choice(self, model_request: ModelRequest, choice: Choice) -> None:
        self.models.note_choice(model_request, choice)


class _Served:
    """The parts of the front that an app serves now; one app serves one front after the other.

    To make an app takes a fifth of a second: as long as all else that a test of a front does.
    """

    def __init__(self, services: Services) -> None:
        self.services = services
        self.is_taken = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self.services, name)


_APPS: dict[int, tuple[_Served, Litestar]] = {}
"""By the size of bodies that they take."""


def _app_of(services: Services) -> tuple[_Served, Litestar]:
    """Return an app that serves these parts until it is given back."""
    max_body_bytes = services.serving.config.server.max_body_bytes
    served, app = _APPS.get(max_body_bytes, (None, None))
    if served is None or app is None or served.is_taken:
        served = _Served(services)
        app = create_app(cast("Services", served))
        _APPS.setdefault(max_body_bytes, (served, app))
    served.services, served.is_taken = services, True
    return served, app


UPSTREAM_KEY = "sk-of-the-upstream-0123456789"
UPSTREAM_ENVIRONMENT = {"UPSTREAM_KEY": UPSTREAM_KEY}
"""Where upstreams of tests find their key."""


class FakeFront:
    """A served app: `client` speaks to it.

    The registry has `m` with both formats, and `only-gguf`.

    Attributes:
        hub: Where it searches.
    """

    def __init__(self, registry: Registry, config: Config, scripts: dict[str, Any]) -> None:
        self.fleet = _Fleet(config, **scripts)
        self.fleet.models = self.models = ModelDirectory(
            registry,
            current=self.fleet.current_config,
            is_apple_silicon=False,
            auto=AutoLearning(
                registry.benches,
                machine_id="here",
                resident_of=lambda model: self.supervisor.resident_of(model),  # noqa: PLW0108 - made later
                engine_versions={},
            ),
        )
        self.registry = registry
        self.hub = HubSettings(endpoint="http://127.0.0.1:9")

    async def __aenter__(self) -> Self:
        await self.fleet.__aenter__()
        self.services = self._services()
        await self.services.jobs.__aenter__()
        self._resuming = asyncio.create_task(self.services.suspension.run())
        self._batches = asyncio.create_task(self.services.batches.run())
        self._winding = asyncio.create_task(self.services.winder.run())
        self._following = asyncio.create_task(self._follower.run(self.supervisor.refresh))
        self._upstreaming = asyncio.create_task(self.services.upstreams.run())
        limits = HttpLimits()
        self._serving, served_app = _app_of(self.services)
        self.services.telemetry.exchanges.add(self.services.serving.inspector.on_exchange)
        app = guarded(
            served_app,
            rules=HostRules(),
            limits=limits,
            dialects=DIALECTS,
            access_logger=logging.getLogger("tests.access"),
            is_strict=lambda: self.services.serving.config.server.strict_fields,
            ended=self.services.telemetry.exchanges,
        )
        self.server = HttpServer(app, host="127.0.0.1", port=0, limits=limits, dialects=DIALECTS)
        host, port = (await self.server.start()).tcp[0]
        self.services.server.url = f"http://{host}:{port}"
        self._served = asyncio.create_task(self.server.wait_stopped())
        self.client = httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=WITHIN_S, verify=NO_TLS)
        return self

    def _services(self) -> Services:
        current, jobs, database = self.fleet.current_config, Jobs(), self.registry.path
        self._follower = ConfigFollower(
            current,
            database.with_name("server.yaml"),
            Config(),
            Overrides(),
            user_home=database.parent,
            on_read=lambda: None,
        )
        self.models.is_avoided = self.supervisor.is_avoided
        serving = RequestService(current, self.models, self.supervisor, RequestRegister())
        conversations = Conversations(database.with_name("conversations.sqlite3"), lambda: current.config.conversations)
        contexts = Contexts(database.with_name("contexts.sqlite3"), lambda: current.config.context)
        conversations.forgotten.add(contexts.on_forgotten)
        winder = Winder(current, self.models, self.supervisor, serving.requests, contexts, self.fleet.conditions)
        serving.keeper_for = winder.keeper_for
        models_dir = database.with_name("models")
        batches = Batches(
            database.with_name("batches"), lambda: current.config, partial(run_line, serving, conversations)
        )
        serving.images.read_file = batches.file_bytes
        serving.documents.read_file = batches.named_file
        upstreams = LazyUpstreams(
            current, UPSTREAM_ENVIRONMENT, self.models, self.supervisor, database.with_name("upstreams.json")
        )
        return Services(
            server=ServerFacts("0.0.0"),
            readiness=Readiness(),
            serving=serving,
            telemetry=Telemetry(
                self.supervisor,
                serving.requests,
                jobs,
                self.fleet.conditions,
                version="0.0.0",
                is_on=current.config.telemetry.metrics,
                wound=contexts.wound,
            ),
            memory=MemoryMonitor(
                current, self.fleet.conditions, current_platform(), lambda: self.supervisor.pids_by_model
            ),
            heat=HeatMonitor(current, self.fleet.conditions, current_platform().thermal),
            suspension=Suspension(
                self.supervisor,
                self.fleet.conditions,
                timeout_s=lambda: current.config.lifecycle.suspend_timeout_s,
            ),
            events=EventSources(
                self.supervisor, self.fleet.conditions, jobs, batches.news, contexts.wound, upstreams.changed
            ).log,
            upstreams=upstreams,
            jobs=jobs,
            keeper=ModelKeeper(database, (), is_watching=False, is_hashing=False, is_busy=lambda: False),
            making=ModelMaking(models_dir, database, max_upload_bytes=1 << 20),
            editing=ModelEditing(database),
            hub_search=HubSearch(lambda: self.hub, read_budget),
            pulls=PullAccess(),
            conversions=ModelConversions(Converter(database, models_dir, {}), jobs),
            verifications=Verifications(database, jobs),
            benches=BenchRuns(database, {}, jobs),
            batches=batches,
            conversations=conversations,
            contexts=contexts,
            winder=winder,
            keys=KeyAdministration(database.with_name("keys.sqlite3")),
            sessions=PageSessions(database.with_name("keys.sqlite3"), lambda: False),
            configuration=ConfigAdministration(current, self._follower),
        )

    @property
    def running(self) -> list[RunningRequest]:
        """The generations that have not ended, in the order of arrival."""
        return [request for request in self.services.serving.requests if isinstance(request, RunningRequest)]

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()
        self.services.events.close()
        self.server.stop()
        self.server.stop()
        await self._served
        self._serving.is_taken = False
        await self.end_jobs()
        self._batches.cancel()
        self._resuming.cancel()
        self._following.cancel()
        self._winding.cancel()
        self._upstreaming.cancel()
        await asyncio.wait([self._batches, self._resuming, self._following, self._winding, self._upstreaming])
        await self.services.conversations.close()
        await self.services.contexts.close()
        await self.fleet.close()

    async def end_jobs(self) -> None:
        """End what runs without clients, as the end of the gateway does; a second call does nothing."""
        await self.services.jobs.__aexit__()

    @property
    def supervisor(self) -> Supervisor:
        return self.fleet.supervisor

    async def chat(self, **body: Any) -> httpx.Response:
        plain = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 0, "max_tokens": 6}
        return await self.client.post("/v1/chat/completions", json=plain | body)

    async def stream_past(self, gates: Sequence[str], mark: str, path: str, body: dict[str, Any]) -> str:
        """Stand still at one gate after the other until `mark` has come twice; return the whole stream."""
        for gate in gates:
            self.fleet.hold(gate)
        closed, text = list(gates), ""
        async with self.client.stream("POST", path, json={"model": "m", **body}) as response:
            assert response.status_code == 200
            async for part in response.aiter_text():
                text += part
                if closed and text.count(mark) >= 2 * (len(gates) - len(closed) + 1):
                    self.fleet.let_go(closed.pop(0))
        assert not closed
        return text

    async def complete(self, **body: Any) -> httpx.Response:
        plain = {"model": "m", "prompt": "once", "temperature": 0, "max_tokens": 6}
        return await self.client.post("/v1/completions", json=plain | body)


def sse_objects(stream: httpx.Response | str) -> list[Any]:
    """Return the objects of a stream; `[DONE]` stays text."""
    blocks = (stream if isinstance(stream, str) else stream.text).split("\n\n")
    assert blocks.pop() == "", "every event ends with an empty line"
    data = [block for block in blocks if not block.startswith(":")]
    assert all(block.startswith("data: ") and "\n" not in block for block in data)
    return [
        text if text == "[DONE]" else msgspec.json.decode(text)
        for text in (block.removeprefix("data: ") for block in data)
    ]


def with_front(
    *,
    config: Config | None = None,
    keepalive_s: float = 10.0,
    write_stall_s: float = 60.0,
    **scripts: FakeOptions | list[FakeOptions | str],
) -> Callable[[Callable[..., Coroutine[Any, Any, None]]], Callable[..., None]]:
    """Give a test a served front as its first argument, on the event loop that the program uses."""

    def decorate(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
        async def main(**arguments: Any) -> None:
            server = ServerConfig(port=0, keepalive_s=keepalive_s, write_stall_s=write_stall_s)
            served = msgspec.structs.replace(config or make_config(), server=server)
            with tempfile.TemporaryDirectory() as folder, Registry(Path(folder) / "registry.sqlite3") as registry:
                registry.artifacts.add(make_draft("/m/a.gguf"))
                registry.artifacts.add(make_draft("/m/mlx", facts=make_facts(ArtifactFormat.MLX)))
                registry.artifacts.add(make_draft("/g.gguf", name="only-gguf", facts=make_facts(parameter_count=7)))
                registry.aliases.set("nick", "m")
                # SQLite keeps the descriptor of a connection that closes beside others, for the next one: the front's
                # own connections take this one, and the fleet finds as many open as there were.
                Registry(registry.path).close()
                copies = {name: list(each) if isinstance(each, list) else each for name, each in scripts.items()}
                async with FakeFront(registry, served, copies) as front, asyncio.timeout(2 * WITHIN_S):
                    await test(front, **arguments)

        def run_test(**arguments: Any) -> None:
            run(main(**arguments))

        signature = inspect.signature(test)
        run_test.__signature__ = signature.replace(  # type: ignore[attr-defined]  # what pytest reads
            parameters=list(signature.parameters.values())[1:], return_annotation=None
        )
        run_test.__name__ = test.__name__
        run_test.__module__ = test.__module__
        pytest.mark.slow(run_test)  # it starts processes
        return run_test

    return decorate
