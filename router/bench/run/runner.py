"""One benchmark from its beginning to its record: laps of blocks of rounds, until enough is known or the time is up.

It speaks HTTP like any client. One that is interrupted (its task is cancelled) returns what was measured until then. A
contestant that fails is in the record with its errors and does not end the run. Not here: what the next lap does
(`schedule`), one contestant's block (`block`), what the figures mean (`summary`).
"""

import asyncio
import contextlib
import dataclasses
import secrets
import time
from collections.abc import Callable

import httpx

from registry.bench_record import BenchMachine, BenchNotice, BenchRecord
from registry.catalogue import Model
from router.bench.events import BenchProgress, BenchStarted
from router.bench.machine.energy import EnergyMeter
from router.bench.machine.watch import ThermalSensor
from router.bench.plan.contestants import Contestant, contestants_of
from router.bench.plan.options import BenchOptions
from router.bench.plan.scenarios import Scenario, chosen_scenarios
from router.bench.plan.schedule import MIN_ROUNDS, num_rounds_of_lap, open_scenarios, turns_of
from router.bench.run.block import Course, run_block
from router.bench.run.book import Book
from router.bench.run.client import make_http
from router.bench.run.conditions import notices_of
from router.bench.run.measurer import Measurer
from router.bench.run.residence import Residence
from router.version import VERSION

MAX_FAILURES = 2
"""A contestant that cannot be loaded so often in a row is not tried again."""

