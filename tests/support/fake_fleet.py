"""A supervisor whose workers are real processes of the fake engine, and what tests need to look at them.

Tests run on uvloop, as the program does, by the decorator `with_fleet`.
"""

import asyncio
import contextlib
import inspect
import os
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec
import psutil
import pytest

from backends.fake.engine import FakeOptions
from backends.machine.current import current_platform
from backends.wire.prompts import Prompt, TextPrompt
from backends.wire.request import SamplingParams, SequenceSpec
from registry.engines import Engine, EngineKind, EngineSetting
from registry.errors import ModelNotFoundError
from router.conditions import Conditions
from router.config import Config, CurrentConfig, GenerationConfig, LimitsConfig
from router.errors import RouterError
from router.http.server import run
from router.models.load_settings import AS_CONFIGURED, overlaid
from router.models.model_request import ModelRequest
from router.models.targets import Choice, EngineReason, LocalArtifact, Target
from router.placement.lifecycle import WorkerState
from router.placement.memory import MemoryBudget
from router.placement.sharing import LoadNeed
from router.requests.generation import Generation, OutputEvent
from router.requests.keeping import PromptKeeper
from router.requests.request import GenerationRequest
from router.workers.context_lengths import ContextLengths
from router.workers.launch import WorkerLaunch
from router.workers.residency import ManagedWorker
from router.workers.supervisor import Supervisor
from tests.support.processes import running_children
from tests.support.waiting import WITHIN_S, until

REPOSITORY = Path(__file__).parents[2]
ENVIRONMENT = {"PYTHONPATH": str(REPOSITORY), "PATH": os.environ.get("PATH", "")}
_WORKER_MODULES = ("backends.process.worker", "tests.support.rogue_worker")


class RogueLaunch(WorkerLaunch, frozen=True):
    """Starts a worker that does not keep to the protocol; `options` names how."""

    def argv(self, fd: int) -> list[str]:
        return [sys.executable, "-P", "-m", "tests.support.rogue_worker", str(fd), self.options]


def make_config(
    *, parallel: int = 4, workers: int = 1, standby: bool = False, context_length: int = 8192, **limits: float
) -> Config:
    defaults = {"swap_max_wait_s": 0.3, "reclaim_timeout_s": 0.1, "stop_timeout_s": 1.0}
    return Config(
        engine=EngineSetting.LLAMACPP,
        standby=standby,
        generation=GenerationConfig(parallel=parallel, workers=workers, context_length=context_length),
        limits=msgspec.convert(defaults | limits, LimitsConfig),
    )


def worker_processes() -> list[psutil.Process]:
    """Return the worker processes of this process."""
    return running_children(*_WORKER_MODULES)


