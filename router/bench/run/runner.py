"""One benchmark from its beginning to its record: cycles of blocks of rounds, until enough is known or the time is up.

It speaks HTTP like any client. One that is interrupted (its task is cancelled) returns what was measured until then. A
contestant that fails is in the record with its errors and does not end the run. Not here: what the next cycle does
(`schedule`), one contestant's block (`block`), what the figures mean (`summary`).
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Sequence

from registry.bench_record import BenchNotice, BenchRecord
from registry.catalogue import Model
from router.bench.events import BenchProgress, BenchStarted
from router.bench.machine.energy import energy_meter
from router.bench.machine.machine import bench_machine
from router.bench.plan.contestants import contestants_of
from router.bench.plan.options import BenchOptions
from router.bench.plan.scenarios import Scenario, chosen_scenarios, unseen_scenarios
from router.bench.plan.schedule import MIN_ROUNDS, num_rounds_of_cycle, open_scenarios, turns_of
from router.bench.run.block import RunState, run_block
from router.bench.run.client import OurServer, make_http, make_own_http
from router.bench.run.conditions import notices_of
from router.bench.run.measurements import Measurements
from router.bench.run.measurer import Measurer
from router.bench.run.residence import Residence
from router.version import VERSION

MAX_FAILURES = 2
"""A contestant that cannot be loaded so often in a row is not tried again."""

OVERTIME_SHARE = 0.5
OVERTIME_S = 120.0
"""A request that hangs may not take longer than this beyond the time box."""


async def run_bench(
    options: BenchOptions,
    *,
    server: OurServer,
    get_model: Callable[[str], Model],
    on_event: Callable[[BenchProgress], None],
) -> BenchRecord:
    """Measure, on this machine.

    Args:
        server: Ours.

    Returns:
        The record; not complete when the task was cancelled, or the time box ended too early.

    Raises:
        BenchError: It cannot be run as it was asked for.
        RegistryError: There is no such model, or the registry cannot be read.
    """
    contestants = contestants_of(options.model, options.contestants, get_model)
    scenarios = chosen_scenarios(options)
    model = get_model(contestants[0].model).name if contestants[0].url is None else options.model
    async with contextlib.AsyncExitStack() as stack:
        if (meter := energy_meter()) is not None:
            stack.callback(meter.close)
        ours = await stack.enter_async_context(await make_own_http(server))
        measurements = Measurements(options.seed)
        state = RunState(
            options=options,
            http=ours,
            measurements=measurements,
            residence=Residence(ours, measurements),
            meter=meter,
            on_event=on_event,
            described=[one.described() for one in contestants],
            skipped=unseen_scenarios(scenarios, contestants),
        )
        measurers = []
        for index, one in enumerate(contestants):
            http = ours if one.url is None else await stack.enter_async_context(make_http(one.url))
            measurers.append(Measurer(index, one, http, seed=options.seed, started_at=state.started_at))
        return await _Run(model, scenarios, measurers, state).run()


class _Run:
    """One run; owned by its task.

    Args:
        model: Its name in the record.
    """

    def __init__(
        self, model: str, scenarios: Sequence[Scenario], measurers: Sequence[Measurer], state: RunState
    ) -> None:
        self._bench_id = f"b-{secrets.token_hex(3)}"
        self._created_at = time.time()
        self._machine = bench_machine()
        self._model = model
        self._scenarios = scenarios
        self._measurers = measurers
        self._state = state
        self._failures = [0] * len(measurers)

    async def run(self) -> BenchRecord:
        """Measure until the end, or until the task is cancelled."""
        state = self._state
        state.on_event(
            BenchStarted(
                bench_id=self._bench_id,
                model=self._model,
                contestants=tuple(measurer.contestant.label for measurer in self._measurers),
                scenarios=tuple(scenario.described() for scenario in self._scenarios),
                minutes=state.options.minutes,
            )
        )
        is_interrupted = False
        try:
            async with asyncio.timeout(state.box_s * (1 + OVERTIME_SHARE) + OVERTIME_S):
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
        state = self._state
        await state.residence.clear()
        threads = None if state.residence.facts is None else state.residence.facts.threads
        for measurer in self._measurers:
            measurer.holds_threads = measurer.contestant.holds_threads(threads)
        names: tuple[str, ...] = tuple(scenario.name for scenario in self._scenarios)
        cycle, next_round, num_rounds = 0, 0, 1
        while names:
            rounds = range(next_round, next_round + num_rounds)
            wanted = [scenario for scenario in self._scenarios if scenario.name in names]
            for index in turns_of(cycle, len(self._measurers)):
                if self._failures[index] < MAX_FAILURES:
                    error = await run_block(state, self._measurers[index], wanted, rounds, cycle)
                    self._failures[index] = 0 if error is None else self._failures[index] + 1
            cycle, next_round = cycle + 1, rounds.stop
            names, num_rounds = self._next_cycle()
        state.tell("unloading")
        await state.residence.clear()

    def _next_cycle(self) -> tuple[tuple[str, ...], int]:
        """Return what the next cycle measures, and in how many rounds a block."""
        alive = [index for index, failures in enumerate(self._failures) if failures < MAX_FAILURES]
        if len(alive) < min(2, len(self._measurers)):
            return (), 0  # nobody is left to compare with
        measurements, repeats = self._state.measurements, self._state.options.repeats
        remaining_s = self._state.box_s - self._state.elapsed_s
        states, loads_s = measurements.states(self._scenarios_run, alive), measurements.loads_s(alive)
        names = open_scenarios(states, repeats=repeats, remaining_s=remaining_s, loads_s=loads_s)
        chosen = [state for state in states if state.name in names]
        round_s = sum(state.cost_s for state in chosen)
        num_left = min((repeats - state.num_rounds for state in chosen), default=1)
        affordable = max(1, int((remaining_s - loads_s) // round_s)) if round_s else 1
        num_rounds = num_rounds_of_cycle(round_s=round_s, loads_s=loads_s, num_left=min(num_left, affordable))
        return names, num_rounds

    @property
    def _scenarios_run(self) -> list[Scenario]:
        return [scenario for scenario in self._scenarios if scenario.name not in self._state.skipped]

    def _record(self, *, is_interrupted: bool) -> BenchRecord:
        state, options, measurements = self._state, self._state.options, self._state.measurements
        ran = self._scenarios_run
        told_ids = {reading.scored_ids for reading in state.readings.values() if reading.scored_ids}
        notices = notices_of(
            state.described,
            measurements.samples,
            ran,
            state.stretches,
            num_cores=self._machine.num_cores or 1,
            is_text_scored_alike=len(told_ids) <= 1,
        )
        states = measurements.states(ran, range(len(self._measurers)))
        short = [each for each in states if each.num_rounds < options.repeats]
        unsettled = sorted((each.name, each.num_rounds) for each in short if not each.is_settled)
        if unsettled:
            rounds = ", ".join(f"{name} {num_rounds}" for name, num_rounds in unsettled)
            message = f"Of {options.repeats} rounds these were done: {rounds}; --minutes gives more time."
            notices = (*notices, BenchNotice(code="fewer_rounds", message=message))
        return BenchRecord(
            bench_id=self._bench_id,
            model=self._model,
            created_at=self._created_at,
            duration_s=round(state.elapsed_s, 3),
            version=VERSION,
            seed=options.seed,
            repeats=options.repeats,
            is_complete=not is_interrupted and all(each.num_rounds >= MIN_ROUNDS for each in short),
            machine=self._machine,
            contestants=tuple(state.described),
            scenarios=tuple(scenario.described(state.skipped.get(scenario.name)) for scenario in self._scenarios),
            samples=tuple(measurements.samples),
            loads=tuple(measurements.loads),
            notices=notices,
        )