OVERTIME_SHARE = 0.5
OVERTIME_S = 120.0
"""A request that hangs may not take longer than this beyond the time box."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BenchMeans:
    """What a run works with.

    Attributes:
        meter: Counts energy; None = the system does not tell.
    """

    url: str
    unix_socket: str | None
    get_model: Callable[[str], Model]
    machine: BenchMachine
    thermal: ThermalSensor
    meter: EnergyMeter | None
    on_event: Callable[[BenchProgress], None]


async def run_bench(options: BenchOptions, means: BenchMeans) -> BenchRecord:
    """Measure.

    Returns:
        The record; not complete when the task was cancelled, or the time box ended too early.

    Raises:
        BenchError: It cannot be run as it was asked for.
        RegistryError: There is no such model, or the registry cannot be read.
    """
    contestants = contestants_of(options.model, options.contestants, means.get_model)
    scenarios = chosen_scenarios(
        options.scenarios, options.prompts, num_parallel=options.num_parallel, max_tokens=options.max_tokens
    )
    async with contextlib.AsyncExitStack() as stack:
        ours = await stack.enter_async_context(make_http(means.url, unix_socket=means.unix_socket))
        https = [
            ours if one.url is None else await stack.enter_async_context(make_http(one.url)) for one in contestants
        ]
        return await _Run(options, means, contestants, scenarios, ours, https).run()


class _Run:
    """The state of one run; owned by its task."""

    def __init__(
        self,
        options: BenchOptions,
        means: BenchMeans,
        contestants: tuple[Contestant, ...],
        scenarios: tuple[Scenario, ...],
        ours: httpx.AsyncClient,
        https: list[httpx.AsyncClient],
    ) -> None:
        self._options = options
        self._means = means
        self._scenarios = scenarios
        self._bench_id = f"b-{secrets.token_hex(3)}"
        self._created_at, self._started_at = time.time(), time.monotonic()
        self._box_s = options.minutes * 60
        self._book = Book(len(contestants), options.seed)
        self._measurers = [
            Measurer(index, one, http, seed=options.seed, started_at=self._started_at)
            for index, (one, http) in enumerate(zip(contestants, https, strict=True))
        ]
        self._failures = [0] * len(contestants)
        self._model = means.get_model(contestants[0].model).name if contestants[0].url is None else options.model
        self._course = Course(
            options=options,
            http=ours,
            book=self._book,
            residence=Residence(ours, self._book),
            thermal=means.thermal,
            meter=means.meter,
            on_event=means.on_event,
            described=[one.described() for one in contestants],
            started_at=self._started_at,
        )

    async def run(self) -> BenchRecord:
        """Measure until the end, or until the task is cancelled."""
        labels = tuple(measurer.contestant.label for measurer in self._measurers)
        self._means.on_event(
            BenchStarted(
                bench_id=self._bench_id,
                model=self._model,
                contestants=labels,
                scenarios=tuple(scenario.described() for scenario in self._scenarios),
                minutes=self._options.minutes,
            )
        )
        is_interrupted = False
        try:
            async with asyncio.timeout(self._box_s * (1 + OVERTIME_SHARE) + OVERTIME_S):
                await self._measure()
        except TimeoutError:
            is_interrupted = True
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
            is_interrupted = True
        return self._record(is_interrupted=is_interrupted)

    async def _measure(self) -> None:
        course = self._course
        await course.residence.clear()
        names: tuple[str, ...] = tuple(scenario.name for scenario in self._scenarios)
        lap, next_round, num_rounds = 0, 0, 1
        while names:
            rounds = range(next_round, next_round + num_rounds)
            for index in turns_of(lap, len(self._measurers)):
                if self._failures[index] < MAX_FAILURES:
                    await self._block(index, names, rounds, lap)
            lap, next_round = lap + 1, rounds.stop
            names, num_rounds = self._next_lap()
        course.tell("unloading")
        await course.residence.clear()

    async def _block(self, index: int, names: tuple[str, ...], rounds: range, lap: int) -> None:
        wanted = [scenario for scenario in self._scenarios if scenario.name in names]
        error = await run_block(self._course, self._measurers[index], wanted, rounds, lap)
        self._failures[index] = 0 if error is None else self._failures[index] + 1

    def _next_lap(self) -> tuple[tuple[str, ...], int]:
        """Return what the next lap measures, and in how many rounds a block."""
        alive = [index for index, failures in enumerate(self._failures) if failures < MAX_FAILURES]
        if len(alive) < min(2, len(self._measurers)):
            return (), 0  # nobody is left to compare with
        open_now = [scenario for scenario in self._scenarios if scenario.name not in self._course.skipped]
        remaining_s = self._box_s - (time.monotonic() - self._started_at)
        states, loads_s = self._book.states(open_now, alive), self._book.loads_s(alive)
        names = open_scenarios(states, repeats=self._options.repeats, remaining_s=remaining_s, loads_s=loads_s)
        round_s = sum(state.cost_s for state in states if state.name in names)
        num_left = min((self._options.repeats - state.num_rounds for state in states if state.name in names), default=1)
        affordable = max(1, int((remaining_s - loads_s) // round_s)) if round_s else 1
        num_rounds = num_rounds_of_lap(round_s=round_s, loads_s=loads_s, num_left=min(num_left, affordable))
        return names, num_rounds

    def _record(self, *, is_interrupted: bool) -> BenchRecord:
        course, book = self._course, self._book
        everybody = range(len(self._measurers))
        ran = [scenario for scenario in self._scenarios if scenario.name not in course.skipped]
        short = {
            scenario.name: number
            for scenario in ran
            if (number := book.num_rounds(scenario.name, everybody)) < self._options.repeats
        }
        notices = notices_of(
            course.described,
            book.samples,
            ran,
            course.stretches,
            num_cores=self._means.machine.num_cores or 1,
            is_text_scored_alike=len({reading.scored_ids for reading in course.readings.values() if reading.scored_ids})
            <= 1,
        )
        unsettled = {
            state.name for state in book.states(ran, list(everybody)) if state.name in short and not state.is_settled
        }
        if unsettled:
            rounds = ", ".join(f"{name} {short[name]}" for name in sorted(unsettled))
            message = f"Of {self._options.repeats} rounds these were done: {rounds}; --minutes gives more time."
            notices = (*notices, BenchNotice(code="fewer_rounds", message=message))
        least = min(self._options.repeats, MIN_ROUNDS)
        return BenchRecord(
            bench_id=self._bench_id,
            model=self._model,
            created_at=self._created_at,
            duration_s=round(time.monotonic() - self._started_at, 3),
            version=VERSION,
            seed=self._options.seed,
            repeats=self._options.repeats,
            is_complete=not is_interrupted and all(short.get(scenario.name, least) >= least for scenario in ran),
            machine=self._means.machine,
            contestants=tuple(course.described),
            scenarios=tuple(scenario.described(course.skipped.get(scenario.name)) for scenario in self._scenarios),
            samples=tuple(book.samples),
            loads=tuple(book.loads),
            notices=notices,
        )