class FakeFleet:
    """A running supervisor with two engines of the model `m` and one of `other`.

    Attributes:
        scripts: Per engine, the options of its next workers; the last one stays for all that follow.
        num_launches: Worker processes started, per engine.
        load: The settings of the model `m`.
        working_sets: What workers have said of Metal.
        need_of, read_budget: As the supervisor has them.
    """

    def __init__(self, config: Config | None = None, **scripts: FakeOptions | str | list[FakeOptions | str]) -> None:
        self.current_config = CurrentConfig(config or make_config())
        self.conditions = Conditions()
        self.scripts: dict[str, list[FakeOptions | str]] = {"mlx": [FakeOptions()], "llamacpp": [FakeOptions()]}
        for engine, script in scripts.items():
            self.scripts[engine] = script if isinstance(script, list) else [script]
        self.num_launches = {"mlx": 0, "llamacpp": 0}
        self.load = AS_CONFIGURED
        self.working_sets: list[int] = []
        self.need_of: Callable[[Target], LoadNeed | None] = lambda _target: None
        self.read_budget: Callable[[], MemoryBudget] | None = None
        self.max_workers_seen = 0
        self._gates = tempfile.TemporaryDirectory(prefix="gates-")

    async def __aenter__(self) -> Self:
        # The loop opens descriptors of its own for the first child process.
        first = await asyncio.create_subprocess_exec("true", stderr=asyncio.subprocess.PIPE)
        await first.communicate()
        self._num_fds = psutil.Process().num_fds()
        contexts = ContextLengths(
            self.current_config,
            resolve=self.resolve,
            artifact_of=lambda _target: None,
            workers=lambda: self.supervisor.workers,
            read=lambda: MemoryBudget(total_bytes=0, available_bytes=0),
        )
        self.supervisor = Supervisor(
            self.current_config,
            resolve=contexts.resolve,
            launch_for=self._launch_for,
            note_choice=self.note_choice,
            check_load=self.check_load,
            need_of=self.need_of,
            read_budget=self.read_budget,
            conditions=self.conditions,
            note_working_set=self.working_sets.append,
            saved_caches_dir=Path(self._gates.name, "caches"),
        )
        self._task = asyncio.create_task(self.supervisor.run())
        return self

    def set_engine(self, engine: EngineSetting) -> None:
        """Change what a request without an engine means."""
        self.set_config(msgspec.structs.replace(self.current_config.config, engine=engine))

    def set_config(self, config: Config) -> None:
        """Put another config into force."""
        self.current_config.take_over(config)
        self.supervisor.refresh()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End everything; nothing may be left of it."""
        self.supervisor.close()
        async with asyncio.timeout(WITHIN_S):
            await asyncio.shield(self._task)
        assert worker_processes() == []
        await self.until(lambda: psutil.Process().num_fds() <= self._num_fds, "descriptors are closed")
        self._gates.cleanup()

    @property
    def has_ended(self) -> bool:
        return self._task.done()

    # ---- what the supervisor asks -----------------------------------------------------------------------------------

    def note_choice(self, model_request: ModelRequest, choice: Choice) -> None:
        """Remember nothing."""

    def resolve(self, model_request: ModelRequest) -> Choice:
        engine = (model_request.engine or self.current_config.config.engine).engine
        assert engine is not None
        match model_request.model:
            case "m":
                load = overlaid(self.load, model_request.load)
                number = 1 if engine.kind is EngineKind.MLX else 2
                target = Target("m", engine, LocalArtifact(number, f"/m/{engine}"), load=load)
                return Choice(target, EngineReason.REQUEST, model_request.keep_alive_s)
            case "other":
                return Choice(
                    Target("other", Engine(EngineKind.LLAMACPP), LocalArtifact(3, "/other")), EngineReason.AUTO_ONLY
                )
            case _:
                raise ModelNotFoundError(model_request.model)

    async def check_load(self, target: Target, config: Config, workers: Sequence[ManagedWorker]) -> None:
        """Let every load pass."""

    def _launch_for(self, engine: str) -> WorkerLaunch:
        script = self.scripts[engine]
        options = script.pop(0) if len(script) > 1 else script[0]
        self.num_launches[engine] += 1
        if isinstance(options, str):
            return RogueLaunch("fake", ENVIRONMENT, options)
        if options.gates is None:
            options = msgspec.structs.replace(options, gates=str(self._gates_of(engine)))
        return WorkerLaunch("fake", ENVIRONMENT, msgspec.json.encode(options).decode())

    # ---- holding workers up -----------------------------------------------------------------------------------------

    def hold(self, gate: str, engine: str = "llamacpp") -> None:
        """Let the workers of an engine stand still at one of `FakeOptions.gates`, until they are let go."""
        (self._gates_of(engine) / gate).touch()

    def let_go(self, gate: str, engine: str = "llamacpp") -> None:
        """Let them go on."""
        (self._gates_of(engine) / gate).unlink()

    def _gates_of(self, engine: str) -> Path:
        folder = Path(self._gates.name, engine)
        folder.mkdir(exist_ok=True)
        return folder

    # ---- requests ---------------------------------------------------------------------------------------------------

    def generation(
        self,
        reference: str = "m",
        *,
        prompts: Sequence[str] = ("tell me",),
        max_tokens: int | None = 8,
        num_choices: int = 1,
        wants_progress: bool = False,
        keeper: PromptKeeper | None = None,
        worker_id: int | None = None,
        **spec: Any,
    ) -> Generation:
        model, _, engine = reference.partition("@")
        return Generation(
            self.supervisor,
            GenerationRequest(
                model_request=ModelRequest(model, EngineSetting(engine) if engine else None, worker_id=worker_id),
                prompts=tuple[Prompt, ...](TextPrompt(prompt) for prompt in prompts),
                spec=SequenceSpec(SamplingParams(temperature=0.0), max_tokens, **spec),
                prompt_param="prompt",
                num_choices=num_choices,
                wants_progress=wants_progress,
            ),
            keeper=keeper,
        )

    async def answer(self, reference: str = "m", **request: Any) -> str:
        """Generate to the end; return the text of the first sequence."""
        text, error = await self.outcome(reference, **request)
        if error is not None:
            raise error
        return text

    async def outcome(
        self, reference: str = "m", *, on_text: Callable[[str], None] | None = None, **request: Any
    ) -> tuple[str, RouterError | None]:
        """Generate; return the text of the first sequence and the error that ended it, if any."""
        texts: list[str] = []
        num_ends = 0
        try:
            async for events in self.generation(reference, **request).events():
                assert num_ends == 0 or len(request.get("prompts", ())) > 1, "something came after the end"
                for event in events:
                    assert isinstance(event, OutputEvent), "nobody asked for progress"
                    num_ends += event.end is not None
                    if event.index == 0:
                        texts.append(event.output.text)
                if on_text is not None:
                    on_text("".join(texts))
        except RouterError as error:
            return "".join(texts), error
        assert num_ends == len(request.get("prompts", ("",)))
        return "".join(texts), None

    # ---- looks ------------------------------------------------------------------------------------------------------

    @property
    def holder(self) -> ManagedWorker | None:
        return next((worker for worker in self.supervisor.workers if worker.target is not None), None)

    @property
    def expires_at(self) -> float | None:
        return None if self.holder is None else self.supervisor.expires_at(self.holder)

    @property
    def ready(self) -> list[ManagedWorker]:
        return [worker for worker in self.supervisor.workers if worker.state is WorkerState.READY]

    @property
    def state(self) -> str | None:
        return None if self.holder is None else self.holder.state.value

    @property
    def pid(self) -> int:
        assert self.holder is not None
        assert self.holder.pid is not None
        return self.holder.pid

    def kill(self, pid: int | None = None) -> None:
        """Kills a worker, the holder's if none is named; it may be gone already without having been missed."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid if pid is None else pid, signal.SIGKILL)

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        await until(condition, what)

    async def watch_residency(self, ballast_bytes: int) -> None:
        """Sample the process table until cancelled: who has the memory of a model has one."""
        while True:
            held = [current_platform().footprint_of(process.pid) for process in worker_processes()]
            num_models = sum(each is not None and each.anonymous_bytes >= ballast_bytes for each in held)
            self.max_workers_seen = max(self.max_workers_seen, num_models)
            await asyncio.sleep(0.01)

    def num_loads(self, engine: str) -> int:
        """Return how often a model was loaded on an engine."""
        return sum(swap.event == "load" and swap.engine == engine for swap in self.supervisor.swaps)


def with_fleet(
    config: Config | None = None,
    *,
    fleet: type["FakeFleet"] | None = None,
    **scripts: FakeOptions | str | list[FakeOptions | str],
) -> Callable[[Callable[..., Coroutine[Any, Any, None]]], Callable[..., None]]:
    """Give a test a running fleet as its first argument, on the event loop that the program uses."""

    def decorate(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
        async def main(**arguments: Any) -> None:
            copies = {name: list(script) if isinstance(script, list) else script for name, script in scripts.items()}
            async with (fleet or FakeFleet)(config, **copies) as started, asyncio.timeout(2 * WITHIN_S):
                await test(started, **arguments)

        def run_test(**arguments: Any) -> None:
            run(main(**arguments))

        signature = inspect.signature(test)
        run_test.__signature__ = signature.replace(  # type: ignore[attr-defined]  # what pytest reads
            parameters=list(signature.parameters.values())[1:], return_annotation=None
        )
        run_test.__name__ = test.__name__
        run_test.__module__ = test.__module__
        run_test.__doc__ = test.__doc__
        pytest.mark.slow(run_test)  # it starts processes
        return run_test

    return decorate
